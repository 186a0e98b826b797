from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from records import make_record, make_trial

from resbench.schema import TrialRecord, columns
from resbench.stats import AVERAGED, CELL, SETTINGS, cells, mean, standard_deviation, summarise, t_half_width, welch_p
from resbench.store import Store, load_results

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


def test_welch_agrees_with_a_hand_computation():
    # Means 2 and 5, variances 1 and 1, n = 3: t = 3 / sqrt(2 / 3), 4 degrees of freedom.
    p = 2 * scipy.stats.t.sf(3 / math.sqrt(2 / 3), 4)
    assert welch_p([1, 2, 3], [4, 5, 6]) == pytest.approx(p)


def test_welch_without_spread_or_seeds():
    assert welch_p([1.0], [2.0, 3.0]) is None
    assert welch_p([1.0, 1.0], [1.0, 1.0]) == 1.0
    assert welch_p([1.0, 1.0], [2.0, 2.0]) == 0.0


def trials_of(folder, *records):
    store = Store(folder, create=True)
    for record in records:
        store.append("trial", record)
    return load_results(folder).trials


def test_failed_trials_never_enter_a_mean(tmp_path):
    statuses = ["ok", "oom", "diverged", "timeout", "crashed", "interrupted", "not_run"]
    records = [
        make_record(make_trial(seed=seed), status=status, test_accuracy=0.9 if status == "ok" else 0.1)
        for seed, status in enumerate(statuses)
    ]
    (row,) = summarise(trials_of(tmp_path, *records)).to_dict("records")
    assert (row["test_accuracy_mean"], row["planned"], row["ok"]) == (0.9, 7, 1)
    assert math.isnan(row["test_accuracy_sd"])
    assert math.isnan(row["test_accuracy_ci95"])


def test_a_summary_is_that_of_the_rows_of_each_cell(tmp_path):
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
    trials = trials_of(tmp_path, *records)
    rows = summarise(trials).to_dict("records")
    assert [(row["model"], row["budget"], row["stem"]) for row in rows] == [
        (model, budget, stem)
        for budget, stem in (("26ep", "cifar"), ("10min", "cifar"), ("26ep", "source"))
        for model in "abc"
    ]
    for row, cell in zip(rows, cells(trials), strict=True):
        ok = cell[cell["status"] == "ok"]
        assert (row["planned"], row["ok"]) == (len(cell), len(ok))
        for column in AVERAGED:
            assert row[f"{column}_mean"] == pytest.approx(ok[column].mean(), nan_ok=True)
            assert row[f"{column}_sd"] == pytest.approx(ok[column].std(), nan_ok=True)


def test_no_trials_no_cells(tmp_path):
    trials = trials_of(tmp_path, make_record(make_trial())).iloc[:0]
    assert list(cells(trials)) == []
    assert summarise(trials).empty


def test_a_cell_where_all_failed_keeps_its_costs(tmp_path):
    failed = make_record(make_trial(), status="oom", test_accuracy=None, data_s=None, step_s=None)
    (row,) = summarise(trials_of(tmp_path, failed)).to_dict("records")
    assert row["params"] == 21_289_802
    assert row["ok"] == 0
    assert math.isnan(row["test_accuracy_mean"])


def test_the_train_clock_is_data_plus_step(tmp_path):
    records = [make_record(make_trial(seed=seed), data_s=1.0, step_s=9.0 + seed) for seed in (0, 2)]
    (row,) = summarise(trials_of(tmp_path, *records)).to_dict("records")
    assert row["train_clock_s_mean"] == 11.0
    assert row["train_clock_s_sd"] == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize(
    "other",
    [
        {"stem": "source"},
        {"dataset_fingerprint": "f" * 64},
        {"recipe": "other"},
        {"budget": "10min"},
        {"batch_size": 64},
        {"weights": "default"},
    ],
)
def test_what_is_planned_differently_is_another_cell(tmp_path, other):
    trials = trials_of(tmp_path, make_record(make_trial()), make_record(make_trial(**other)))
    assert len(list(cells(trials))) == 2


@pytest.mark.parametrize("setting", [{"device_name": "x"}, {"compiled": False}, {"cuda_graph": True}, {"tf32": True}])
def test_seeds_that_ran_under_other_settings_are_another_cell(tmp_path, setting):
    trials = trials_of(tmp_path, make_record(make_trial(seed=0)), make_record(make_trial(seed=1), **setting))
    assert len(list(cells(trials))) == 2


def test_a_seed_that_never_ran_belongs_to_the_cell_of_the_others(tmp_path):
    never = make_record(make_trial(seed=1), status="not_run", **dict.fromkeys(SETTINGS))
    (cell,) = cells(trials_of(tmp_path, make_record(make_trial(seed=0)), never))
    assert list(cell["seed"]) == [0, 1]


def test_every_column_of_a_summary_comes_from_a_trial():
    assert {*CELL, *SETTINGS, *AVERAGED} - {"train_clock_s"} <= set(columns(TrialRecord))
