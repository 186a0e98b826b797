from __future__ import annotations

import pytest
from records import make_record, make_trial

from resbench.schema import TrialRecord, columns
from resbench.stats import AVERAGED, CELL, SETTINGS, SHARED, cells


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
def test_what_is_planned_differently_is_another_cell(trials_of, other):
    trials = trials_of(make_record(make_trial()), make_record(make_trial(**other)))
    assert len(list(cells(trials))) == 2


@pytest.mark.parametrize("setting", [{"device_name": "x"}, {"compiled": False}, {"cuda_graph": True}, {"tf32": True}])
def test_seeds_that_ran_under_other_settings_are_another_cell(trials_of, setting):
    trials = trials_of(make_record(make_trial(seed=0)), make_record(make_trial(seed=1), **setting))
    assert len(list(cells(trials))) == 2


def test_a_seed_that_never_ran_belongs_to_the_cell_of_the_others(trials_of):
    never = make_record(make_trial(seed=1), status="not_run", **dict.fromkeys(SETTINGS))
    (cell,) = cells(trials_of(make_record(make_trial(seed=0)), never))
    assert list(cell["seed"]) == [0, 1]


def test_no_trials_no_cells(trials_of):
    assert list(cells(trials_of(make_record(make_trial())).iloc[:0])) == []


def test_every_column_of_a_summary_comes_from_a_trial():
    assert {*CELL, *SETTINGS, *SHARED, *AVERAGED} - {"train_clock_s"} <= set(columns(TrialRecord))
