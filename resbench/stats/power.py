"""How small a difference a number of seeds can find, where the spread is known from as many seeds alone.

Put into the formula of a known spread, the noncentral t, an estimated one promises a power of 80 % and has 56 to 68 %
with two or three seeds, averaged over what the estimate may be. So the gap is c estimated standard errors, with c for
which that average is 80 %: P(Z + c S > t S') = 0.8, where Z is normal, S is the ratio of the estimated to the true
standard error, S' that of the experiment that is to find the gap, and t the critical value. S^2 and S'^2 are
chi-square over their degrees of freedom, as Welch's test takes them to be.

The degrees of freedom come from the same seeds and are too large where a spread is small by luck; a third of their
reciprocal is that of the model with fewer seeds. ``results/statistics/power.md`` has the power that comes of it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ALPHA = 0.05
"""How often a test may find a difference where there is none."""
POWER = 0.8
"""How often a test should find a difference that is there."""


def gaps_of_tests(
    error: NDArray[np.float64], freedom: NDArray[np.float64], seeds: NDArray[Any], *, alpha: float = ALPHA
) -> NDArray[np.float64]:
    """Returns the smallest true differences that t-tests find with a probability of ``POWER``.

    Args:
        error: Standard errors of the differences, as estimated.
        freedom: Their degrees of freedom, after Welch and Satterthwaite.
        seeds: Of the model with fewer, at least two; one more than ``freedom`` if that is no estimate.
        alpha: The level of each test. Of m tests under Holm's correction the first is made at alpha / m.

    Returns:
        In the unit of ``error``.
    """
    import numpy as np

    gaps: NDArray[np.float64] = np.exp(np.interp((2 / freedom + 1 / (seeds - 1)) / 3, *_log_factors(alpha))) * error
    return gaps


def seeds_to_halve(seeds: int, *, alpha: float = ALPHA) -> int:
    """Returns how many seeds find half the gap that ``seeds`` do, at least two, of models that vary alike and as much.

    Args:
        seeds: Of each model.
        alpha: As :func:`gaps_of_tests` has it.
    """
    import numpy as np

    n = np.arange(seeds, 4 * seeds + 1)  # four times as many halve the standard error alone
    # Of n seeds, the harmonic mean of the degrees of freedom that Welch's test finds.
    gaps = gaps_of_tests(np.sqrt(2 / n), 2 * n * (n - 1) / (n + 1), n, alpha=alpha)
    return int(n[gaps <= gaps[0] / 2][0])


@lru_cache
def _log_factors(alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns reciprocals of degrees of freedom, ascending, and the logarithm of c for each."""
    import numpy as np
    from scipy.special import betainc, stdtrit

    reciprocals = np.linspace(0.002, 1, 60)
    freedom = 1 / reciprocals[:, np.newaxis]
    critical = stdtrit(freedom, 1 - alpha / 2)
    # Z over the root of S^2 + S'^2 is Student's t with twice the degrees of freedom, apart from the angle whose tangent
    # is S / S'; the square of its sine has a beta distribution. What the one is decides what the other must exceed.
    students = stdtrit(2 * freedom, (np.arange(100) + 0.5) / 100) / math.sqrt(2)
    low, high = np.log(critical), np.log(10 * critical)
    for _ in range(32):
        factor = np.exp((low + high) / 2)
        reach = np.arcsin(np.clip(students / np.hypot(factor, critical), -1, 1))
        angle = np.clip(np.arctan2(critical, factor) - reach, 0, math.pi / 2)
        missed = betainc(freedom / 2, freedom / 2, np.sin(angle) ** 2).mean(axis=1, keepdims=True)
        too_small = missed > 1 - POWER
        low, high = np.where(too_small, np.log(factor), low), np.where(too_small, high, np.log(factor))
    return reciprocals, high[:, 0]
