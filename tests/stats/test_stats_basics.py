from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from resbench.stats import mean, standard_deviation, t_half_width

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20)


@given(VALUES)
def test_mean_and_standard_deviation_agree_with_numpy(values):
    assert mean(values) == pytest.approx(np.mean(values), abs=1e-9)
    assert standard_deviation(values) == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-6)


@given(VALUES, st.sampled_from([0.8, 0.95, 0.99]))
def test_t_half_width_agrees_with_scipy(values, confidence):
    error = scipy.stats.sem(values)
    if error > 1e-9:
        low, high = scipy.stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=error)
        assert t_half_width(values, confidence=confidence) == pytest.approx((high - low) / 2, rel=1e-6)


def test_t_half_width_of_a_textbook_case():
    # t(0.975, 2) = 4.303 (any table of Student's t); s = 1, n = 3.
    assert t_half_width([1.0, 2.0, 3.0]) == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)


def test_one_value_has_no_spread():
    assert (mean([0.9]), standard_deviation([0.9]), t_half_width([0.9])) == (0.9, None, None)
    assert (mean([]), standard_deviation([]), t_half_width([])) == (None, None, None)
