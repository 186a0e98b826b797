from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from records import make_record, make_trial

from resbench.stats import AVERAGED, cells, summarise, t_half_width
from resbench.stats.ranking import rank
from resbench.stats.summary import WITHOUT_INTERVAL, rounded


def test_failed_trials_never_enter_a_mean(trials_of):
    statuses = ["ok", "oom", "diverged", "timeout", "crashed", "interrupted", "not_run"]
    records = [
        make_record(make_trial(seed=seed), status=status, test_accuracy=0.9 if status == "ok" else 0.1)
        for seed, status in enumerate(statuses)
    ]
    (row,) = summarise(trials_of(*records)).to_dict("records")
    assert (row["test_accuracy_mean"], row["planned"], row["ok"], row["n"]) == (0.9, 7, 1, 1)
    assert math.isnan(row["test_accuracy_sd"])
    assert math.isnan(row["test_accuracy_ci95"])


def test_a_summary_is_that_of_the_rows_of_each_cell(trials_of):
    changes = [{}, {"budget": "10min"}, {"stem": "source"}, {}, {"budget": "10min"}]
    records = [
        make_record(
            make_trial(model, seed, **changes[seed]),
            status="oom" if seed == 3 and model == "a" else "ok",
            test_accuracy=0.5 + 0.01 * number,
            latency_ms_p50=None if seed == 4 else 1.0 + number,
        )
        for number, (seed, model) in enumerate(itertools.product(range(5), "abc"))
    ]
    trials = trials_of(*records)
    rows = summarise(trials).to_dict("records")
    assert [(row["model"], row["budget"], row["stem"]) for row in rows] == [
        (model, budget, stem)
        for budget, stem in (("26ep", "cifar"), ("10min", "cifar"), ("26ep", "source"))
        for model in "abc"
    ]
    assert [row["group"] for row in rows] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    for row, cell in zip(rows, cells(trials), strict=True):
        ok = cell[cell["status"] == "ok"]
        assert (row["planned"], row["ok"], row["n"]) == (len(cell), len(ok), len(ok))
        for column in AVERAGED:
            assert row[f"{column}_mean"] == pytest.approx(ok[column].mean(), nan_ok=True)
            assert row[f"{column}_sd"] == pytest.approx(ok[column].std(), nan_ok=True)


def test_every_average_of_independent_seeds_has_an_interval(trials_of):
    records = [
        make_record(make_trial(seed=seed), train_images_per_second=100.0 + seed**2, test_loss=0.5 - 0.1 * seed)
        for seed in range(4)
    ]
    summary = summarise(trials_of(*records))
    assert {column for column in AVERAGED if f"{column}_ci95" in summary} == {*AVERAGED} - {*WITHOUT_INTERVAL}
    (row,) = summary.to_dict("records")
    assert row["train_images_per_second_ci95"] == t_half_width([100.0, 101.0, 104.0, 109.0])
    assert row["test_loss_ci95"] == pytest.approx(t_half_width([0.5, 0.4, 0.3, 0.2]))


def test_tiers_and_gaps_are_those_of_the_group(trials_of, accuracies):
    values = {"a": (0.90, 0.91, 0.92), "b": (0.901, 0.908, 0.919), "c": (0.10, 0.111, 0.119)}
    records = [record for model, found in values.items() for record in accuracies(model, *found)]
    summary = summarise(trials_of(*records)).set_index("model")
    ranking = rank(np.array(list(values.values())), [3, 3, 3])
    assert summary["tier"].to_dict() == {"a": "a", "b": "a", "c": "b"} == dict(zip("abc", ranking.tiers, strict=True))
    assert summary["tier_reason"].isna().all()
    assert list(summary["tests"]) == [3, 3, 3]
    for place, model in enumerate("abc"):
        gaps = (summary["detectable_gap"][model], summary["detectable_gap_holm"][model])
        assert gaps == pytest.approx(ranking.gaps(place))
        assert gaps[1] > gaps[0] > 0


def test_models_of_another_group_do_not_share_its_tiers(trials_of, accuracies):
    short = [make_record(make_trial("d", seed, budget="1ep"), test_accuracy=0.5 + 0.01 * seed) for seed in range(3)]
    records = [*accuracies("a", 0.9, 0.91, 0.92), *accuracies("b", 0.89, 0.92, 0.91), *short]
    summary = summarise(trials_of(*records)).set_index("model")
    assert summary["group"].to_dict() == {"a": 1, "b": 1, "d": 2}
    assert summary["tier"].fillna("-").to_dict() == {"a": "a", "b": "a", "d": "-"}
    assert summary["tier_reason"]["d"] == "there is no other model with two seeds"


def test_one_seed_has_no_interval_and_no_tier_and_says_why(trials_of, accuracies):
    (first, second) = summarise(trials_of(*accuracies("a", 0.9), *accuracies("b", 0.1))).to_dict("records")
    for row in (first, second):
        assert row["tier_reason"] == "one seed: no interval and no tier"
        assert pd.isna(row["tier"])
        assert pd.isna(row["test_accuracy_ci95"])
        assert pd.isna(row["detectable_gap"])


def test_an_ok_trial_without_an_accuracy_is_no_seed_of_it(trials_of, accuracies):
    records = accuracies("a", 0.9, 0.8)
    records[1]["test_accuracy"] = None
    (row,) = summarise(trials_of(*records)).to_dict("records")
    assert (row["ok"], row["n"]) == (2, 1)


def test_a_cell_where_all_failed_keeps_its_costs(trials_of):
    failed = make_record(make_trial(), status="oom", test_accuracy=None, data_s=None, step_s=None)
    (row,) = summarise(trials_of(failed)).to_dict("records")
    assert row["params"] == 21_289_802
    assert (row["ok"], row["tier_reason"]) == (0, "0 of 1 planned seeds ended ok")
    assert math.isnan(row["test_accuracy_mean"])


def test_the_train_clock_is_data_plus_step(trials_of):
    records = [make_record(make_trial(seed=seed), data_s=1.0, step_s=9.0 + seed) for seed in (0, 2)]
    (row,) = summarise(trials_of(*records)).to_dict("records")
    assert row["train_clock_s_mean"] == 11.0
    assert row["train_clock_s_sd"] == pytest.approx(math.sqrt(2))


def test_no_trials_no_rows(trials_of):
    assert summarise(trials_of(make_record(make_trial())).iloc[:0]).empty


def test_figures_are_cut_to_digits_that_every_machine_agrees_on():
    assert rounded(0.1 + 0.2) == 0.3
    assert rounded(1.23456789012e-20) == 1.23456789e-20
    assert rounded(math.nan) is rounded(None) is None
