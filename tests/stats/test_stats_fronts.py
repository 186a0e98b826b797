from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.statistics_front import told_and_true
from resbench.stats.fronts import front_probabilities, on_front, pareto_front

# Few values, so that ties are common.
POINTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9)
DRAWS = 40_000


@given(POINTS)
def test_many_fronts_at_once_are_those_of_each(points):
    costs, accuracies = np.array(points, dtype=float).T
    both = on_front(np.stack([costs, costs[::-1]]), np.stack([accuracies, accuracies[::-1]]))
    assert {*np.flatnonzero(both[0]).tolist()} == {*pareto_front(costs.tolist(), accuracies.tolist())}
    assert both[1].tolist() == both[0][::-1].tolist()


def test_a_dearer_model_is_on_the_front_as_probably_as_its_t_distribution_says_that_it_is_better():
    generator = np.random.default_rng(0)
    accuracies = 0.9 + 0.01 * generator.normal(size=(2, 4))
    accuracies[1] += 0.004
    costs = np.repeat([[1.0], [2.0]], 4, axis=1)
    cheap, dear = front_probabilities(accuracies, costs, draws=DRAWS)
    first, second = (
        scipy.stats.t(3, loc=one.mean(), scale=scipy.stats.sem(one)).ppf((np.arange(1_000) + 0.5) / 1_000)
        for one in accuracies
    )
    assert cheap == 1.0
    assert dear == pytest.approx((second[:, np.newaxis] > first).mean(), abs=0.01)


def test_seeds_are_not_paired():
    # Each varies widely, the one always as the other: three hundredths of a deviation tell nothing without that.
    accuracies = np.array([[0.5, 0.6, 0.7, 0.8], [0.51, 0.6101, 0.71, 0.8099]])
    costs = np.repeat([[1.0], [2.0]], 4, axis=1)
    together = front_probabilities(accuracies, costs)[1]
    other_seeds = np.full((2, 8), math.nan)
    other_seeds[0, :4], other_seeds[1, 4:] = accuracies
    apart = front_probabilities(other_seeds, np.repeat([[1.0], [2.0]], 8, axis=1))[1]
    assert 0.4 < together == apart < 0.6


@pytest.mark.parametrize(("sign", "expected"), [(1, 1.0), (-1, 0.5)])
def test_accuracy_and_cost_of_a_model_vary_together(sign, expected):
    # The first is the cheaper where it is the more accurate, or the dearer; so it does or does not beat the second.
    deviation = np.array([-0.01, 0.02, -0.03, 0.02])
    accuracies = np.stack([0.9 + deviation, np.full(4, 0.9)])
    costs = np.stack([1.0 + sign * deviation, np.ones(4)])
    assert front_probabilities(accuracies, costs, draws=DRAWS)[1] == pytest.approx(expected, abs=0.01)


def test_a_cost_that_varies_puts_either_of_two_like_models_on_the_front():
    accuracies = np.full((2, 4), 0.9)
    costs = np.array([[1.0, 1.2, 0.9, 1.1], [1.2, 1.0, 1.1, 0.9]])
    both = front_probabilities(accuracies, costs, draws=DRAWS)
    assert both == pytest.approx([0.5, 0.5], abs=0.02)


def test_a_model_with_one_seed_has_no_probability_and_competes():
    nan = math.nan
    accuracies = np.array([[0.80, 0.81, 0.79], [0.95, nan, nan], [0.90, 0.91, 0.92], [nan] * 3])
    costs = np.array([[1.0, 1.0, 1.0], [2.0, nan, nan], [3.0, 3.0, 3.0], [4.0, 4.0, 4.0]])
    found = front_probabilities(accuracies, costs)
    assert found[0] == 1.0
    assert math.isnan(found[1])
    assert found[2] < 0.1
    assert math.isnan(found[3])
    assert np.isnan(front_probabilities(accuracies[1:2], costs[1:2])).all()


@pytest.mark.parametrize(("seeds", "most"), [(2, 0.04), (3, 0.08), (5, 0.11)])
def test_of_models_that_are_as_good_few_are_told_with_95_percent_to_be_or_not_to_be_on_the_front(seeds, most):
    told, _ = told_and_true((1, 1), 0.0, seeds, experiments=800)
    assert (np.abs(told - 0.5) >= 0.45).mean() < most


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_what_is_told_with_90_percent_is_so_as_often_where_models_differ_as_seeds_do(seeds):
    told, true = told_and_true((1, 1), 1.0, seeds, experiments=800)
    sure = np.abs(told - 0.5) >= 0.4
    assert sure.mean() > 0.1
    assert ((told > 0.5) == true)[sure].mean() > 0.9


def test_it_is_the_same_each_time():
    generator = np.random.default_rng(0)
    accuracies, costs = generator.random((2, 5, 3))
    assert front_probabilities(accuracies, costs).tolist() == front_probabilities(accuracies, costs).tolist()
