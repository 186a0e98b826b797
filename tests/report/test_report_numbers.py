from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resbench.report.numbers import (
    count,
    duration,
    duration_with,
    escape,
    names,
    percent,
    probability,
    shorten,
    significant,
    with_deviation,
)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (82_341.7, 4, "82,340"),
        (37.016576, 4, "37.02"),
        (234.950656, 4, "235.0"),
        (0.61, 3, "0.610"),
        (9.9999, 3, "10.0"),
        (999.96, 4, "1,000"),
        (-1234.5, 3, "-1,230"),
        (0, 4, "0"),
        (0.00012345, 3, "0.000123"),
        (None, 4, "-"),
        (math.nan, 4, "-"),
        (pd.NA, 4, "-"),
    ],
)
def test_significant(value, digits, text):
    assert significant(value, digits) == text


@given(st.floats(min_value=1e-6, max_value=1e12), st.integers(2, 6))
def test_significant_keeps_its_digits(value, digits):
    assert float(significant(value, digits).replace(",", "")) == pytest.approx(
        value, rel=0.5 * 10 ** (1 - digits) * 1.01
    )


@pytest.mark.parametrize(
    ("value", "deviation", "digits", "text"),
    [
        (7.27, 1.23, 3, "7.3 ± 1.2"),
        (7.2749, 0.0423, 3, "7.275 ± 0.042"),
        (3356.4, 41.4, 4, "3,356 ± 41"),
        (3356.4, 412.0, 4, "3,360 ± 410"),
        (1161.3, 3.14, 3, "1,161 ± 3"),
        (212.43, 0.0004, 4, "212.4 ± 0.0"),
        (12.0, 340.0, 4, "10 ± 340"),
        (1.02, 0.0, 3, "1.02 ± 0.00"),
        (1.02, math.nan, 3, "1.02"),
        (None, 0.1, 3, "-"),
    ],
)
def test_the_deviation_decides_the_digits(value, deviation, digits, text):
    assert with_deviation(value, deviation, digits) == text


@pytest.mark.parametrize(
    ("seconds", "deviation", "text"),
    [
        (18.53, 0.36, "18.53 ± 0.36 s"),
        (245.2, 8.4, "4 min 05 s ± 8 s"),
        (3720.0, 200.0, "1 h 02 min ± 3 min"),
        (245.2, None, "4 min 05 s"),
    ],
)
def test_a_time_and_its_deviation_have_one_unit(seconds, deviation, text):
    assert duration_with(seconds, deviation) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.004, "0.00 s"),
        (0.84, "0.840 s"),
        (51.23, "51.2 s"),
        (59.97, "1 min 00 s"),
        (192, "3 min 12 s"),
        (3599.8, "1 h 00 min"),
        (3720, "1 h 02 min"),
        (None, "-"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_percent_and_count():
    assert percent(0.95551) == "95.55"
    assert percent(None) == "-"
    assert (count(1, "seed"), count(3, "seed")) == ("1 seed", "3 seeds")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("d2l_resnet18", "d2l_resnet18"),
        ("a|b", r"a\|b"),
        ("<script>", "&lt;script&gt;"),
        ("`x` [y](z) *b*", r"\`x\` \[y\](z) \*b\*"),
        ("_x_", r"\_x\_"),
        ("two\nlines", "two lines"),
    ],
)
def test_escape(text, escaped):
    assert escape(text) == escaped


@given(st.text(max_size=60), st.integers(5, 40))
def test_shorten(text, width):
    short = shorten(text, width)
    assert len(short) <= width
    assert short == text or (len(text) > width and "…" in short)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "<1 %"), (0.0099, "<1 %"), (0.01, "1 %"), (0.374, "37 %"), (0.99, "99 %"), (0.9951, ">99 %"), (None, "-")],
)
def test_probability(value, text):
    assert probability(value) == text


def test_names():
    assert names(["a"]) == "a"
    assert names(["a", "b", "c"]) == "a, b and c"
    assert names([*"abcdefg"]) == "a, b, c, d, e and 2 more"
