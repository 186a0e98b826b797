"""The metric catalogue and the identity of a trial, as the fields of the records schema declare them."""

from __future__ import annotations

from dataclasses import dataclass

from resbench.schema.rows import EpochRecord, TrialRecord, describe

_COLUMNS = describe(TrialRecord)

LEARNING = tuple(name for name, column in _COLUMNS.items() if column.role == "learning")
"""Accuracies may be compared only where these are equal."""
MACHINE = tuple(name for name, column in _COLUMNS.items() if column.role == "machine")
"""Times and memory may be compared only where these are equal too."""
PLANNED = tuple(name for name, column in _COLUMNS.items() if column.known == "planned")
"""Known before a trial runs. Trials that share these are the seeds of one cell."""
FOUND = tuple(name for name, column in _COLUMNS.items() if column.known == "found")
"""Known when a trial runs. Seeds that differ in one of these are two cells, never one mean."""
MEASURED = (*(name for name, column in _COLUMNS.items() if column.role == "measured"), "train_clock_s")
"""Times, rates and memory: figures of one machine."""
SHARED = (
    "dataset", "dataset_fingerprint", "input", "stem", "recipe", "budget", "batch_size",
    "device_name", "devices", "precision", "tf32", "memory_format", "compiled", "compile_mode", "cuda_graph",
    "lowering",
)  # fmt: skip
"""What the rows of one table have in common, in the order of ``pairwise.csv``: all that decides and is not the
network's. A test holds it to the schema."""

_KINDS = {"fraction": "accuracy", "images/s": "throughput", "ms": "latency", "MiB": "memory", "s": "throughput"}


@dataclass(frozen=True)
class Metric:
    """A column of figures."""

    column: str
    """Of ``trials.csv``; ``train_clock_s`` is ``data_s + step_s``."""
    name: str
    """What ``--columns`` and ``--threshold`` call it; empty if no command does."""
    label: str
    unit: str
    """In tables."""
    scale: float
    """What a stored value is multiplied by to be in ``unit``."""
    better: str
    """``min`` or ``max``."""
    help: str
    role: str
    """``counted``, ``learnt`` or ``measured``."""
    kind: str
    """Which threshold applies to it: ``accuracy``, ``throughput``, ``latency`` or ``memory``."""
    whole_batches: bool
    summary: bool
    interval: bool

    @property
    def header(self) -> str:
        """Label and unit as a table's heading: ``latency p50 (ms)``, ``train images/s``."""
        if self.column == "train_clock_s" or not self.unit:  # its cells carry their own unit
            return self.label
        return f"{self.label} {self.unit}" if self.unit == "images/s" else f"{self.label} ({self.unit})"


def _catalogue() -> dict[str, Metric]:
    clock = {"train_clock_s": describe(EpochRecord)["train_clock_s"]}
    columns = {**clock, **{name: column for name, column in _COLUMNS.items() if column.label}}
    return {
        name: Metric(
            name,
            column.name,
            column.label,
            column.unit if column.shown is None else column.shown,
            column.scale,
            column.better,
            column.help,
            column.role,
            _KINDS.get(column.unit, ""),
            column.whole_batches,
            column.summary,
            column.interval,
        )
        for name, column in columns.items()
    }


METRICS = _catalogue()
"""By column."""
NAMED = {metric.name: metric for metric in METRICS.values() if metric.name}
"""Those that a command can choose, by name."""
COMPARED = tuple(
    NAMED[name] for name in ("accuracy", "throughput", "inference", "latency", "step", "memory", "inference_memory")
)
"""What ``resbench compare`` judges; the train clock is throughput once more."""
