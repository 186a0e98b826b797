"""Whether a metric got better or worse: an effect above its limit that is not chance.

Why these tests, and what p must be below, is said in :mod:`resbench.compare`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from resbench import published
from resbench.compare.metrics import Limit, Metric

if TYPE_CHECKING:
    from resbench.compare.cells import MeasuredCell
    from resbench.stats.differences import Tests

SIGNIFICANCE = 0.05
"""The p below which two means are called different."""

FALSE_ALARMS = 0.04
"""Of whole comparisons of speed and memory, on either side. That is less than 5 %, since the trial which is measured
again is also one of those that are compared, so that the tests are not quite independent of the deviation."""

PUBLISHED_ACCURACY, PUBLISHED_IMAGES = 0.94, 10_000
"""At which test accuracy, a fraction, and on how many images the published run-to-run deviations were measured."""

LONG_WEIGHT = 2.0
"""Degrees of freedom that the published deviation is worth beside seeds: the most with which two seeds a side that in
truth deviate by twice as much still call less than 5 % of unchanged cells worse (``results/statistics``)."""

SHORT_TRAINING_SD = 5.03
"""Percentage points by which runs of a short training deviate: the largest over three seeds or more of a network in the
committed results (``se_resnet50`` under ``common`` after one epoch, in ``results/sources-jpeg75-cpu``)."""

SHORT_TYPICAL_SD, SHORT_WEIGHT = 1.63, 1.0
"""What the deviations of all networks with two seeds or more in the committed results are scattered around, in points,
and how many degrees of freedom that is worth. The estimate of Smyth (2004), section 6.2, is 1.46; with 1 two seeds a
side that deviate as widely as the largest still call less than 5 % of unchanged cells worse."""

MOST_SEEDS = 100
"""Beyond these none are recommended."""


@dataclass(frozen=True)
class Spread:
    """What is known of the deviation of single runs or readings besides that of the seeds at hand."""

    deviation: float
    """Points of accuracy; of the logarithm of other metrics."""
    weight: float
    """Degrees of freedom that it is worth; 0 where nothing is known, infinite where it is taken for the truth."""
    whose: str = ""
    """Where it is from, in words."""


NOTHING_KNOWN = Spread(0.0, 0.0)


@dataclass(frozen=True)
class Judgement:
    """What became of one metric."""

    verdict: str
    """``better``, ``worse``, ``same`` or ``not decided``."""
    base: float
    """Mean over the seeds, in the metric's unit."""
    new: float
    change: float
    """As :meth:`Metric.change` has it; infinite where the base is 0 and the other is not."""
    p: float | None
    test: str | None
    """Which test gave p: ``moderated t``, ``Student``, ``assumed deviation`` or ``A/A``."""
    notes: tuple[str, ...]
    """What a reader of the verdict must know."""


def judge(
    metric: Metric, base: Sequence[float], new: Sequence[float], limit: Limit, spread: Spread, *, tests: int = 1
) -> Judgement:
    """Says whether a metric got better or worse.

    Args:
        metric: What the values are.
        base: One value a seed, at least one; accuracies in percent.
        new: Likewise.
        limit: What the change of the mean must exceed.
        spread: What is known of the deviation besides these values.
        tests: Of speed and memory in the whole comparison.
    """
    before, after = fmean(base), fmean(new)
    change = metric.change(before, after)
    found = difference(metric, base, new, spread)
    p = None if found is None else float(found.p)
    level = level_of(metric, tests)
    large, one_seed = limit.exceeded_by(change), len(base) == len(new) == 1
    verdict, notes = "same", []
    if large:
        direction = "better" if (change > 0) == metric.higher_is_better else "worse"
        verdict = direction if p is not None and p < level else "not decided"
    if limit.decided_by == "noise floor":
        notes.append(f"the noise floor of {100 * limit.size:.1f} % decides, above the threshold")
    if one_seed and metric.is_accuracy and found is not None:
        notes.append(
            f"one seed: p from a run-to-run deviation of {spread.deviation:.2f} points, {spread.whose}; no change "
            f"under {max(limit.size, float(found.half_width)):.1f} points can be shown"
        )
    if found is None and verdict == "same":
        notes.append("no A/A measurement and one seed: no p, threshold only")
    if verdict == "not decided":
        notes.append(_undecided((len(base), len(new)), limit, found, spread, level))
    test = None if found is None else _name(metric, spread, one_seed=one_seed)
    return Judgement(verdict, before, after, change, p, test, tuple(notes))


def level_of(metric: Metric, tests: int) -> float:
    """Returns what p must be below.

    An accuracy's verdict wants p < 0.05. Of speed and memory p must be below 2 x 0.04 / tests: then the chance that
    an unchanged folder is called worse in any of them is below 5 %, and that it is called better likewise (Bonferroni,
    each on its own side).

    Args:
        metric: What is compared.
        tests: Of speed and memory in the whole comparison.
    """
    return SIGNIFICANCE if metric.is_accuracy else min(1.0, 2 * FALSE_ALARMS / tests)


