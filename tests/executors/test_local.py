from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import process_jobs
import pytest
from tiny_folder import make_tiny_folder

from resbench.executors import local
from resbench.executors.local import run_trials
from resbench.executors.process import Exit
from resbench.plan import Plan, plan_suite
from resbench.store import Store, load_results
from resbench.suite import make_suite

Messages = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    folder = make_tiny_folder(tmp_path / "tiny")
    data = {"name": "x", "models": ["cnn"], "dataset": f"folder:{folder}", "seeds": 2, "batch_size": 8}
    return plan_suite(make_suite(data, device="cpu"))


def test_a_trial_whose_process_dies_leaves_a_crashed_row_and_the_next_runs(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "trial_job", process_jobs.die_in_training)
    store = Store(tmp_path / "out", create=True)
    seen: Messages = []
    run_trials(plan.trials, plan.inputs, store, on_message=lambda trial, kind, data: seen.append((kind, data)))
    crashed, other = load_results(tmp_path / "out").trials.to_dict("records")
    assert (crashed["status"], crashed["phase"]) == ("crashed", "train")
    assert crashed["error"] == "the process was killed by SIGKILL (out of memory?): out of patience"
    assert (crashed["model"], crashed["source"] != "", crashed["dataset"]) == ("cnn", True, "tiny")
    assert (other["status"], other["seed"]) == ("diverged", 1)
    assert [kind for kind, _ in seen] == ["phase", "phase", "trial"] * 2
    assert len(list((tmp_path / "out" / "logs").iterdir())) == 2


def fake_process(messages: Messages, ended: Exit | BaseException) -> Any:
    """Stands in for run_in_processes: only the first process of a group says anything."""

    def run_it(tasks: Any) -> list[Exit]:
        for kind, data in messages:
            tasks[0].on_message(kind, data)
        if isinstance(ended, BaseException):
            raise ended
        return [ended] * len(tasks)

    return run_it


def test_an_interrupt_records_the_trial_in_flight_and_no_other_begins(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "run_in_processes", fake_process([("phase", {"phase": "eval"})], KeyboardInterrupt()))
    store = Store(tmp_path / "out", create=True)
    with pytest.raises(KeyboardInterrupt):
        run_trials(plan.trials, plan.inputs, store, on_message=lambda trial, kind, data: None)
    (event,) = store.events()
    assert (event["event"], event["status"], event["phase"]) == ("trial", "interrupted", "eval")
    assert event["trial_id"] == plan.trials[0].trial_id


def test_an_interrupt_after_the_record_has_come_leaves_that_record(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = plan.trials[0]
    row = {"trial_id": trial.trial_id, "status": "ok"}
    monkeypatch.setattr(local, "run_in_processes", fake_process([("trial", row)], KeyboardInterrupt()))
    store = Store(tmp_path / "out", create=True)
    with pytest.raises(KeyboardInterrupt):
        run_trials([trial], plan.inputs, store, on_message=lambda trial, kind, data: None)
    assert store.finished() == {trial.trial_id}


def test_an_interrupt_while_the_record_is_written_does_not_turn_an_ended_trial_into_an_interrupted_one(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = plan.trials[0]
    store = Store(tmp_path / "out", create=True)
    append = store.append

    def append_under_interrupt(event: str, data: dict[str, Any]) -> None:
        append(event, data)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(store, "append", append_under_interrupt)
    row = {"trial_id": trial.trial_id, "status": "ok"}
    monkeypatch.setattr(local, "run_in_processes", fake_process([("trial", row)], Exit(0, "")))
    with pytest.raises(KeyboardInterrupt):
        run_trials([trial], plan.inputs, store, on_message=lambda trial, kind, data: None)
    assert store.finished() == {trial.trial_id}


def test_a_process_that_dies_after_its_record_has_come_leaves_that_record(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = plan.trials[0]
    row = {"trial_id": trial.trial_id, "status": "ok"}
    monkeypatch.setattr(local, "run_in_processes", fake_process([("trial", row)], Exit(-11, "")))
    store = Store(tmp_path / "out", create=True)
    run_trials([trial], plan.inputs, store, on_message=lambda trial, kind, data: None)
    assert store.finished() == {trial.trial_id}


def test_a_trial_that_is_refused_in_its_process_is_not_run_and_says_why(tmp_path: Path, plan: Plan) -> None:
    trial = replace(plan.trials[0], dataset_fingerprint="0" * 64)
    store = Store(tmp_path / "out", create=True)
    run_trials([trial], plan.inputs, store, on_message=lambda trial, kind, data: None)
    (event,) = [event for event in store.events() if event["event"] == "trial"]
    assert (event["status"], event["phase"]) == ("not_run", "data")
    assert "has changed since this trial was planned" in event["error"]


def test_the_row_of_a_trial_that_dies_holds_what_its_profile_and_epochs_told(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = plan.trials[0]
    profile = {"trial_id": trial.trial_id, "macs": 123, "device_name": "a processor", "train_images_per_second": None}
    epoch = {"trial_id": trial.trial_id, "steps": 4, "test_accuracy": 0.5, "train_images_per_second": 9.0}
    messages: Messages = [("profile", profile), ("phase", {"phase": "train"}), ("epoch", epoch)]
    monkeypatch.setattr(local, "run_in_processes", fake_process(messages, Exit(-9, "")))
    store = Store(tmp_path / "out", create=True)
    run_trials([trial], plan.inputs, store, on_message=lambda trial, kind, data: None)
    row = store.events()[-1]
    assert (row["status"], row["macs"], row["device_name"], row["steps"]) == ("crashed", 123, "a processor", 4)
    assert (row["test_accuracy"], row["train_images_per_second"]) == (0.5, None)
    assert row["started_at"] is not None
