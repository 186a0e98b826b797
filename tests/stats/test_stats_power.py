from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from resbench.stats.power import ALPHA, POWER, detectable_gap, gaps_of_tests, seeds_needed


# Published for a standard deviation of 0.15 and Student's test: a gap of 0.5 takes 3 seeds an arm, 0.2 takes 10, 0.1
# takes 37. The same table has 5 for a gap of 0.3, which is a power of 0.79.
@pytest.mark.parametrize(("gap", "seeds", "at"), [(0.5, 3, POWER), (0.3, 5, 0.785), (0.2, 10, POWER), (0.1, 37, POWER)])
def test_seeds_needed_are_the_published_ones(gap, seeds, at):
    found = [
        float(gaps_of_tests(np.array(0.15 * math.sqrt(2 / n)), np.array(2.0 * (n - 1)), power=at))
        for n in (seeds - 1, seeds)
    ]
    assert found[1] <= gap < found[0]


@pytest.mark.parametrize(("gap", "seeds"), [(0.5, 4), (0.3, 6), (0.2, 10), (0.1, 37)])
def test_welchs_test_takes_a_seed_more_where_they_are_few(gap, seeds):
    assert seeds_needed(gap, 0.15) == seeds


def power(gap: float, sd: float, seeds: int, *, alpha: float = ALPHA) -> float:
    """The power of a two-sided t-test, both tails of the noncentral t."""
    freedom = 2 * seeds * (seeds - 1) / (seeds + 1)
    shift = gap / (sd * math.sqrt(2 / seeds))
    critical = scipy.stats.t.ppf(1 - alpha / 2, freedom)
    return scipy.stats.nct.sf(critical, freedom, shift) + scipy.stats.nct.cdf(-critical, freedom, shift)


@pytest.mark.parametrize("seeds", [3, 5, 12, 40])
@pytest.mark.parametrize("alpha", [ALPHA, ALPHA / 10])
def test_the_gap_is_found_as_often_as_is_said(seeds, alpha):
    gap = detectable_gap(0.2, seeds, alpha=alpha)
    assert power(gap, 0.2, seeds, alpha=alpha) == pytest.approx(POWER, abs=1e-4)
    assert gap == pytest.approx(2 * detectable_gap(0.1, seeds, alpha=alpha))


@pytest.mark.parametrize("gap", [0.05, 0.13, 0.4, 3.0])
def test_one_seed_less_than_needed_is_too_few(gap):
    seeds = seeds_needed(gap, 0.15)
    assert detectable_gap(0.15, seeds) <= gap
    assert seeds == 2 or detectable_gap(0.15, seeds - 1) > gap


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        detectable_gap(0.1, 1)
    with pytest.raises(ValueError, match="above 0"):
        seeds_needed(0.0, 0.1)


def test_the_gaps_of_many_tests_are_those_of_each():
    error, freedom = np.array([0.1, 0.3, 0.2]), np.array([2.0, 3.7, 8.0])
    assert gaps_of_tests(error, freedom) == pytest.approx(
        [float(gaps_of_tests(error[place], freedom[place])) for place in range(3)]
    )
    assert detectable_gap(0.3, 4) == pytest.approx(float(gaps_of_tests(np.array(0.3 / math.sqrt(2)), np.array(4.8))))
