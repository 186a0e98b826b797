"""Which trials may stand in one table: those that share data, recipe, budget and engine settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from resbench.report.numbers import present
from resbench.stats import cells, summarise

if TYPE_CHECKING:
    import pandas as pd

SHARED = (
    "dataset",
    "dataset_fingerprint",
    "input",
    "stem",
    "recipe",
    "budget",
    "batch_size",
    "device_name",
    "precision",
    "tf32",
    "memory_format",
    "compiled",
    "cuda_graph",
)
"""What the rows of one table have in common; where a folder holds several, it gets several tables."""


@dataclass(frozen=True)
class Group:
    """Trials that may be compared with each other."""

    settings: dict[str, Any]
    """The value of every column of ``SHARED``; ``None`` where no trial got as far as knowing it."""
    title: str
    """The settings in which this group differs from the folder's others; empty where it is the only one."""
    trials: pd.DataFrame
    """Rows of ``trials.csv``, with ``train_clock_s`` (data + step) and ``label`` as further columns."""

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a cell, as ``summary.csv`` has it, with ``label`` as a further column."""
        summary = summarise(self.trials)
        return summary.assign(label=_labels(summary))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of :attr:`summary`, one dict a cell."""
        return records(self.summary)

    @property
    def slug(self) -> str:
        """The title as the beginning of a file name; empty where the title is."""
        return re.sub(r"[^0-9a-z]+", "-", self.title.lower()).strip("-")

    def ok(self, label: str | None = None) -> pd.DataFrame:
        """Returns the trials that ended ``ok``, of one model or of all."""
        chosen = self.trials[self.trials["status"] == "ok"]
        return chosen if label is None else chosen[chosen["label"] == label]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the rows of a table, one dict a row."""
    return [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def model_label(model: str, weights: str) -> str:
    """Returns what tables and plots call a model: its name, and its weights where they are not random."""
    return model if weights == "random" else f"{model} ({PurePath(weights).name} weights)"


def _labels(frame: pd.DataFrame) -> list[str]:
    return [model_label(row["model"], row["weights"]) for row in records(frame)]


def comparable_groups(trials: pd.DataFrame) -> list[Group]:
    """Splits trials into groups that may each fill one table, in the order in which they were planned.

    A cell that never ran does not know all its settings; it joins the first group that agrees with the rest.

    Args:
        trials: The columns of ``trials.csv``.
    """
    import pandas as pd

    found: list[tuple[dict[str, Any], list[pd.DataFrame]]] = []
    frames = sorted(cells(trials), key=lambda cell: not (cell["status"] == "ok").any())
    for cell in frames:
        first = cell.iloc[0]
        settings = {name: first[name] if present(first[name]) else None for name in SHARED}
        for known, members in found:
            if all(settings[name] in (None, known[name]) or known[name] is None for name in SHARED):
                known.update({name: value for name, value in settings.items() if value is not None})
                members.append(cell)
                break
        else:
            found.append((settings, [cell]))
    found.sort(key=lambda pair: min(int(cell.index[0]) for cell in pair[1]))
    differing = [name for name in SHARED if len({str(settings[name]) for settings, _ in found}) > 1]
    groups = []
    for settings, members in found:
        rows = pd.concat(members).sort_index()
        title = ", ".join(describe(name, settings[name]) for name in differing)
        groups.append(Group(settings, title, rows.assign(label=_labels(rows))))
    return groups


def describe(name: str, value: Any) -> str:
    """Names one setting in words: ``budget 26ep``, ``batch size 512``, ``fingerprint 0123456789ab``."""
    if value is None:
        return f"unknown {name.replace('_', ' ')}"
    words = {
        "dataset_fingerprint": f"fingerprint {str(value)[:12]}",
        "stem": f"{value} stem",
        "budget": f"budget {value}",
        "recipe": f"recipe {value}",
        "batch_size": f"batch size {value}",
        "tf32": f"TF32 {'on' if value else 'off'}",
        "compiled": "compiled" if value else "eager",
        "cuda_graph": "CUDA graph" if value else "no CUDA graph",
    }
    return words.get(name, str(value))
