from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_folder import make_tiny_folder

from resbench.cli.suites import run_and_report
from resbench.executors.deadline import Deadline
from resbench.planning.plan import Plan, plan_suite
from resbench.schema import Trial
from resbench.store import Store, planned_record
from resbench.suite import make_suite


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    data = {"name": "tiny", "models": ["cnn", "resnet34"], "dataset": f"folder:{make_tiny_folder(tmp_path / 'images')}"}
    return plan_suite(
        make_suite(
            {**data, "seeds": 2, "budget": "1ep", "batch_size": 8}, device="cpu", precision="fp32", calibrate=False
        )
    )


def test_a_run_reads_its_records_once_before_and_once_after_however_many_trials_there_are(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, ran = [], []
    read = Store._numbered

    def record_all(trials: list[Trial], inputs: Any, store: Store, **options: Any) -> None:
        for trial in trials:
            record = replace(planned_record(trial), status="ok", test_accuracy=0.5)
            store.append("trial", record.to_dict())
            ran.append(trial)

    def counted(store: Store) -> Iterator[tuple[int, dict[str, Any]]]:
        reads.append(store)
        return read(store)

    monkeypatch.setattr("resbench.run.run_trials", record_all)
    monkeypatch.setattr(Store, "_numbered", counted)
    folder = tmp_path / "out"
    assert run_and_report(plan, folder) == 0
    assert (len(ran), len(reads)) == (4, 2)
    assert run_and_report(plan, folder) == 0
    assert (len(ran), len(reads)) == (4, 4)
    assert "4 of 4 planned trials ended ok" in (folder / "README.md").read_text()


def test_a_run_that_is_stopped_in_time_reports_what_ended_and_says_what_is_left(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deadline = Deadline(3600, "1h")

    def record_one(trials: list[Trial], inputs: Any, store: Store, *, deadline: Deadline, **options: Any) -> None:
        store.append("trial", replace(planned_record(trials[0]), status="ok", test_accuracy=0.5).to_dict())
        store.append("trial", replace(planned_record(trials[1]), status="crashed", error="it broke").to_dict())
        store.append("trial", replace(planned_record(trials[2]), status="interrupted").to_dict())
        raise deadline.error()

    monkeypatch.setattr("resbench.run.run_trials", record_one)
    folder = tmp_path / "out"
    assert run_and_report(plan, folder, deadline=deadline) == 3
    told = capsys.readouterr().err
    assert "stopped: by --stop-after 1h, with 2 of 4 planned trials left (1 cut short, 1 not begun)." in told
    assert "1 of 4 planned trials did not end well (1 crashed;" in told
    assert "1 of 4 planned trials ended ok" in (folder / "README.md").read_text()


def test_nothing_is_begun_when_the_time_is_over(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*anything: Any, **options: Any) -> None:
        raise AssertionError("trials were run")

    monkeypatch.setattr("resbench.run.run_trials", refuse)
    assert run_and_report(plan, tmp_path / "out", deadline=Deadline(0, "1s")) == 4
    assert f"no time is left: 4 trials of {tmp_path / 'out'} not begun." in capsys.readouterr().err
