"""Pareto fronts: the models of which no other is both cheaper and better, and how probable a place among them is.

A front of means is the front of these runs. With other seeds the means would be others; how far, the spread over the
seeds says. So means are drawn again and again from where the runs place them, and the share of draws in which a model
is on the front is the probability that it belongs there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DRAWS = 4_000
"""Of the means; a probability is then off by 0.8 points at most, one standard error."""


def pareto_front(costs: Sequence[float], accuracies: Sequence[float]) -> list[int]:
    """Returns the indices of the points that no other point dominates, by rising cost.

    A point dominates another when it costs no more, is no less accurate, and is better in one of the two.
    Points that are equal in both do not dominate each other.

    Args:
        costs: One finite number a point; less is better.
        accuracies: One finite number a point; more is better.

    Raises:
        ValueError: The two differ in length.
    """
    order = sorted(
        ((cost, -accuracy, index) for index, (cost, accuracy) in enumerate(zip(costs, accuracies, strict=True)))
    )
    front: list[int] = []
    last: tuple[float, float] | None = None
    for cost, negated, index in order:
        if last is None or negated < last[1] or (cost, negated) == last:
            front.append(index)
            last = (cost, negated)
    return front


def on_front(costs: NDArray[np.float64], accuracies: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Says of many sets of points at once which are on the front, as :func:`pareto_front` does of one.

    Args:
        costs: float [..., points].
        accuracies: float [..., points].

    Returns:
        bool [..., points].
    """
    import numpy as np

    order = np.lexsort((-accuracies, costs), axis=-1)
    by_cost = np.take_along_axis(costs, order, axis=-1)
    reached = np.take_along_axis(accuracies, order, axis=-1)
    before = np.full_like(reached, -np.inf)
    before[..., 1:] = np.maximum.accumulate(reached, axis=-1)[..., :-1]
    better = reached > before
    # A point that equals the one before it in both is on the front where that one is.
    for place in range(1, order.shape[-1]):
        twin = (by_cost[..., place] == by_cost[..., place - 1]) & (reached[..., place] == reached[..., place - 1])
        better[..., place] |= twin & better[..., place - 1]
    out = np.empty_like(better)
    np.put_along_axis(out, order, better, axis=-1)
    return out


def front_probabilities(
    accuracies: NDArray[np.float64], costs: NDArray[np.float64], *, draws: int = DRAWS
) -> NDArray[np.float64]:
    """Returns how probable it is that each model is on the front of true means.

    Each model's means are drawn apart from the others', from a t-distribution with n - 1 degrees of freedom around the
    means of its n runs, accuracy and cost together: its scale is their covariance over the seeds, divided by n. Seeds
    are not paired, as in :mod:`resbench.stats.differences`. What does not vary over the seeds (MACs, parameters) is not
    drawn.

    All true means are taken to be as likely before the runs. Where models differ by less than their seeds do, one that
    is told to be on the front with 95 % or more is not there as often as that; ``results/statistics/front.md`` says
    how often it is.

    Args:
        accuracies: float [models, seeds]; NaN where there is none.
        costs: Likewise.
        draws: How many.

    Returns:
        float [models]; NaN for a model with fewer than two seeds. One with a single seed competes with its one value.
    """
    import numpy as np

    present = ~(np.isnan(accuracies) | np.isnan(costs))
    models = len(accuracies)
    generator = np.random.default_rng(0)
    drawn = np.full((2, draws, models), np.nan)
    for model, seeds in enumerate(present):
        n = int(seeds.sum())
        if not n:
            continue
        runs = np.stack([costs[model, seeds], accuracies[model, seeds]])
        means = runs.mean(axis=1, keepdims=True)
        drawn[:, :, model] = means
        if n > 1:
            scale = np.sqrt(generator.chisquare(n - 1, draws) * n)
            drawn[:, :, model] += (runs - means) @ generator.standard_normal((n, draws)) / scale
    competing = present.any(axis=1)
    probabilities = np.full(models, np.nan)
    probabilities[competing] = on_front(*drawn[:, :, competing]).mean(axis=0)
    probabilities[present.sum(axis=1) < 2] = np.nan
    return probabilities
