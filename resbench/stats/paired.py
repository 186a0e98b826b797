"""Differences between models, seed by seed: paired t-tests, and Holm's correction for their number.

Seeds are paired across models: the same seed is the same order of images and the same augmentation. So the difference
of two models is taken seed by seed, over the seeds that ended ``ok`` for both, and tested against 0.

Each pair's spread is its own. A spread pooled over all models (that of an analysis of variance with models and seeds
as its factors) has more degrees of freedom and so finds smaller gaps, but it assumes that all models vary alike. They
do not: in the committed ``results/cifar10-jpeg75-cpu`` one network has a standard deviation of 0.16 points over three
seeds and another of 3.89. Where five equal models had standard deviations of 1, 1, 1, 1 and 4, tests with the pooled
spread told some apart in 10 % of 20,000 simulated experiments, these in less than 5 %. The price is power where seeds
are few, which :func:`~resbench.stats.power.detectable_gap` puts into a number.

The test assumes that differences are independent between seeds and about normal. A difference that is the same for
every seed has no spread to test with; on a small test set, where accuracies come in large steps, that is a coincidence
and no certainty, so it has neither interval nor p.
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
class PairedTests:
    """Tests of differences against 0, each field an array of the same shape; NaN where there is no answer."""

    n: NDArray[np.intp]
    """How many differences there are."""
    difference: NDArray[np.float64]
    """Their mean."""
    sd: NDArray[np.float64]
    """Their standard deviation; NaN for fewer than two."""
    half_width: NDArray[np.float64]
    """Half the width of the t-interval of the mean; NaN where they do not vary."""
    p: NDArray[np.float64]
    """Two-sided, of this test alone; 1 where all differences are 0, NaN where they do not vary otherwise."""


def paired_tests(differences: NDArray[np.float64]) -> PairedTests:
    """Tests whether differences are 0 on average: mean +- t * s / sqrt(n), Student's t with n - 1 degrees of freedom.

    Args:
        differences: float [..., seeds]; NaN where a seed is missing on either side.

    Returns:
        Arrays [...].
    """
    import numpy as np
    from scipy.special import stdtr, stdtrit

    present = ~np.isnan(differences)
    n = present.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, differences, 0.0).sum(axis=-1) / n
        residuals = np.where(present, differences - mean[..., np.newaxis], 0.0)
        sd = np.sqrt((residuals**2).sum(axis=-1) / np.where(n > 1, n - 1, np.nan))
        error = np.where(sd > SAME, sd, np.nan) / np.sqrt(n)
        half_width = stdtrit(np.maximum(n - 1, 1), (1 + CONFIDENCE) / 2) * error
        p = 2 * stdtr(np.maximum(n - 1, 1), -np.abs(mean) / error)
    p = np.where((sd <= SAME) & (np.abs(mean) <= SAME), 1.0, p)
    return PairedTests(n, mean, sd, half_width, p)


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
