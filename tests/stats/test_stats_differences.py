from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from resbench.stats.differences import holm, moderated_tests, welch_tests

PS = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_welch_tests_agree_with_scipy():
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(6, 5)), 3 * generator.normal(size=(6, 4))
    found = welch_tests(one, other)
    assert list(found.n) == [4] * 6
    for place in range(6):
        expected = scipy.stats.ttest_ind(one[place], other[place], equal_var=False)
        low, high = expected.confidence_interval(0.95)
        assert found.p[place] == pytest.approx(expected.pvalue)
        assert found.freedom[place] == pytest.approx(expected.df)
        assert found.difference[place] - found.half_width[place] == pytest.approx(low)
        assert found.difference[place] + found.half_width[place] == pytest.approx(high)
        assert found.difference[place] / found.error[place] == pytest.approx(expected.statistic)


def test_moderated_tests_without_a_weight_are_students_and_with_all_of_it_z_tests():
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(6, 5)), generator.normal(1, 1, size=(6, 4))
    student = moderated_tests(one, other, deviation=0.0, weight=0.0)
    z = moderated_tests(one, other, deviation=0.5, weight=math.inf)
    for place in range(6):
        expected = scipy.stats.ttest_ind(one[place], other[place])
        low, high = expected.confidence_interval(0.95)
        assert student.p[place] == pytest.approx(expected.pvalue)
        assert student.difference[place] - student.half_width[place] == pytest.approx(low)
        assert student.difference[place] + student.half_width[place] == pytest.approx(high)
        error = 0.5 * math.sqrt(1 / 5 + 1 / 4)
        assert z.p[place] == pytest.approx(2 * scipy.stats.norm.sf(abs(z.difference[place]) / error))
        assert z.half_width[place] == pytest.approx(scipy.stats.norm.ppf(0.975) * error)
    alone = moderated_tests(np.array([1.0]), np.array([2.0]), deviation=0.0, weight=0.0)
    assert math.isnan(alone.p)
    assert math.isnan(alone.half_width)


def test_a_missing_seed_is_as_if_it_were_not_there():
    nan = math.nan
    one = np.array([[0.1, nan, 0.3, 0.2], [0.1, 0.3, 0.2, nan]])
    other = np.array([[nan, 0.5, 0.4, 0.5], [0.4, nan, 0.5, 0.5]])
    found, alone = welch_tests(one, other), welch_tests(np.array([0.1, 0.3, 0.2]), np.array([0.5, 0.4, 0.5]))
    assert list(found.n) == [3, 3]
    for name in ("difference", "error", "freedom", "half_width", "p"):
        assert getattr(found, name) == pytest.approx(np.full(2, getattr(alone, name)))


@pytest.mark.parametrize(
    ("one", "other", "n", "difference", "p"),
    [
        ([0.9, 0.8], [0.7], 1, 0.15, math.nan),
        ([math.nan, math.nan], [0.7, 0.8], 0, math.nan, math.nan),
        ([0.9, 0.9, 0.9], [0.9, 0.9, 0.9], 3, 0.0, 1.0),
        # 0.1 + 0.2 and 0.3 differ in the last digits of a float: that is no spread.
        ([0.1 + 0.2, 0.3], [0.2, 0.2], 2, 0.1, math.nan),
    ],
    ids=["one seed", "no seed", "always the same", "always as far apart"],
)
def test_where_neither_varies_there_is_no_interval(one, other, n, difference, p):
    found = welch_tests(np.array(one), np.array(other))
    assert found.n == n
    assert float(found.difference) == pytest.approx(difference, nan_ok=True)
    assert math.isnan(found.half_width)
    assert float(found.p) == pytest.approx(p, nan_ok=True)


def test_the_spread_of_one_side_alone_is_enough():
    found = welch_tests(np.array([0.9, 0.9, 0.9]), np.array([0.8, 0.82, 0.81]))
    assert found.freedom == pytest.approx(2)
    assert float(found.p) == pytest.approx(scipy.stats.ttest_1samp([0.8, 0.82, 0.81], 0.9).pvalue)


def test_holm_of_a_worked_example():
    # Holm (1979) on 0.01, 0.04, 0.03, 0.005: 4 * 0.005, 3 * 0.01, 2 * 0.03, and 0.04 is raised to the one before it.
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(PS)
def test_holm_is_at_least_p_at_most_bonferroni_and_keeps_the_order(values):
    p = np.array(values)
    corrected = holm(p)
    assert (corrected >= p - 1e-12).all()
    assert (corrected <= np.minimum(1, len(p) * p) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()


def test_what_has_no_p_is_no_test():
    assert holm(np.array([0.01, math.nan, 0.02])) == pytest.approx([0.02, math.nan, 0.02], nan_ok=True)
    assert holm(np.array([])).shape == (0,)


def test_tests_that_could_have_been_chosen_count():
    assert holm(np.array([0.001, 0.01]), tests=10) == pytest.approx([0.01, 0.09])


def test_holm_of_many_experiments_is_that_of_each():
    p = np.random.default_rng(0).random((4, 3, 6))
    assert holm(p) == pytest.approx(np.array([[holm(one) for one in some] for some in p]))
