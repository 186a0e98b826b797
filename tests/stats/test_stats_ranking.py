from __future__ import annotations

import math

import numpy as np
import pytest

from resbench.stats.differences import welch_tests
from resbench.stats.power import gaps_of_tests
from resbench.stats.ranking import MOST_PAIRED, pair_reason, rank
from resbench.stats.tiers import share_tier

NAN = math.nan
SPREAD = np.array([-0.001, 0.0, 0.0011])


def test_models_that_differ_clearly_are_apart_in_the_order_of_their_means():
    ranking = rank(np.stack([0.5 + SPREAD, 0.9 - SPREAD, 0.7 + SPREAD[::-1]]), [3, 3, 3])
    assert ranking.tiers == ["c", "a", "b"]
    assert [*zip(ranking.first.tolist(), ranking.second.tolist(), strict=True)] == [(1, 2), (1, 0), (2, 0)]
    assert ranking.tests.difference == pytest.approx([0.2, 0.4, 0.2], abs=1e-3)
    assert ranking.separated.all()
    assert ranking.number_of_tests == 3
    assert ranking.reasons == [None] * 3


def test_models_that_do_not_differ_share_a_tier():
    ranking = rank(np.array([[0.90, 0.91, 0.92], [0.92, 0.90, 0.91]]), [3, 3])
    assert ranking.tiers == ["a", "a"]
    assert not ranking.separated.any()


def test_what_is_significant_alone_and_not_among_all_tests_is_not_separated():
    ranking = rank(np.array([[0.92, 0.93, 0.94], [0.90, 0.905, 0.91], [0.905, 0.915, 0.925]]), [3, 3, 3])
    assert ranking.tests.p.min() == pytest.approx(0.0316, abs=1e-4)
    assert ranking.p_holm.min() == pytest.approx(3 * 0.0316, abs=3e-4)
    assert not ranking.separated.any()
    assert ranking.tiers == ["a", "a", "a"]


def test_the_same_results_are_no_difference():
    ranking = rank(np.array([[0.90, 0.90], [0.90, 0.90]]), [2, 2])
    assert ranking.tests.p.tolist() == [1.0]
    assert ranking.tiers == ["a", "a"]
    assert ranking.gaps(0) is None


def test_a_difference_without_spread_separates_nothing():
    ranking = rank(np.array([[0.90, 0.90, 0.90], [0.85, 0.85, 0.85]]), [3, 3])
    assert math.isnan(ranking.tests.p[0])
    assert ranking.tiers == ["a", "a"]
    assert ranking.number_of_tests == 0
    assert ranking.gaps(0) is None
    assert "same under every seed" in pair_reason(3, NAN)


def test_a_model_with_a_failed_seed_gains_no_tier_by_it():
    good = np.stack([0.9 + SPREAD, 0.8 - SPREAD])
    lucky = np.array([[0.95, NAN, NAN], [0.89, 0.893, NAN]])
    ranking = rank(np.concatenate([good, lucky]), [3, 3, 3, 3])
    assert ranking.tiers == ["a", "b", None, None]
    assert ranking.reasons[2:] == ["1 of 3 planned seeds ended ok", "2 of 3 planned seeds ended ok"]
    # Its pairs are shown all the same.
    assert {2, 3} <= {*ranking.first.tolist(), *ranking.second.tolist()}


def test_a_tier_takes_two_seeds_and_another_model_with_as_many():
    alone = rank(np.array([[0.9, 0.91], [0.8, NAN]]), [2, 1])
    assert alone.tiers == [None, None]
    assert alone.reasons == ["there is no other model with two seeds", "one seed: no interval and no tier"]
    assert rank(np.full((2, 0), NAN), [1, 1]).reasons == ["0 of 1 planned seeds ended ok"] * 2
    assert pair_reason(1, NAN) == "one seed: no interval and no p"
    assert pair_reason(0, NAN) == "no seed ended ok"
    assert pair_reason(2, 0.5) is None


def test_other_seeds_are_as_good():
    values = np.array([[0.9, 0.91, 0.92, NAN, NAN], [0.9, 0.912, 0.921, NAN, NAN], [NAN, NAN, NAN, 0.1, 0.11]])
    assert rank(values, [3, 3, 2]).tiers == ["a", "a", "b"]


def test_the_smallest_gap_is_the_median_of_the_models_own_pairs():
    generator = np.random.default_rng(0)
    accuracies = 0.9 + np.array([[0.001], [0.001], [0.02], [0.02]]) * generator.normal(size=(4, 4))
    ranking = rank(accuracies, [4] * 4)
    tests = [welch_tests(accuracies[0], accuracies[other]) for other in (1, 2, 3)]
    for found, alpha in zip(ranking.gaps(0), (0.05, 0.05 / 6), strict=True):
        expected = [float(gaps_of_tests(test.error, test.freedom, test.n, alpha=alpha)) for test in tests]
        assert found == pytest.approx(np.median(expected))
    alike = rank(np.stack([0.9 + SPREAD, 0.8 + SPREAD]), [3, 3]).gaps(0)
    error = np.std(SPREAD, ddof=1) * np.sqrt(2 / 3)  # both vary alike, and four degrees of freedom are what they leave
    assert alike[0] == pytest.approx(float(gaps_of_tests(error, np.array(4.0), np.array(3))))


def test_beyond_the_limit_each_is_compared_with_the_best_and_corrected_for_all_pairs():
    models = MOST_PAIRED + 10
    generator = np.random.default_rng(1)
    accuracies = 0.9 + 0.0005 * generator.normal(size=(models, 5))
    accuracies[30:] -= 0.3
    best = int(np.argmax(accuracies.mean(axis=1)))
    ranking = rank(accuracies, [5] * models)
    assert set(ranking.first.tolist()) == {best}
    assert len(ranking.second) == models - 1
    assert ranking.number_of_tests == models * (models - 1) // 2
    smallest = np.nanmin(ranking.tests.p)
    assert np.nanmin(ranking.p_holm) == pytest.approx(ranking.number_of_tests * smallest)
    assert ranking.tiers[:30] == ["a"] * 30
    assert ranking.tiers[30:] == [None] * 30
    assert all("compared with the best alone" in reason for reason in ranking.reasons[30:])


@pytest.mark.parametrize("seed", range(5))
def test_two_models_share_a_tier_exactly_where_their_pair_is_not_separated(seed):
    generator = np.random.default_rng(seed)
    accuracies = generator.normal(size=(8, 1)) + 0.3 * generator.normal(size=(8, 10))
    ranking = rank(accuracies, [10] * 8)
    assert 0 < ranking.separated.sum() < 28
    pairs = zip(ranking.first.tolist(), ranking.second.tolist(), ranking.separated.tolist(), strict=True)
    for one, other, is_apart in pairs:
        assert share_tier(ranking.tiers[one], ranking.tiers[other]) != is_apart
