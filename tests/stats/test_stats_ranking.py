from __future__ import annotations

import math

import numpy as np
import pytest

from resbench.stats.power import detectable_gap
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


def test_the_same_results_are_no_difference():
    ranking = rank(np.array([[0.90, 0.91], [0.90, 0.91]]), [2, 2])
    assert ranking.tests.p.tolist() == [1.0]
    assert ranking.tiers == ["a", "a"]
    assert ranking.gaps(0) is None


def test_a_difference_without_spread_separates_nothing():
    ranking = rank(np.array([[0.90, 0.91, 0.92], [0.85, 0.86, 0.87]]), [3, 3])
    assert math.isnan(ranking.tests.p[0])
    assert ranking.tiers == ["a", "a"]
    assert ranking.number_of_tests == 0
    assert ranking.gaps(0) is None
    assert "same for every seed" in pair_reason(3, NAN)


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
    assert pair_reason(1, NAN) == "one seed in common: no interval and no p"
    assert pair_reason(0, NAN) == "no seed ended ok for both"
    assert pair_reason(2, 0.5) is None


def test_other_seeds_give_no_place_in_the_best_tier():
    # The last could not be told from any: nothing of it is paired.
    values = np.array([[0.9, 0.91, 0.92, NAN, NAN], [0.9, 0.912, 0.921, NAN, NAN], [NAN, NAN, NAN, 0.1, 0.11]])
    ranking = rank(values, [3, 3, 2])
    assert ranking.tiers == ["a", "a", None]
    assert ranking.reasons[2] == "fewer than two seeds in common with a better model"


def test_the_smallest_gap_is_that_of_the_models_own_pairs():
    generator = np.random.default_rng(0)
    accuracies = 0.9 + np.array([[0.001], [0.001], [0.02]]) * generator.normal(size=(3, 4))
    ranking = rank(accuracies, [4, 4, 4])
    alone, corrected = ranking.gaps(0)
    variances = [np.var(accuracies[0] - accuracies[other], ddof=1) for other in (1, 2)]
    assert alone == pytest.approx(detectable_gap(math.sqrt(np.mean(variances)), 4, paired=True))
    assert corrected == pytest.approx(detectable_gap(math.sqrt(np.mean(variances)), 4, paired=True, alpha=0.05 / 3))
    assert ranking.gaps(2)[0] > 1.2 * alone


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
