"""One trial beside its rerun: whether each figure is what it was, as far as noise allows to say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resbench.compare.cells import LEARNING, SPEED, MeasuredCell, differing, explain, read_cells
from resbench.compare.judging import SIGNIFICANCE, accuracy_spread
from resbench.compare.metrics import METRICS, Limit, Metric, Thresholds, limit_of, noise_floors, repeatability
from resbench.stats import split_cells, standard_deviation

if TYPE_CHECKING:
    from resbench.store import Results

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

    Two runs of one accuracy differ by at most t x sqrt(2) x sd in 95 to 97 % of cases, with sd that of the cell's n
    seeds, of which the recorded one is one, and t Student's quantile for n - 1 degrees of freedom; where the cell has a
    single seed an assumed sd is taken for the truth. Speed and memory may differ by the largest of threshold, noise
    floor, and what the A/A measurements of both folders allow for in 95 % of reruns over all of them.

    Args:
        stored: The folder that holds the recorded trial, ``ok`` there.
        trial_id: Which one.
        rerun: A folder that holds the same trial, ``ok`` there.
        bits_expected: Whether the accuracy must be the same to the bit: a processor, the same code and software.
    """
    base, again = (_cell_of(results, trial_id, alone=True) for results in (stored, rerun))
    seeds = _cell_of(stored, trial_id, alone=False)
    floors, spreads = noise_floors(stored, rerun), repeatability(stored, rerun)
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
            sd, freedom = spreads.get(metric.source, (0.0, 1))
            level = SIGNIFICANCE / sum(not each.is_accuracy for each in METRICS)
            if (noise := abs(math.expm1(math.copysign(_two_runs(sd, freedom, level), change)))) > size:
                size, note = noise, f"{freedom + 1} A/A readings that deviate by {100 * sd:.1f} %"
        outside = Limit(size).exceeded_by(change) or not size  # where no difference is allowed, the smallest counts
        outcome = IDENTICAL if left == right else OUTSIDE if outside else WITHIN
        found.append(Remeasured(metric, left[0], right[0], change, size, outcome, note))
    return found


def _accuracy_noise(metric: Metric, seeds: MeasuredCell) -> tuple[float, str]:
    """Returns how far two runs may be apart in points, and what that is made of."""
    values = seeds.values(metric)
    sd, freedom, whose = standard_deviation(values), float(len(values) - 1), f"that of its cell's {len(values)} seeds"
    if sd is None:
        assumed = accuracy_spread(seeds, values)
        sd, freedom, whose = assumed.deviation, assumed.weight, assumed.whose
    t = _two_runs(1.0, freedom) / math.sqrt(2)
    return _two_runs(sd, freedom), f"{t:.2f} x sqrt(2) x a deviation of {sd:.2f} points, {whose}"


def _two_runs(sd: float, freedom: float, level: float = SIGNIFICANCE) -> float:
    """Returns how far two values may be apart whose standard deviation was found with so many degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - level / 2)) * math.sqrt(2) * sd


def _cell_of(results: Results, trial_id: str, *, alone: bool) -> MeasuredCell:
    """Returns the cell that a trial belongs to: with its other seeds, or of itself alone."""
    trials = results.trials
    place = trials["trial_id"].tolist().index(trial_id)
    if alone:
        return read_cells(trials.iloc[[place]], hits=results.hits)[0]
    _, places = split_cells(trials)
    (cell,) = (cell for cell in places if place in cell)
    return read_cells(trials.iloc[cell], hits=results.hits)[0]
