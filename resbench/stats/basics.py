"""Mean, spread and interval of one list of values, and the test of two lists that are not paired."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean(values: Sequence[float]) -> float | None:
    """Returns the arithmetic mean, or ``None`` where there are no values."""
    return math.fsum(values) / len(values) if values else None


def standard_deviation(values: Sequence[float]) -> float | None:
    """Returns the sample standard deviation (n - 1), or ``None`` for fewer than two values."""
    if len(values) < 2:
        return None
    centre = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def t_half_width(values: Sequence[float], *, confidence: float = 0.95) -> float | None:
    """Returns half the width of the t-interval of the mean, or ``None`` for fewer than two values.

    The interval is mean +- t * s / sqrt(n), with t the two-sided quantile at n - 1 degrees of freedom.
    """
    from scipy.special import stdtrit  # what scipy.stats.t.ppf calls, without the second that its import takes

    spread = standard_deviation(values)
    if spread is None:
        return None
    return float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * spread / math.sqrt(len(values))
