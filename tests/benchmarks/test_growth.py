"""The growth benchmark at a size that takes no time: its folder is what it says, its rows are what it measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.harness import growth
from benchmarks.harness.growth import PHASES, Costs, measure, measure_alone, rows_of
from benchmarks.harness.rows import Setting
from benchmarks.harness.stored import MODELS, SEEDS, diverged, stored_trials, trial_events, write_folder
from resbench.errors import InputError
from resbench.store import Store, load_results

SETTING = Setting("cpu", ("cnn",), "source", 4, "fp32", "noise", repeats=1, seconds=0.01)
COSTS = Costs(
    trials=100,
    start_mib=400.0,
    plan_s=1.0,
    plan_mib=500.0,
    resume_s=0.5,
    resume_mib=510.0,
    report_s=2.5,
    report_mib=600.0,
    append_s=0.001,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "stored", stored_trials(20))
    return tmp_path / "stored"


def test_ten_thousand_trials_are_200_cells_of_50_seeds_in_21_tables() -> None:
    trials = stored_trials(10_000)
    assert len({trial.trial_id for trial in trials}) == len(trials) == 10_000
    cells = {replace(trial, seed=0) for trial in trials}
    assert len(cells) == 200
    tables = [replace(cell, model="") for cell in cells]
    assert sorted(tables.count(table) for table in set(tables)) == [*[len(MODELS)] * 20, 100]
    assert {trial.seed for trial in trials} == set(range(SEEDS))
    assert stored_trials(300) == trials[:300]


def test_a_stored_trial_leaves_a_profile_two_epochs_and_a_record(tmp_path: Path) -> None:
    write_folder(tmp_path, stored_trials(120))
    kinds = [event["event"] for event in Store(tmp_path).read()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"suite": 1, "profile": 120, "epoch": 240, "trial": 120}
    results = load_results(tmp_path)
    assert list(results.trials["trial_id"]) == [trial.trial_id for trial in stored_trials(120)]
    assert [index for index, status in enumerate(results.trials["status"]) if status != "ok"] == [99]
    assert diverged(99)
    assert len(results.profile) == 120
    assert len(results.epochs) == 240


@pytest.mark.usefixtures("no_drawing")
def test_measuring_reports_the_folder_and_leaves_its_records_alone(folder: Path) -> None:
    records = (folder / "records.jsonl").read_bytes()
    costs = measure(folder, 20)
    assert costs.trials == 20
    assert min(costs.plan_s, costs.resume_s, costs.report_s, costs.append_s) > 0
    assert 0 < costs.start_mib <= costs.plan_mib <= costs.resume_mib <= costs.report_mib
    assert costs.total_s == pytest.approx(costs.plan_s + costs.resume_s + costs.report_s)
    assert (folder / "README.md").is_file()
    assert (folder / "trials.csv").is_file()
    assert (folder / "records.jsonl").read_bytes() == records


@pytest.mark.usefixtures("no_drawing")
def test_what_does_not_go_on_from_the_trials_is_no_measurement(folder: Path) -> None:
    with pytest.raises(InputError, match="holds another suite"):
        measure(folder, 25)
    event, data = trial_events(stored_trials(20)[3], 3)[-1]
    Store(folder).append(event, {**data, "status": "crashed"})
    with pytest.raises(RuntimeError, match="of 20 trials 20 were planned and 1 wait"):
        measure(folder, 20)


def test_a_run_can_go_on_in_a_folder_of_several_suites_of_networks(tmp_path: Path) -> None:
    trials = stored_trials(300)
    write_folder(tmp_path, trials)
    standing = Store(tmp_path).standing()
    assert standing.suite is not None
    assert [planned["trial_id"] for planned in standing.suite["trials"]] == [trial.trial_id for trial in trials]


@pytest.mark.slow
def test_a_size_is_measured_in_an_interpreter_of_its_own(folder: Path) -> None:
    costs = measure_alone(folder, 20)
    assert costs.trials == 20
    assert costs.report_s > 0


def test_every_size_is_measured_each_round_and_the_first_round_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def fake(folder: Path, size: int) -> Costs:
        assert len(load_results(folder).trials) == size
        measured.append(size)
        slow = 100.0 if len(measured) <= 3 else 1.0
        return replace(COSTS, trials=size, plan_s=slow)

    monkeypatch.setattr(growth, "SIZES", (5, 10, 20))
    monkeypatch.setattr(growth, "measure_alone", fake)
    time, *_ = growth.growth(SETTING)
    assert measured == [5, 10, 20] * 2
    assert (time.median, time.high, time.repeats) == (4.0, 4.0, 1)


def test_the_rows_compare_the_largest_size_with_the_next_and_appending_with_the_smallest() -> None:
    middle = replace(COSTS, trials=1_000, plan_s=2.0, resume_s=1.0, report_s=7.0, append_s=0.003)
    most = replace(COSTS, trials=10_000, plan_s=4.0, resume_s=10.0, report_s=36.0, append_s=0.002, report_mib=900.0)
    rows = {row.benchmark: row for row in rows_of([[COSTS, middle, most]] * 3)}
    assert list(rows) == [
        "growth / time",
        "growth / memory",
        *(f"growth / {phase} a trial" for phase in ("total", *PHASES)),
        "growth / append",
    ]
    assert {row.repeats for row in rows.values()} == {3}
    time, memory, total = (rows[f"growth / {name}"] for name in ("time", "memory", "total a trial"))
    assert (time.median, time.unit, time.target, time.met) == (50.0, "s", "< 20", False)
    assert time.subject.startswith("10,000 stored trials")
    assert "100 trials: total_s 4, plan_s 1, resume_s 0.5, report_s 2.5; 1,000 trials: total_s 10," in time.detail
    assert (memory.median, memory.unit, memory.target, memory.met) == (900.0, "MiB", "< 1024", True)
    assert total.median == pytest.approx((50 / 10_000) / (10 / 1_000))
    assert (total.target, total.detail) == ("< 1.5", "40 ms at 100, 10 ms at 1,000, 5 ms at 10,000")
    assert rows["growth / plan a trial"].median == pytest.approx(0.2)
    assert rows["growth / plan a trial"].target == ""
    assert rows["growth / append"].median == pytest.approx(2.0)
