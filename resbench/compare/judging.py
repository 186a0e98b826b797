"""Whether a metric got better or worse: an effect above its limit that is not chance.

Why these tests, and why p is not corrected for their number, is said in :mod:`resbench.compare`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

from resbench import published
from resbench.compare.metrics import Limit, Metric

SIGNIFICANCE = 0.05
"""The p below which two means are called different."""

SHORT_TRAINING_SD = 5.03
"""Percentage points by which runs of a short training deviate: the largest over three seeds or more of a network in the
committed results (``se_resnet50`` under ``common`` after one epoch, in ``results/sources-jpeg75-cpu``)."""


@dataclass(frozen=True)
class Judgement:
    """What became of one metric."""

    verdict: str
    """``better``, ``worse`` or ``same``."""
    base: float
    """Mean over the seeds, in the metric's unit."""
    new: float
    change: float
    """As :meth:`Metric.change` has it; infinite where the base is 0 and the other is not."""
    p: float | None
    test: str | None
    """Which test gave p: ``Welch``, ``Student`` or ``assumed deviation``."""
    notes: tuple[str, ...]
    """What a reader of the verdict must know."""


def judge(
    metric: Metric, base: Sequence[float], new: Sequence[float], limit: Limit, *, epochs: float | None = None
) -> Judgement:
    """Says whether a metric got better or worse.

    Args:
        metric: What the values are.
        base: One value a seed, at least one; accuracies in percent.
        new: Likewise.
        limit: What the change of the mean must exceed.
        epochs: How long was trained, which says how far single runs deviate.
    """
    before, after = fmean(base), fmean(new)
    change = metric.change(before, after)
    p, test = significance(metric, base, new, epochs)
    large, chance = limit.exceeded_by(change), p is not None and p >= SIGNIFICANCE
    verdict = "same"
    if large and not chance:
        verdict = "better" if (change > 0) == metric.higher_is_better else "worse"
    notes = []
    if limit.decided_by == "noise floor":
        notes.append(f"the noise floor of {100 * limit.size:.1f} % decides, above the threshold")
    if test == "assumed deviation":
        deviation, whose = assumed_deviation(epochs)
        notes.append(f"one seed: p from a run-to-run deviation of {deviation:.2f} points, {whose}")
    elif p is None:
        measured = "" if limit.noise_floor is not None else " and no noise floor was measured"
        notes.append(f"one seed: no p{measured}, {limit.decided_by} only")
    if large and chance:
        notes.append(f"above the {limit.decided_by}, not significant")
    return Judgement(verdict, before, after, change, p, test, tuple(notes))


def significance(
    metric: Metric, base: Sequence[float], new: Sequence[float], epochs: float | None = None
) -> tuple[float | None, str | None]:
    """Returns the two-sided p of the difference of two means, and the test that gave it.

    Args:
        metric: What the values are; with one seed a side only an accuracy has a p, by :func:`assumed_deviation`.
        base: One value a seed, at least one; accuracies in percent.
        new: Likewise.
        epochs: How long was trained.
    """
    if len(base) > 1 and len(new) > 1:
        return _t_test(base, new, equal_spread=False), "Welch"
    if len(base) > 1 or len(new) > 1:
        return _t_test(base, new, equal_spread=True), "Student"
    if metric.is_accuracy:
        z = abs(new[0] - base[0]) / (math.sqrt(2) * assumed_deviation(epochs)[0])
        return 2 * NormalDist().cdf(-z), "assumed deviation"
    return None, None


def half_width(base: Sequence[float], new: Sequence[float]) -> float | None:
    """Returns half the width of the 95 % interval of the difference of two means, by the test of :func:`significance`.

    The difference is within it of 0 where, and only where, p is 0.05 or more.

    Args:
        base: One value a seed, at least one.
        new: Likewise.

    Returns:
        It in the values' unit; ``None`` where one seed a side leaves no spread to take it from.
    """
    from scipy.special import stdtrit

    if len(base) > 1 and len(new) > 1:  # Welch: each side's own spread, degrees of freedom by Welch and Satterthwaite
        squares = [stdev(side) ** 2 / len(side) for side in (base, new)]
        if not any(squares):
            return 0.0
        freedom = sum(squares) ** 2 / sum(
            square**2 / (len(side) - 1) for square, side in zip(squares, (base, new), strict=True)
        )
        return float(stdtrit(freedom, 1 - SIGNIFICANCE / 2)) * math.sqrt(sum(squares))
    several = max(base, new, key=len)
    if len(several) < 2:
        return None
    error = stdev(several) * math.sqrt(1 / len(base) + 1 / len(new))  # Student: the spread of the side that has one
    return float(stdtrit(len(several) - 1, 1 - SIGNIFICANCE / 2)) * error


def assumed_deviation(epochs: float | None) -> tuple[float, str]:
    """Returns how far runs that differ in their seed alone deviate, and whose figure that is.

    Args:
        epochs: How long was trained. The published deviations are of no training shorter than 16 epochs; in shorter
            ones runs deviate far more.

    Returns:
        Percentage points of test accuracy, and where they are from in words.
    """
    if epochs is not None and epochs >= published.shortest_training():
        return published.run_to_run_sd(), "the largest published of CIFAR-10"
    short = f"trainings under {published.shortest_training()} epochs"
    return SHORT_TRAINING_SD, f"the largest of three seeds or more that was measured of {short}"


def _t_test(base: Sequence[float], new: Sequence[float], *, equal_spread: bool) -> float:
    """Returns the p of a t-test; sides without any spread differ for certain (0) or not at all (1)."""
    from scipy.stats import ttest_ind_from_stats

    spreads = [stdev(side) if len(side) > 1 else 0.0 for side in (base, new)]
    if not any(spreads):
        return 1.0 if base[0] == new[0] else 0.0
    found = ttest_ind_from_stats(
        fmean(base), spreads[0], len(base), fmean(new), spreads[1], len(new), equal_var=equal_spread
    )
    return float(found.pvalue)
