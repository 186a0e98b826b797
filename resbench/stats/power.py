"""How small a difference a number of seeds can find, and how many seeds a difference takes.

The test that is planned for is a two-sided t-test. Its power at a true difference d is that of a noncentral t at
noncentrality d / (standard error); the other tail, less than one in ten thousand where the power is above a half, is
left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ALPHA = 0.05
"""How often a test may find a difference where there is none."""
POWER = 0.8
"""How often a test should find a difference that is there."""


def gaps_of_tests(
    error: NDArray[np.float64], freedom: NDArray[np.float64], *, alpha: float = ALPHA, power: float = POWER
) -> NDArray[np.float64]:
    """Returns the smallest true differences that t-tests find with a probability of ``power``.

    Args:
        error: Standard errors of the differences.
        freedom: Degrees of freedom.
        alpha: The level of each test. Of m tests under Holm's correction the first is made at alpha / m.
        power: The probability of finding it, above a half.

    Returns:
        In the unit of ``error``.
    """
    # scipy.stats.nct computes the same from these, in a second of import.
    from scipy.special import nctdtrinc, stdtrit

    gaps: NDArray[np.float64] = nctdtrinc(freedom, 1 - power, stdtrit(freedom, 1 - alpha / 2)) * error
    return gaps


def detectable_gap(sd: float, seeds: int, *, alpha: float = ALPHA, power: float = POWER) -> float:
    """Returns the smallest true difference of two models that so many seeds find with a probability of ``power``.

    The test is Welch's, of two models that vary alike, which it does not know: its degrees of freedom are found with
    the spreads, and 2 n (n - 1) / (n + 1) is their harmonic mean for n seeds (of the reciprocal, by the moments of a
    beta distribution). With them the formula is within 2 points of what simulations find from three seeds on.

    Args:
        sd: Standard deviation of the runs of one model, taken to be the same for both.
        seeds: Of each model, at least two.
        alpha: As :func:`gaps_of_tests` has it.
        power: As :func:`gaps_of_tests` has it.

    Returns:
        The difference in the unit of ``sd``.

    Raises:
        ValueError: There are fewer than two seeds.
    """
    import numpy as np

    if seeds < 2:
        raise ValueError(f"{seeds} seeds leave no spread to test with: give at least 2")
    error = np.array(sd * math.sqrt(2 / seeds))
    freedom = np.array(2 * seeds * (seeds - 1) / (seeds + 1))
    return float(gaps_of_tests(error, freedom, alpha=alpha, power=power))


def seeds_needed(gap: float, sd: float, *, alpha: float = ALPHA, power: float = POWER) -> int:
    """Returns the fewest seeds of each model that find a difference as large as ``gap``.

    Args:
        gap: A true difference, above 0, in the unit of ``sd``.
        sd: As :func:`detectable_gap` has it.
        alpha: As :func:`gaps_of_tests` has it.
        power: As :func:`gaps_of_tests` has it.

    Raises:
        ValueError: The gap is not above 0.
    """
    if gap <= 0:
        raise ValueError(f"no number of seeds finds a gap of {gap:g}: give one above 0")

    def enough(seeds: int) -> bool:
        return detectable_gap(sd, seeds, alpha=alpha, power=power) <= gap

    high = 2
    while not enough(high):
        high *= 2
    low = max(2, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high
