"""What a trial is and what it leaves: plain data, in the order in which the files show it.

Every column of ``trials.csv``, ``epochs.csv`` and ``profile.csv`` is a field of a dataclass here, so there is
one place that says which columns exist, what they mean and what unit they have. A unit stands in the name
(``_s``, ``_ms``, ``_mib``, ``_j``); accuracies are fractions in 0..1; one multiply-add is one MAC and two FLOPs.
A figure that was not measured is ``None`` (an empty cell), never 0.
"""

from resbench.schema.hits import Hits
from resbench.schema.rows import PROFILED, EpochRecord, ProfileRecord, TrialRecord, columns
from resbench.schema.trial import EngineSettings, Trial, format_input

__all__ = [
    "MEASURING_VERSION",
    "PROFILED",
    "SCHEMA_VERSION",
    "STATUSES",
    "EngineSettings",
    "EpochRecord",
    "Hits",
    "ProfileRecord",
    "Trial",
    "TrialRecord",
    "columns",
    "format_input",
]

SCHEMA_VERSION = 5
"""Version of the events in ``records.jsonl``; raise it when a field changes its name or meaning, or a new one has a
known value for what was written before, and teach :mod:`resbench.migrations` to read that."""

MEASURING_VERSION = 3
"""Version of the code that measures; raise it when a change there moves a figure though the network is the same.
Times and memory of different versions are not comparable."""

STATUSES = ("ok", "oom", "diverged", "timeout", "crashed", "interrupted", "not_run")
"""How a planned trial can end; ``ok`` is the only one whose figures may enter a mean."""
