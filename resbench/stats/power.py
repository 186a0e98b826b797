"""How small a difference a number of seeds can find, and how many seeds a difference takes.

The test that is planned for is a two-sided t-test. Its power at a true difference d is that of a noncentral t at
noncentrality d / (standard error); the other tail, less than one in ten thousand where the power is above a half, is
left out.
"""

from __future__ import annotations

import math

ALPHA = 0.05
"""How often a test may find a difference where there is none."""
POWER = 0.8
"""How often a test should find a difference that is there."""


def detectable_gap(sd: float, seeds: int, *, paired: bool, alpha: float = ALPHA, power: float = POWER) -> float:
    """Returns the smallest true difference of two models that so many seeds find with a probability of ``power``.

    Args:
        sd: Paired: the standard deviation of the differences, seed by seed. Not paired: that of the runs of one model,
            taken to be the same for both.
        seeds: Of each model, at least two.
        paired: Whether both models ran under the same seeds and are compared seed by seed.
        alpha: The level of the test. Of m tests under Holm's correction the first is made at alpha / m.
        power: The probability of finding it, above a half.

    Returns:
        The difference in the unit of ``sd``.

    Raises:
        ValueError: There are fewer than two seeds.
    """
    # scipy.stats.nct computes the same from these, in a second of import.
    from scipy.special import nctdtrinc, stdtrit

    if seeds < 2:
        raise ValueError(f"{seeds} seeds leave no spread to test with: give at least 2")
    freedom = seeds - 1 if paired else 2 * (seeds - 1)
    error = sd * math.sqrt((1 if paired else 2) / seeds)
    critical = float(stdtrit(freedom, 1 - alpha / 2))
    return float(nctdtrinc(freedom, 1 - power, critical)) * error


def seeds_needed(gap: float, sd: float, *, paired: bool, alpha: float = ALPHA, power: float = POWER) -> int:
    """Returns the fewest seeds of each model that find a difference as large as ``gap``.

    Args:
        gap: A true difference, above 0, in the unit of ``sd``.
        sd: As :func:`detectable_gap` has it.
        paired: As :func:`detectable_gap` has it.
        alpha: As :func:`detectable_gap` has it.
        power: As :func:`detectable_gap` has it.

    Raises:
        ValueError: The gap is not above 0.
    """
    if gap <= 0:
        raise ValueError(f"no number of seeds finds a gap of {gap:g}: give one above 0")

    def enough(seeds: int) -> bool:
        return detectable_gap(sd, seeds, paired=paired, alpha=alpha, power=power) <= gap

    high = 2
    while not enough(high):
        high *= 2
    low = max(2, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high
