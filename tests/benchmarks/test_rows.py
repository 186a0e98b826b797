from __future__ import annotations

import pytest

from benchmarks.harness.rows import Pairs, Row, measure_pairs, row_of


def test_a_row_has_the_median_and_the_extremes():
    row = row_of("a / b", "x", [3.0, 1.0, 2.0, 9.0])
    assert (row.median, row.low, row.high, row.repeats, row.unit) == (2.5, 1.0, 9.0, 4, "ratio")


@pytest.mark.parametrize(
    ("target", "median", "met"),
    [(">= 0.97", 0.97, True), (">= 0.97", 0.969, False), ("< 0.4", 0.39, True), ("< 0.4", 0.4, False), ("", 1.0, None)],
)
def test_the_target_is_of_the_median(target, median, met):
    row = Row("a / b", "x", "ratio", median, 0.0, 9.0, 3, target)
    assert row.met is met
    assert row.to_dict()["met"] is met


def test_without_values_there_is_no_row():
    with pytest.raises(ValueError, match="median"):
        row_of("a / b", "x", [])


def test_contenders_are_measured_in_turn_and_the_first_pair_is_dropped():
    calls = []

    def contender(name, rates):
        def measure():
            calls.append(name)
            return next(rates)

        return measure

    pairs = measure_pairs(contender("a", iter([1.0, 20.0, 30.0])), contender("b", iter([9.0, 10.0, 10.0])), repeats=2)
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert pairs == Pairs((20.0, 30.0), (10.0, 10.0))
    assert pairs.ratios == [2.0, 3.0]


def test_a_slow_spell_that_meets_both_of_a_pair_leaves_its_ratio_alone():
    assert Pairs((100.0, 50.0, 100.0), (80.0, 40.0, 80.0)).ratios == [1.25] * 3


def test_the_detail_names_both_medians():
    text = Pairs((1.0, 3.0, 2.0), (4000.0, 6000.0, 5000.0)).detail("ours", "theirs", "images/s")
    assert text == "ours 2.000 images/s, theirs 5,000 images/s"
