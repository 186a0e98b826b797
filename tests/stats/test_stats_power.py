from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from resbench.stats.differences import welch_tests
from resbench.stats.power import ALPHA, POWER, gaps_of_tests, seeds_to_halve


def factor(freedom: float, alpha: float = ALPHA) -> float:
    """The smallest gap in standard errors; as many seeds as leave these degrees of freedom in one model alone."""
    return float(gaps_of_tests(np.array(1.0), np.array(freedom), np.array(freedom + 1), alpha=alpha))


@pytest.mark.parametrize("freedom", [1, 2, 4, 18])
@pytest.mark.parametrize("alpha", [ALPHA, ALPHA / 10])
def test_the_power_is_averaged_over_what_the_estimate_may_be(freedom, alpha):
    critical, c = scipy.stats.t.ppf(1 - alpha / 2, freedom), factor(freedom, alpha)
    # On a grid of both estimates, where the code has one ratio of them and one Student's t.
    errors = np.sqrt(scipy.stats.chi2.ppf((np.arange(1_000) + 0.5) / 1_000, freedom) / freedom)
    assert scipy.stats.norm.cdf(c * errors[:, np.newaxis] - critical * errors).mean() == pytest.approx(POWER, abs=1e-3)


@pytest.mark.parametrize("alpha", [ALPHA, ALPHA / 100])
def test_of_many_seeds_it_is_the_gap_of_a_known_spread(alpha):
    known = scipy.stats.norm.ppf(1 - alpha / 2) + scipy.stats.norm.ppf(POWER)
    assert factor(500, alpha) == pytest.approx(known, rel=0.01)
    # Published for a standard deviation of 0.15: a gap of 0.1 takes 37 seeds, one of 0.2 takes 10 by Student's test.
    assert 0.15 * math.sqrt(2 / 37) * factor(72) == pytest.approx(0.1, rel=0.02)
    assert 0.2 < 0.15 * math.sqrt(2 / 10) * factor(18) < 0.21


@pytest.mark.parametrize("seeds", [(2, 2), (3, 3), (5, 5), (10, 10), (3, 10)])
@pytest.mark.parametrize("ratio", [1, 4])
@pytest.mark.parametrize("alpha", [ALPHA, ALPHA / 10])
def test_new_seeds_find_the_gap_that_other_seeds_tell_in_80_percent(seeds, ratio, alpha):
    generator = np.random.default_rng([*seeds, ratio])

    def runs() -> list[np.ndarray]:
        return [sd * generator.normal(size=(20_000, n)) for sd, n in zip((1, ratio), seeds, strict=True)]

    told = welch_tests(*runs())
    first, second = runs()
    gaps = gaps_of_tests(told.error, told.freedom, told.n, alpha=alpha)
    found = (welch_tests(first + gaps[:, np.newaxis], second).p < alpha).mean()
    # Of models with unlike numbers of seeds the gap is one that is found more often than is said.
    assert 0.74 < found < (0.89 if seeds[0] == seeds[1] else 1)


@pytest.mark.parametrize(("seeds", "alpha"), [(2, ALPHA), (3, ALPHA), (3, ALPHA / 10), (10, ALPHA)])
def test_one_seed_less_than_it_takes_does_not_halve_the_gap(seeds, alpha):
    def gap(n: int) -> float:
        error, freedom = math.sqrt(2 / n), 2 * n * (n - 1) / (n + 1)
        return float(gaps_of_tests(np.array(error), np.array(freedom), np.array(n), alpha=alpha))

    takes = seeds_to_halve(seeds, alpha=alpha)
    assert gap(takes) <= gap(seeds) / 2 < gap(takes - 1)


def test_the_gaps_of_many_tests_are_those_of_each():
    error, freedom, seeds = np.array([0.1, 0.3, 0.2]), np.array([2.0, 3.7, 8.0]), np.array([2, 4, 5])
    assert gaps_of_tests(error, freedom, seeds) == pytest.approx(
        [float(gaps_of_tests(error[place], freedom[place], seeds[place])) for place in range(3)]
    )