def difference(metric: Metric, base: Sequence[float], new: Sequence[float], spread: Spread) -> Tests | None:
    """Tests the difference of two means, of new less base: points of an accuracy, logarithms of the others.

    Args:
        metric: What the values are.
        base: One value a seed, at least one; accuracies in percent.
        new: Likewise.
        spread: What is known of the deviation besides these values.

    Returns:
        Its fields are scalars; None where neither the seeds nor the spread say how far single values deviate.
    """
    import numpy as np

    from resbench.stats.differences import moderated_tests

    sides = [np.asarray(side, dtype=float) for side in (new, base)]
    if not metric.is_accuracy:
        if min(*base, *new) <= 0:
            return None
        sides = [np.log(side) for side in sides]
    found = moderated_tests(*sides, deviation=spread.deviation, weight=spread.weight)
    return None if math.isnan(found.p) else found


def accuracy_spread(cell: MeasuredCell, base: Sequence[float], new: Sequence[float] = ()) -> Spread:
    """Returns what is assumed of the run-to-run deviation of a cell's accuracy.

    Args:
        cell: How long was trained, and on how many images it was tested.
        base: Accuracies in percent.
        new: Likewise, of the other side.
    """
    mean = fmean((*base, *new)) / 100
    if len(base) <= 1 and len(new) <= 1:
        deviation, whose = assumed_deviation(cell.epochs, mean, cell.test_images)
        return Spread(deviation, math.inf, whose)
    if is_long(cell.epochs):
        return Spread(assumed_deviation(cell.epochs, mean, cell.test_images)[0], LONG_WEIGHT)
    return Spread(SHORT_TYPICAL_SD, SHORT_WEIGHT)


def is_long(epochs: float | None) -> bool:
    """Returns whether a training is as long as those of which run-to-run deviations are published."""
    return epochs is not None and epochs >= published.shortest_training()


def assumed_deviation(
    epochs: float | None, accuracy: float = PUBLISHED_ACCURACY, images: int | None = None
) -> tuple[float, str]:
    """Returns how far runs that differ in their seed alone deviate, and whose figure that is.

    Networks err independently on the images of a test set (arXiv 2304.01910, section 3): the variance of an accuracy p
    on n images is the mean of q (1 - q) over them, over n, with q the chance that an image is got right. That is
    k p (1 - p) / n with k < 1; the largest published deviation, at 94 % on 10,000 images, has k = 0.64. What is left,
    on the distribution that the images are of, is small in long trainings and nearly all in short ones.

    Args:
        epochs: How long was trained. The published deviations are of no training shorter than 16 epochs; in shorter
            ones runs deviate far more.
        accuracy: A fraction; that of the published ones if not given.
        images: Of the test set; None where nobody knows, which is taken for as many as the published ones.

    Returns:
        Percentage points of test accuracy, and where they are from in words.
    """
    images = images or PUBLISHED_IMAGES

    def binomial(accuracy: float, images: int) -> float:
        near = (accuracy * images + 2) / (images + 4)  # Agresti and Coull: an accuracy of 1 deviates as well
        return near * (1 - near)

    known = published.run_to_run_sd() ** 2 * PUBLISHED_IMAGES
    of_images = known * binomial(accuracy, images) / binomial(PUBLISHED_ACCURACY, PUBLISHED_IMAGES)
    if is_long(epochs):
        whose = f"the largest published of CIFAR-10 at {100 * accuracy:.0f} % of {images:,} images"
        return math.sqrt(of_images / images), whose
    more = max(0.0, 1 / images - 1 / PUBLISHED_IMAGES)
    short = f"trainings under {published.shortest_training()} epochs"
    whose = f"the largest of three seeds or more that was measured of {short}"
    return math.sqrt(SHORT_TRAINING_SD**2 + of_images * more), whose


def _name(metric: Metric, spread: Spread, *, one_seed: bool) -> str:
    """Names the test that gave a p."""
    if one_seed:
        return "assumed deviation" if metric.is_accuracy else "A/A"
    return "moderated t" if spread.weight else "Student"


def _undecided(numbers: tuple[int, int], limit: Limit, found: Tests | None, spread: Spread, level: float) -> str:
    """Says why a change above its limit is no verdict, and what run would make it one."""
    if found is None:
        return f"above the {limit.decided_by}; no A/A measurement and one seed: give two seeds or more, or --calibrate"
    import numpy as np

    from resbench.stats.power import gaps_of_tests

    seeds = np.arange(2, MOST_SEEDS + 1)
    weight = LONG_WEIGHT if math.isinf(spread.weight) else spread.weight
    one_run = float(found.error) / math.sqrt(sum(1 / number for number in numbers))
    errors = one_run * np.sqrt(2 / seeds.astype(np.float64))
    freedom = (weight + 2 * seeds - 2).astype(np.float64)
    gaps = gaps_of_tests(errors, freedom, freedom + 1, alpha=level)
    enough = seeds[gaps <= abs(found.difference)]
    wanted = f"{enough[0]}" if len(enough) else f"more than {MOST_SEEDS}"
    return (
        f"above the {limit.decided_by}, not significant (p < {level:.2g} is); a change of this size is found by "
        f"{wanted} seeds a side in 80 % of runs"
    )
