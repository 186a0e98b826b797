from __future__ import annotations

import math

import pytest
from records import make_record, make_trial

from resbench.schema import MEASURING_VERSION, TrialRecord, columns
from resbench.stats import AVERAGED, CELL, LEARNING, MEASURED, SETTINGS, SHARED, SPEED, cells, summarise

OTHER = {
    "model": "x", "stem": "source", "weights": "default", "input": "1x28x28", "dataset": "x",
    "dataset_fingerprint": "f" * 64, "recipe": "x", "budget": "1ep", "batch_size": 64, "micro_batch_size": 64,
    "precision": "fp32", "tf32": True, "compiled": False, "compile_mode": "x", "devices": 2,
    "memory_format": "contiguous", "cuda_graph": True, "lowering": "auto", "cached_features": True, "device_name": "x",
    "driver": "1",
    "torch": "2.12", "cuda": "12", "cudnn": "1", "host_cpu": "x", "cpu_threads": 2, "measuring_version": 1,
    "code": "mine.py:1234",
}  # fmt: skip
"""Of each column that decides what may be compared, another value than in :func:`records.make_record`."""

DECIDE_NOTHING = {
    "trial_id", "source", "seed", "concurrent_seeds", "git_sha", "git_dirty", "git_diff_hash", "resbench",
    "torchvision", "python", "node", "started_at", "notes",
}  # fmt: skip
"""What a trial was and where it ran, as far as nothing is incomparable for it; pages name states of the code."""


def test_every_column_of_what_a_trial_was_is_known_to_decide_something_or_nothing():
    names = columns(TrialRecord)
    outcome = names[names.index("status") : names.index("measuring_version")]
    assert {*LEARNING, *SPEED, *DECIDE_NOTHING, "code"} == {*names} - {*outcome}
    assert {*OTHER} == {*LEARNING, *SPEED, "code"}
    assert set(MEASURED) - {"train_clock_s"} < set(outcome)


@pytest.mark.parametrize("column", [*sorted({*LEARNING} - {"micro_batch_size"}), "code"])  # tables mark that one
def test_accuracies_that_were_learnt_otherwise_enter_no_mean(trials_of, column):
    first, second = (make_record(make_trial(seed=seed), test_accuracy=0.5 + 0.2 * seed) for seed in range(2))
    summary = summarise(trials_of(first, second | {column: OTHER[column]}))
    assert summary["test_accuracy_mean"].tolist() == [0.5, 0.7]
    same_table = column in ("model", "weights", "code")
    assert summary["group"].nunique() == (1 if same_table else 2)


@pytest.mark.parametrize("column", SPEED)
def test_times_and_memory_that_were_measured_otherwise_enter_no_mean(trials_of, column):
    fast, slow = ({name: value for name in MEASURED if name != "train_clock_s"} for value in (1.0, 4.0))
    records = [make_record(make_trial(seed=seed), **fast) for seed in range(2)]
    other = make_record(make_trial(seed=2), **slow) | {column: OTHER[column]}
    summary = summarise(trials_of(*records, other))
    for name in AVERAGED[AVERAGED.index("test_loss") + 1 :]:
        times = 2 if name == "train_clock_s" else 1
        assert set(summary[f"{name}_mean"].dropna()) <= {1.0 * times, 4.0 * times}, name
    assert summary["ok"].sum() == 3
    if column not in SETTINGS and column not in CELL:  # learnt alike: its accuracy counts
        assert summary["n"].tolist() == [3]


def test_the_machine_of_most_trials_of_a_table_counts(trials_of):
    def record(model, seed, **changes):
        return make_record(make_trial(model, seed), latency_ms_p50=1.0 + seed, **changes)

    new = {"measuring_version": MEASURING_VERSION + 1}
    trials = trials_of(record("a", 0), record("a", 1, **new), record("b", 0, **new), record("b", 1, **new))
    assert summarise(trials)["latency_ms_p50_mean"].tolist() == [2.0, 1.5]


KEEP_APART = (
    "model", "stem", "dataset", "dataset_fingerprint", "input", "recipe", "budget", "weights", "code", "devices",
    "precision", "memory_format", "batch_size", "device_name", "tf32", "compiled", "compile_mode", "cuda_graph",
    "lowering", "cached_features",
)  # fmt: skip
"""What keeps seeds out of one mean, and models out of one table but for these:"""
IN_ONE_TABLE = ("model", "weights", "code", "cached_features")


def test_every_column_that_keeps_trials_apart_is_tried():
    assert {*CELL, *SETTINGS, *SHARED} == {*KEEP_APART}


@pytest.mark.parametrize("column", KEEP_APART)
def test_seeds_that_differ_in_anything_else_are_no_mean(trials_of, column):
    trials = trials_of(make_record(make_trial(seed=0)), make_record(make_trial(seed=1)) | {column: OTHER[column]})
    assert len(list(cells(trials))) == 2
    assert summarise(trials)["planned"].tolist() == [1, 1]


@pytest.mark.parametrize("column", KEEP_APART)
def test_models_that_were_measured_otherwise_share_no_table(trials_of, column):
    trials = trials_of(make_record(make_trial()), make_record(make_trial("resnet50")) | {column: OTHER[column]})
    assert summarise(trials)["group"].tolist() == ([1, 1] if column in IN_ONE_TABLE else [1, 2])


def test_a_seed_that_never_ran_belongs_to_the_cell_of_the_others(trials_of):
    never = make_record(make_trial(seed=1), status="not_run", **dict.fromkeys(SETTINGS))
    (cell,) = cells(trials_of(make_record(make_trial(seed=0)), never))
    assert list(cell["seed"]) == [0, 1]


def test_the_train_clock_is_data_and_steps_of_a_trial_that_had_its_device_alone(trials_of):
    alone = make_record(make_trial(), data_s=1.25, step_s=8.5)
    shared = make_record(make_trial("resnet50"), data_s=1.25, step_s=8.5, concurrent_seeds=3)
    assert summarise(trials_of(alone, shared))["train_clock_s_mean"].tolist() == pytest.approx(
        [9.75, math.nan], nan_ok=True
    )


def test_no_trials_no_cells(trials_of):
    assert list(cells(trials_of(make_record(make_trial())).iloc[:0])) == []


def test_every_column_of_a_summary_comes_from_a_trial():
    assert {*CELL, *SETTINGS, *SHARED, *AVERAGED} - {"train_clock_s"} <= set(columns(TrialRecord))
