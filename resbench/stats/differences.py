"""Differences between models: Welch's t-tests over their seeds, and Holm's correction for the number of tests.

Under one seed all models see the same batches, so none is lucky in its data. The test does not pair seeds for that, as
that of :mod:`resbench.compare` does not: training amplifies the smallest difference until little of what a seed does to
one model is left in another (arXiv 2304.01910), and at three seeds pairing costs half the degrees of freedom. Of five
models that deviate by 0.15 points over three seeds, one that is a point above another is told from it in 72 % of 20,000
simulated experiments after Holm's correction for all ten pairs, and by paired tests in 32 %. Were seeds to do half of
what they do to all models alike, these would be 76 % and 56 %: what is assumed costs little where it is wrong.

Each model's spread is its own. A spread pooled over all models has more degrees of freedom and so finds smaller gaps,
but it assumes that all models vary alike. They do not: in the committed ``results/cifar10-jpeg75-cpu`` one network has
a standard deviation of 0.16 points over three seeds and another of 3.89. Where five equal models had standard
deviations of 1, 1, 1, 1 and 4, tests with the pooled spread told some apart in 11 % of 20,000 experiments, these in
less than 5 %.

The test assumes that accuracies are independent between seeds and about normal. Two models that both reach the same
under every seed leave no spread to test with; on a small test set, where accuracies come in large steps, that is a
coincidence and no certainty, so their difference has neither interval nor p.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Of every interval."""
SAME = 1e-9
"""Standard deviations up to this are none: accuracies are fractions of at most some million images, the rest is
rounding."""


@dataclass(frozen=True)
class Tests:
    """Tests of differences against 0, each field an array of the same shape; NaN where there is no answer."""

    n: NDArray[np.intp]
    """How many seeds the side with fewer has."""
    difference: NDArray[np.float64]
    """Of the means."""
    error: NDArray[np.float64]
    """Its standard error; NaN where a side has fewer than two seeds, or neither varies."""
    freedom: NDArray[np.float64]
    """Degrees of freedom, after Welch and Satterthwaite; NaN likewise."""
    half_width: NDArray[np.float64]
    """Half the width of the t-interval of the difference; NaN likewise."""
    p: NDArray[np.float64]
    """Two-sided, of this test alone; 1 where neither side varies and both are the same, NaN where there is no error
    otherwise."""


def welch_tests(first: NDArray[np.float64], second: NDArray[np.float64]) -> Tests:
    """Tests whether two models have the same mean: difference +- t * sqrt(s1^2 / n1 + s2^2 / n2).

    Args:
        first: float [..., seeds]; NaN where a seed is missing.
        second: float [..., seeds], as many or another number.

    Returns:
        Arrays [...].

    Source: Welch (1947), "The generalization of 'Student's' problem when several different population variances are
    involved".
    """
    import numpy as np
    from scipy.special import stdtr, stdtrit

    (n1, mean1, square1), (n2, mean2, square2) = (_mean_and_error(side) for side in (first, second))
    difference = mean1 - mean2
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = square1 + square2
        squares = np.where(squares > SAME**2, squares, np.nan)
        freedom = squares**2 / (square1**2 / (n1 - 1) + square2**2 / (n2 - 1))
        error = np.sqrt(squares)
        half_width = stdtrit(freedom, (1 + CONFIDENCE) / 2) * error
        p = 2 * stdtr(freedom, -np.abs(difference) / error)
        without_spread = (np.minimum(n1, n2) > 1) & np.isnan(squares)
    p = np.where(without_spread & (np.abs(difference) <= SAME), 1.0, p)
    return Tests(np.minimum(n1, n2), difference, error, freedom, half_width, p)


def moderated_tests(
    first: NDArray[np.float64], second: NDArray[np.float64], *, deviation: float, weight: float
) -> Tests:
    """Tests whether two means of one model are the same, with a variance shrunk towards an assumed one.

    With d = n1 + n2 - 2 and S the squared residuals of both sides, s^2 = (weight deviation^2 + S) / (weight + d), and
    difference / (s sqrt(1 / n1 + 1 / n2)) has a t-distribution with weight + d degrees of freedom. Without a weight it
    is Student's test; with an infinite one the deviation is taken to be known, and the test is a z-test.

    Args:
        first: float [..., seeds]; NaN where a seed is missing.
        second: float [..., seeds], as many or another number.
        deviation: Standard deviation of one run that is assumed.
        weight: How many degrees of freedom that is worth.

    Returns:
        Arrays [...]. Where the error is 0, p is 1 for no difference and 0 for any.

    Source: Smyth (2004), "Linear models and empirical Bayes methods for assessing differential expression in
    microarray experiments", equations for the moderated t-statistic.
    """
    import numpy as np
    from scipy.special import stdtr, stdtrit

    (n1, mean1, squares1), (n2, mean2, squares2) = (_moments(side) for side in (first, second))
    freedom = np.asarray(weight + n1 + n2 - 2, dtype=float)
    difference = mean1 - mean2
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = deviation**2 if np.isinf(weight) else (weight * deviation**2 + squares1 + squares2) / freedom
        error = np.sqrt(variance * (1 / n1 + 1 / n2))
        p = 2 * stdtr(freedom, -np.abs(difference) / error)
        p = np.where(error <= SAME, np.abs(difference) <= SAME, p)
        half_width = stdtrit(freedom, (1 + CONFIDENCE) / 2) * error
    return Tests(np.minimum(n1, n2), difference, error, freedom, half_width, p)


def _moments(values: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Returns the number of seeds, their mean, and the sum of their squared residuals; NaN for no seed."""
    import numpy as np

    present = ~np.isnan(values)
    n = present.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, values, 0.0).sum(axis=-1) / n
    residuals = np.where(present, values - mean[..., np.newaxis], 0.0)
    return n, mean, (residuals**2).sum(axis=-1)


def _mean_and_error(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Returns the number of seeds, their mean, and the square of its standard error; NaN for fewer than two seeds."""
    import numpy as np

    n, mean, squares = _moments(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = squares / np.where(n > 1, n - 1, np.nan)
        variance = np.where(variance <= SAME**2, 0.0, variance)  # NaN stays
        return n, mean, variance / n


def holm(p: NDArray[np.float64], *, tests: int | None = None) -> NDArray[np.float64]:
    """Corrects p for the number of tests, so that 5 % bounds the chance of even one false finding among all of them.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none becomes smaller than one before it (Holm,
    1979, "A simple sequentially rejective multiple test procedure"). It holds however the tests depend on each other.

    Args:
        p: float [..., tests]; NaN where there is no p, which counts as no test.
        tests: How many tests there are, where more could have been chosen than are given.

    Returns:
        float [..., tests].
    """
    import numpy as np

    if p.shape[-1] == 0:
        return p.copy()
    order = np.argsort(p, axis=-1)  # NaN last
    known = np.sum(~np.isnan(p), axis=-1, keepdims=True) if tests is None else tests
    factors = np.maximum(known - np.arange(p.shape[-1]), 1)
    ascending = np.take_along_axis(p, order, axis=-1) * factors
    corrected = np.minimum(np.maximum.accumulate(ascending, axis=-1), 1.0)
    out = np.empty_like(p)
    np.put_along_axis(out, order, corrected, axis=-1)
    return out
