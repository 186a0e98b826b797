"""One trial beside its rerun: whether each figure is what it was, as far as noise allows to say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import stdev
from typing import TYPE_CHECKING

from resbench.compare.cells import LEARNING, SPEED, MeasuredCell, differing, explain, read_cells
from resbench.compare.judging import assumed_deviation
from resbench.compare.metrics import METRICS, Limit, Metric, Thresholds, limit_of, noise_floors
from resbench.stats import split_cells

if TYPE_CHECKING:
    from resbench.store import Results

Z = 1.96
"""Of a two-sided 95 % interval of the normal distribution."""

IDENTICAL, WITHIN, OUTSIDE, NOT_COMPARABLE = "identical", "within noise", "outside noise", "not comparable"
"""What can become of a metric."""


@dataclass(frozen=True)
class Remeasured:
    """What became of one metric."""

    metric: Metric
    recorded: float
    """In the metric's unit; accuracies in percent."""
    again: float
    change: float
    """As :meth:`Metric.change` has it."""
    limit: float | None
    """What a change may be at most, in its own unit; ``None`` where it is not comparable."""
    outcome: str
    note: str
    """What the limit is, or why there is none."""


def remeasured(stored: Results, trial_id: str, rerun: Results, *, bits_expected: bool) -> list[Remeasured]:
    """Holds a rerun's figures against the recorded ones.

    Two runs of one accuracy differ by at most 1.96 x sqrt(2) x sd in 95 % of cases, with sd that of the cell's seeds,
    or an assumed one where the cell has a single seed. Speed and memory may differ by the larger of
    threshold and noise floor.

    Args:
        stored: The folder that holds the recorded trial, ``ok`` there.
        trial_id: Which one.
        rerun: A folder that holds the same trial, ``ok`` there.
        bits_expected: Whether the accuracy must be the same to the bit: a processor, the same code and software.
    """
    base, again = (_cell_of(results, trial_id, alone=True) for results in (stored, rerun))
    seeds = _cell_of(stored, trial_id, alone=False)
    floors = noise_floors(stored, rerun)
    learning, speed = differing(base, again, LEARNING), differing(base, again, (*LEARNING, *SPEED))
    found = []
    for metric in METRICS:
        left, right = base.values(metric), again.values(metric)
        if not left or not right:
            continue
        change = metric.change(left[0], right[0])
        unlike = learning if metric.is_accuracy else speed
        if unlike:
            note = explain(base, again, unlike)
            found.append(Remeasured(metric, left[0], right[0], change, None, NOT_COMPARABLE, note))
            continue
        if metric.is_accuracy:
            size, note = (0.0, "the same to the bit") if bits_expected else _accuracy_noise(metric, seeds)
        else:
            limit = limit_of(metric, Thresholds(), floors)
            size, note = limit.size, f"the {limit.decided_by}"
        outside = Limit(size).exceeded_by(change) or not size  # where no difference is allowed, the smallest counts
        outcome = IDENTICAL if left == right else OUTSIDE if outside else WITHIN
        found.append(Remeasured(metric, left[0], right[0], change, size, outcome, note))
    return found


def _accuracy_noise(metric: Metric, seeds: MeasuredCell) -> tuple[float, str]:
    """Returns how far two runs may be apart in points, and what that is made of."""
    values = seeds.values(metric)
    if len(values) > 1:
        sd, whose = stdev(values), f"that of its cell's {len(values)} seeds"
    else:
        sd, whose = assumed_deviation(seeds.epochs)
    return Z * math.sqrt(2) * sd, f"{Z} x sqrt(2) x a deviation of {sd:.2f} points, {whose}"


def _cell_of(results: Results, trial_id: str, *, alone: bool) -> MeasuredCell:
    """Returns the cell that a trial belongs to: with its other seeds, or of itself alone."""
    trials = results.trials
    place = trials["trial_id"].tolist().index(trial_id)
    if alone:
        return read_cells(trials.iloc[[place]])[0]
    _, places = split_cells(trials)
    (cell,) = (cell for cell in places if place in cell)
    return read_cells(trials.iloc[cell])[0]
