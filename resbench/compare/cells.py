"""A folder's cells as a comparison sees them: what they were measured under, and their seeds' figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resbench.compare.metrics import METRICS, Metric
from resbench.report.groups import Columns, describe, model_label
from resbench.stats import LEARNING, SPEED, split_cells

if TYPE_CHECKING:
    import pandas as pd

    from resbench.schema import Hits

_NAMED = ("dataset", "stem", "budget", "batch_size", "precision")
"""What a person tells a model's cells apart by."""


@dataclass(frozen=True, eq=False)
class MeasuredCell:
    """The seeds of one model under one set of settings."""

    known: dict[str, frozenset[Any]]
    """By column of ``LEARNING`` and ``SPEED``, and ``code``, which may be what is compared: its values in the ``ok``
    trials, or in all where none is ``ok``. A column that nobody knows has none."""
    ok_seeds: frozenset[int]
    """The seeds that ended ``ok``."""
    failures: dict[int, str]
    """By seed: how one ended that did not end ``ok``. A seed can be among both: a trial that failed before it knew
    whether it was compiled stands with those of its model that ran."""
    figures: dict[str, list[tuple[int, float]]]
    """By metric's column: what each ``ok`` trial measured, in the metric's unit, after its seed; in their order."""
    suspicions: dict[int, str]
    """By seed: why an ``ok`` trial was judged suspect."""
    epochs: float | None
    """How many the first ``ok`` trial trained for."""
    test_images: int | None = None
    """On how many it was tested; ``None`` where nobody knows."""

    def value(self, column: str) -> Any:
        """Returns a column's value, the first where there are several, ``None`` where nobody knows it."""
        return min(self.known[column], key=str, default=None)

    @property
    def model(self) -> str:
        """What to call its model: with its weights where they are not random."""
        return model_label(self.value("model"), self.value("weights"))

    @property
    def words(self) -> str:
        """The rest of what tells the cell apart."""
        return ", ".join(describe(column, self.value(column)) for column in _NAMED)

    def values(self, metric: Metric) -> list[float]:
        """Returns what the ``ok`` trials measured, in the order of their seeds."""
        return [value for _, value in self.figures[metric.source]]

    def seeds(self, metric: Metric) -> list[int]:
        """Returns whose values those are."""
        return [seed for seed, _ in self.figures[metric.source]]

    @property
    def endings(self) -> str:
        """How the trials ended that did not end ``ok``, in words."""
        return ", ".join(sorted(set(self.failures.values())))


def read_cells(
    trials: pd.DataFrame, metrics: Sequence[Metric] = METRICS, hits: Mapping[str, Hits] | None = None
) -> list[MeasuredCell]:
    """Returns a folder's cells in the order in which they were planned.

    Args:
        trials: The columns of ``trials.csv``.
        metrics: What to read of each; ``train_clock_s`` (data + step) may be among their columns.
        hits: By trial id, of how many test images it got which right.
    """
    filled, places = split_cells(trials)
    # As recorded: what a trial never knew is unknown here, and no other seed's.
    columns = Columns(trials.assign(train_clock_s=filled["train_clock_s"]))
    return [_read(columns, cell.tolist(), metrics, hits or {}) for cell in places]


def _read(columns: Columns, places: list[int], metrics: Sequence[Metric], hits: Mapping[str, Hits]) -> MeasuredCell:
    """Reads one cell out of a folder's columns."""
    seeds, statuses = columns["seed"], columns["status"]
    ok = [place for place in places if statuses[place] == "ok"]
    telling = ok or places
    known = {
        name: frozenset(value for place in telling if (value := columns[name][place]) is not None)
        for name in (*LEARNING, *SPEED, "code")
    }
    figures = {
        metric.source: sorted(
            (seeds[place], metric.scale * float(value))
            for place in ok
            if (value := columns[metric.source][place]) is not None
        )
        for metric in metrics
    }
    suspicions = {
        seeds[place]: columns["verdict_reasons"][place] or "no reason recorded"
        for place in ok
        if columns["verdict"][place] == "suspect"
    }
    return MeasuredCell(
        known,
        frozenset(seeds[place] for place in ok),
        {seeds[place]: statuses[place] for place in places if statuses[place] != "ok"},
        figures,
        suspicions,
        next((columns["epochs"][place] for place in ok), None),
        next((hits[of].images for place in ok if (of := columns["trial_id"][place]) in hits), None),
    )


def differing(base: MeasuredCell, new: MeasuredCell, columns: Sequence[str]) -> list[str]:
    """Returns the columns in which two cells differ; what a cell that failed never knew is no difference."""
    found = []
    never_ran = not (base.ok_seeds and new.ok_seeds)
    for column in columns:
        left, right = base.known[column], new.known[column]
        if left != right and not (never_ran and (not left or not right)):
            found.append(column)
    return found


def mixed(base: MeasuredCell, new: MeasuredCell) -> list[str]:
    """Returns the columns of ``SPEED`` in which the seeds of one cell differ: a mean of theirs is no machine's time.

    Those in which the two cells differ from each other are left to :func:`differing`.
    """
    return [column for column in SPEED if base.known[column] == new.known[column] and len(new.known[column]) > 1]


def explain(base: MeasuredCell, new: MeasuredCell, columns: Sequence[str]) -> str:
    """Names the columns that differ, with both values."""

    def values(cell: MeasuredCell, column: str) -> str:
        return "/".join(sorted(str(value)[:40] for value in cell.known[column])) or "unknown"

    return "; ".join(f"{column}: {values(base, column)} -> {values(new, column)}" for column in columns)
