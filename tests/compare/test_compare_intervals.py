"""The interval of a difference belongs to the test that gives its p."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resbench.compare.judging import half_width, significance
from resbench.compare.metrics import METRICS

SEEDS = st.lists(st.integers(100, 900).map(lambda tenths: tenths / 10), min_size=2, max_size=6)


@pytest.mark.filterwarnings("ignore:Precision loss")  # scipy's, where one side does not vary
@given(SEEDS, SEEDS)
def test_the_interval_of_several_seeds_is_welchs(base: list[float], new: list[float]) -> None:
    found = half_width(base, new)
    if len({*base}) == len({*new}) == 1:
        assert found == 0
        return
    interval = stats.ttest_ind(new, base, equal_var=False).confidence_interval(0.95)
    assert found == pytest.approx((interval.high - interval.low) / 2, rel=1e-6, abs=1e-9)


def test_one_seed_beside_several_has_their_spread() -> None:
    base = [90.0, 91.0, 92.0]
    expected = stats.t.ppf(0.975, 2) * 1.0 * (1 + 1 / 3) ** 0.5
    assert half_width(base, [95.0]) == pytest.approx(expected)
    assert half_width([95.0], base) == pytest.approx(expected)


def test_one_seed_a_side_has_none() -> None:
    assert half_width([90.0], [91.0]) is None


@given(st.lists(st.integers(0, 9), min_size=2, max_size=4), st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_zero_is_outside_the_interval_where_p_is_small_and_only_there(base: list[int], new: list[int]) -> None:
    p, _ = significance(METRICS[0], base, new)
    half = half_width(base, new)
    distance = abs(sum(new) / len(new) - sum(base) / len(base))
    if abs(p - 0.05) > 1e-6:
        assert (distance > half) == (p < 0.05)
