from __future__ import annotations

import math

import pytest
import scipy.stats

from resbench.stats.power import ALPHA, POWER, detectable_gap, seeds_needed


# Published for a standard deviation of 0.15: a gap of 0.5 takes 3 seeds an arm, 0.2 takes 10, 0.1 takes 37.
@pytest.mark.parametrize(("gap", "seeds"), [(0.5, 3), (0.2, 10), (0.1, 37)])
def test_seeds_needed_are_the_published_ones(gap, seeds):
    assert seeds_needed(gap, 0.15, paired=False) == seeds


def test_five_seeds_fall_just_short_of_a_gap_of_two_standard_deviations():
    # The same table has 5 for a gap of 0.3: a power of 0.79.
    assert seeds_needed(0.3, 0.15, paired=False) == 6
    assert power(0.3, 0.15, 5, paired=False) == pytest.approx(0.79, abs=0.005)


def power(gap: float, sd: float, seeds: int, *, paired: bool, alpha: float = ALPHA) -> float:
    """The power of a two-sided t-test, both tails of the noncentral t."""
    freedom = seeds - 1 if paired else 2 * (seeds - 1)
    shift = gap / (sd * math.sqrt((1 if paired else 2) / seeds))
    critical = scipy.stats.t.ppf(1 - alpha / 2, freedom)
    return scipy.stats.nct.sf(critical, freedom, shift) + scipy.stats.nct.cdf(-critical, freedom, shift)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("seeds", [3, 5, 12, 40])
@pytest.mark.parametrize("alpha", [ALPHA, ALPHA / 10])
def test_the_gap_is_found_as_often_as_is_said(seeds, paired, alpha):
    gap = detectable_gap(0.2, seeds, paired=paired, alpha=alpha)
    assert power(gap, 0.2, seeds, paired=paired, alpha=alpha) == pytest.approx(POWER, abs=1e-4)
    assert gap == pytest.approx(2 * detectable_gap(0.1, seeds, paired=paired, alpha=alpha))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("gap", [0.05, 0.13, 0.4, 3.0])
def test_one_seed_less_than_needed_is_too_few(gap, paired):
    seeds = seeds_needed(gap, 0.15, paired=paired)
    assert detectable_gap(0.15, seeds, paired=paired) <= gap
    assert seeds == 2 or detectable_gap(0.15, seeds - 1, paired=paired) > gap


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        detectable_gap(0.1, 1, paired=True)
    with pytest.raises(ValueError, match="above 0"):
        seeds_needed(0.0, 0.1, paired=True)
