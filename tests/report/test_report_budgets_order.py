"""Whether the order of networks changes from setting to setting: judged on accuracies made by hand."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from statistics import fmean, variance
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))

from setting_folders import settings_of
from source_folders import arm, read

from resbench import published
from resbench.compare.judging import SHORT_TRAINING_SD
from resbench.report.budgets.order import FAILED, assumed, compare_orders, judge, pooled
from resbench.report.budgets.sentences import highest_means, how_judged, order_changes, reversals
from resbench.report.budgets.settings import read_settings

HIGH, LOW = (0.840, 0.846, 0.850, 0.844), (0.801, 0.806, 0.812, 0.803)


def test_an_order_is_reversed_where_the_seeds_separate_both_gaps(tmp_path):
    assert stats.ttest_rel(HIGH, LOW).pvalue < 0.05
    (orders,) = compare_orders(settings_of(tmp_path, images={"a": HIGH, "b": LOW}, time={"a": LOW, "b": HIGH}))
    (turned,) = orders.reversed_by("seeds")
    assert (turned.first, turned.second) == ("a", "b")
    assert [gap.difference for gap in turned.gaps] == pytest.approx([0.0395, -0.0395])
    assert orders.reversals == [turned]
    assert order_changes([orders]) == (
        "The order changes with the setting: a is above b in images and below it in time, both gaps separated by the "
        "seeds."
    )
    assert [*reversals(orders)] == [
        "images, then time: reversed, separated by the seeds in both: a minus b +3.95, -3.95."
    ]


def test_a_gap_that_one_setting_does_not_separate_is_no_change(tmp_path):
    near = (0.850, 0.800, 0.846, 0.812)
    assert stats.ttest_rel(near, HIGH[::-1]).pvalue > 0.05
    (orders,) = compare_orders(settings_of(tmp_path, images={"a": HIGH, "b": LOW}, time={"a": near, "b": HIGH[::-1]}))
    assert [turned.evidence for turned in orders.reversals] == ["none"]
    said = order_changes([orders])
    assert said.startswith("No change of order is claimed. 1 pair of networks changes places by the means alone")
    assert "above" not in said
    assert [*reversals(orders)] == ["images, then time: no claim: a minus b +3.95, (-1.80)."]


def test_what_keeps_its_order_is_counted_and_said_with_its_limits(tmp_path):
    (orders,) = compare_orders(settings_of(tmp_path, images={"a": HIGH, "b": LOW}, time={"a": HIGH, "b": LOW}))
    assert (orders.kept, orders.reversals, orders.tau) == (1, [], 1.0)
    assert order_changes([orders]).startswith("No two networks change places between two settings in which neither")
    assert [*reversals(orders)] == []


def test_holms_correction_is_for_all_pairs_of_a_setting(tmp_path):
    one, two = (0.830, 0.840, 0.850), (0.800, 0.790, 0.820)
    p = stats.ttest_ind(one, two, equal_var=False).pvalue
    assert 0.05 / 3 < p < 0.05
    alone, among = settings_of(tmp_path, few={"a": one, "b": two}, many={"a": one, "b": two, "c": (0.81, 0.80, 0.85)})
    assert judge(alone, assumed([alone], alone))["a", "b"].evidence == "seeds"
    gap = judge(among, assumed([among], among))["a", "b"]
    assert (gap.evidence, gap.reason) == ("none", "not separated by the seeds")


@pytest.mark.parametrize(("share", "evidence"), [(1.01, "assumed"), (0.99, "none")])
def test_one_seed_is_judged_with_the_deviation_pooled_over_what_has_seeds(tmp_path, share, evidence):
    sd = math.sqrt((3 * variance(HIGH) + 3 * variance(LOW)) / 6)
    gap = share * stats.t.ppf(0.975, 6) * sd * math.sqrt(2)
    settings = settings_of(tmp_path, images={"a": HIGH, "b": LOW}, time={"a": (0.8,), "b": (0.8 + gap,)})
    deviation = pooled(settings)
    assert (deviation.sd, deviation.freedom, deviation.cells) == (pytest.approx(sd), 6, 2)
    (orders,) = compare_orders(settings)
    (turned,) = orders.reversals
    assert turned.evidence == evidence
    said = " ".join(how_judged(settings))
    assert (
        "In time networks have one seed each. A gap there can only be judged with a deviation that is assumed" in said
    )
    assert f": {100 * sd:.2f} points from run to run, the standard deviation over seeds pooled over the 2 cells" in said
    assert "is an assumption and was not tested" in said
    changes = order_changes([orders])
    assert changes.startswith("No change of order is separated by seeds alone. With the assumed deviation") == (
        evidence == "assumed"
    )


def test_gaps_under_an_assumption_are_corrected_for_their_number(tmp_path):
    sd = math.sqrt((3 * variance(HIGH) + 3 * variance(LOW)) / 6)
    gap = 1.01 * stats.t.ppf(0.975, 6) * sd * math.sqrt(2)
    settings = settings_of(tmp_path, images={"a": HIGH, "b": LOW}, time={"a": (0.8,), "b": (0.8 + gap,), "c": (0.8,)})
    assert judge(settings[1], pooled(settings))["a", "b"].reason == "within the assumed deviation"


def drawn(means, sd: float, seeds: int, generator: np.random.Generator) -> Any:
    """What is judged of a setting, without its folder: networks of normal accuracies."""
    values = np.array(means)[:, np.newaxis] + sd * generator.normal(size=(len(means), seeds))
    labels = [*"abcde"][: len(means)]
    by_label = dict(zip(labels, values.tolist(), strict=True))
    return SimpleNamespace(
        group=SimpleNamespace(labels=labels, rows=[{"planned": seeds}] * len(labels), by_seed=lambda *_: values),
        ordered=labels,
        is_whole=lambda _: True,
        accuracies=by_label.get,
        mean=lambda label: fmean(by_label[label]),
    )


@pytest.mark.parametrize(("networks", "least"), [(2, 0.03), (5, 0.01)])
def test_equal_networks_of_one_seed_are_told_apart_in_5_percent_of_settings(networks, least):
    generator = np.random.default_rng(0)
    apart = reversed_ = 0
    for _ in range(600):
        clear = drawn([0.9 - 0.05 * place for place in range(networks)], 0.005, 3, generator)
        alike = drawn([0.8] * networks, 0.005, 1, generator)
        apart += any(gap.evidence == "assumed" for gap in judge(alike, assumed([clear, alike], alike)).values())
        (orders,) = compare_orders([clear, alike])
        reversed_ += bool(orders.reversed_by("assumed"))
    assert least < apart / 600 < 0.075
    # Of what is told apart by chance, half is told in the other order.
    assert reversed_ <= 0.7 * apart


@pytest.mark.parametrize("epochs", [26.0, 3.0])
def test_without_any_seeds_the_deviation_is_that_of_compare(tmp_path, epochs):
    points = published.run_to_run_sd() if epochs > 16 else SHORT_TRAINING_SD
    crucial = stats.norm.ppf(0.975) * math.sqrt(2) * points / 100
    nets = {
        "a": arm("a", 0.5, epochs=epochs),
        "b": arm("b", 0.5 + 0.99 * crucial, epochs=epochs),
    }
    (setting,) = read_settings([read(tmp_path / "one", nets, {}, with_arms=False)])
    deviation = assumed([setting], setting)
    assert (100 * deviation.sd, deviation.freedom) == (pytest.approx(points), None)
    assert judge(setting, deviation)["a", "b"].evidence == "none"
    (wider,) = settings_of(tmp_path, two={"a": (0.5,), "b": (0.5 + 1.01 * crucial,)})
    assert judge(wider, deviation)["a", "b"].evidence == "assumed"
    assert "no network here has two seeds" in " ".join(how_judged([setting]))


def test_a_network_at_chance_level_has_no_order(tmp_path):
    settings = settings_of(
        tmp_path, images={"a": HIGH, "b": LOW, "c": (0.11, 0.10, 0.12, 0.10)}, time={"a": LOW, "b": HIGH, "c": HIGH}
    )
    assert settings[0].guessing == ["c"]
    (orders,) = compare_orders(settings)
    assert (orders.networks, orders.pairs) == (["a", "b"], 1)
    assert pooled(settings[:1]).cells == 2  # one that guesses deviates less


def test_where_nothing_is_learnt_nothing_is_said_of_order(tmp_path):
    guesses = {"a": (0.10,), "b": (0.11,)}
    (orders,) = compare_orders(settings_of(tmp_path, images=guesses, time=guesses))
    assert (orders.pairs, orders.tau) == (0, None)
    assert order_changes([orders]).startswith("Whether the order changes with the setting cannot be said")


def test_a_network_that_failed_seeds_has_no_order(tmp_path):
    settings = settings_of(tmp_path, images={"a": HIGH, "b": LOW}, time={"a": (*LOW[:3], None), "b": HIGH})
    (orders,) = compare_orders(settings)
    (turned,) = orders.reversals
    assert [gap.reason for gap in turned.gaps] == ["", FAILED]
    assert FAILED in next(reversals(orders))


@pytest.mark.parametrize(("other", "tau"), [((3, 2, 1), 1.0), ((1, 2, 3), -1.0), ((2, 3, 1), 1 / 3), ((5, 5, 5), None)])
def test_kendalls_tau_is_of_the_mean_accuracies(tmp_path, other, tau):
    one = {name: (0.5 + 0.01 * value,) for name, value in zip("abc", (3, 2, 1), strict=True)}
    two = {name: (0.5 + 0.01 * value,) for name, value in zip("abc", other, strict=True)}
    (orders,) = compare_orders(settings_of(tmp_path, one=one, two=two))
    assert orders.tau == (tau if tau is None else pytest.approx(tau))
    assert orders.pairs == 3


def test_the_highest_mean_of_each_setting_is_named_and_is_no_order(tmp_path):
    settings = settings_of(tmp_path, x={"a": HIGH, "b": LOW}, y={"a": HIGH, "b": LOW}, z={"a": LOW, "b": HIGH})
    assert highest_means(settings).startswith("The highest mean is that of a in x and y and that of b in z. That is")
    assert highest_means(settings[:2]).startswith("The highest mean is a's in all 2 settings.")
    assert highest_means(settings[:1]) == ""


def test_settings_with_other_networks_have_no_pair(tmp_path):
    (orders,) = compare_orders(settings_of(tmp_path, images={"a": HIGH, "b": LOW}, time={"a": HIGH, "c": LOW}))
    assert (orders.networks, orders.pairs, orders.tau) == (["a"], 0, None)
