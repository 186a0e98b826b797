from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import process_jobs
import pytest
from records import make_record
from tiny_folder import make_tiny_folder

from resbench.conduct import Conduct
from resbench.errors import StorageError
from resbench.executors import local
from resbench.executors.local import run_trials
from resbench.executors.process import Exit
from resbench.planning.plan import Plan, plan_suite
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
    assert crashed["error"] == "the process was killed by SIGKILL: out of patience"
    assert (crashed["exit_code"], crashed["signal"]) == (-signal.SIGKILL, "SIGKILL")
    assert (crashed["model"], crashed["source"] != "", crashed["dataset"]) == ("cnn", True, "tiny")
    assert (other["status"], other["seed"]) == ("diverged", 1)
    assert [kind for kind, _ in seen] == ["phase", "phase", "trial"] * 2
    assert len(list((tmp_path / "out" / "logs").iterdir())) == 2


def fake_process(messages: Messages, ended: Exit | BaseException) -> Any:
    """Stands in for run_in_processes: only the first process of a group says anything."""

    def run_it(tasks: Any, **options: Any) -> list[Exit]:
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
    start, event = store.events()
    assert (start["event"], start["trial"]) == ("start", plan.trials[0].to_dict() | {"trial_id": event["trial_id"]})
    assert (event["event"], event["status"], event["phase"]) == ("trial", "interrupted", "eval")
    assert event["error"] == "interrupted by the user"
    assert event["trial_id"] == plan.trials[0].trial_id


def test_an_interrupt_after_the_record_has_come_leaves_that_record(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = plan.trials[0]
    row = make_record(trial)
    monkeypatch.setattr(local, "run_in_processes", fake_process([("trial", row)], KeyboardInterrupt()))
    store = Store(tmp_path / "out", create=True)
    with pytest.raises(KeyboardInterrupt):
        run_trials([trial], plan.inputs, store, on_message=lambda trial, kind, data: None)
    assert store.standing().statuses == {trial.trial_id: "ok"}


def test_an_interrupt_while_the_record_is_written_does_not_turn_an_ended_trial_into_an_interrupted_one(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = plan.trials[0]
    store = Store(tmp_path / "out", create=True)
    append = store.append

    def append_under_interrupt(event: str, data: dict[str, Any]) -> None:
        append(event, data)
        if event == "trial":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(store, "append", append_under_interrupt)
    row = make_record(trial)
    monkeypatch.setattr(local, "run_in_processes", fake_process([("trial", row)], Exit(0, "")))
    with pytest.raises(KeyboardInterrupt):
        run_trials([trial], plan.inputs, store, on_message=lambda trial, kind, data: None)
    assert store.standing().statuses == {trial.trial_id: "ok"}


def test_a_process_that_dies_after_its_record_has_come_leaves_that_record(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = plan.trials[0]
    row = make_record(trial)
    monkeypatch.setattr(local, "run_in_processes", fake_process([("trial", row)], Exit(-11, "")))
    store = Store(tmp_path / "out", create=True)
    run_trials([trial], plan.inputs, store, on_message=lambda trial, kind, data: None)
    assert store.standing().statuses == {trial.trial_id: "ok"}


@pytest.mark.usefixtures("warm_trials")
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
    facts = {"device_name": "a processor", "torch": "2.11.0", "started_at": "2030-01-02T03:04:05+00:00"}
    profile = {"trial_id": trial.trial_id, "macs": 123, "train_images_per_second": None}
    epoch = {"trial_id": trial.trial_id, "steps": 4, "test_accuracy": 0.5, "train_images_per_second": 9.0}
    messages: Messages = [("facts", facts), ("profile", profile), ("phase", {"phase": "train"}), ("epoch", epoch)]
    monkeypatch.setattr(local, "run_in_processes", fake_process(messages, Exit(-9, "")))
    store = Store(tmp_path / "out", create=True)
    run_trials([trial], plan.inputs, store, on_message=lambda trial, kind, data: None)
    row = store.events()[-1]
    assert (row["status"], row["macs"], row["device_name"], row["steps"]) == ("crashed", 123, "a processor", 4)
    assert (row["test_accuracy"], row["train_images_per_second"]) == (0.5, None)
    assert (row["torch"], row["started_at"]) == ("2.11.0", "2030-01-02T03:04:05+00:00")
    assert (row["exit_code"], row["signal"]) == (-9, "SIGKILL")


@pytest.mark.parametrize(
    ("ended", "status", "error", "name"),
    [
        (Exit(-15, "", 90.0), "timeout", "it took longer than its limit of 90 s and was ended", "SIGTERM"),
        (Exit(-9, "", None, True), "oom", "the system ran out of memory and killed the process", "SIGKILL"),
        (Exit(-11, ""), "crashed", "the process was killed by SIGSEGV", "SIGSEGV"),
        (Exit(3, "why"), "crashed", "the process ended with exit code 3: why", None),
    ],
)
def test_how_a_process_ended_is_a_status(
    ended: Exit, status: str, error: str, name: str | None, tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "run_in_processes", fake_process([("phase", {"phase": "train"})], ended))
    store = Store(tmp_path / "out", create=True)
    run_trials(plan.trials[:1], plan.inputs, store)
    row = store.events()[-1]
    assert (row["status"], row["phase"], row["error"]) == (status, "train", error)
    assert (row["exit_code"], row["signal"]) == (ended.code, name)


def test_a_trial_that_runs_out_of_memory_is_run_again_in_halves_where_that_is_asked_for(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, asked, told = plan.trials[0], [], []

    def run_it(tasks: Any, **options: Any) -> list[Exit]:
        (task,) = tasks
        micro = task.arguments[2].micro_batch_size
        asked.append(micro)
        if len(asked) == 2:  # the kernel kills it: it does not get to say so
            return [Exit(-9, "", None, True)]
        status = "ok" if micro and micro <= 2 else "oom"
        task.on_message("trial", {"trial_id": trial.trial_id, "status": status, "micro_batch_size": micro})
        return [Exit(0, "")]

    monkeypatch.setattr(local, "run_in_processes", run_it)
    store = Store(tmp_path / "out", create=True)
    conduct = Conduct(accumulate=True)
    run_trials(
        [trial], plan.inputs, store, conduct=conduct, on_message=lambda trial, kind, data: told.append((kind, data))
    )
    assert asked == [None, 4, 2]  # of 8
    rows = [event for event in store.events() if event["event"] == "trial"]
    assert [(row["status"], row["micro_batch_size"]) for row in rows] == [("ok", 2)]
    notices = [data["text"] for kind, data in told if kind == "notice"]
    assert notices[0] == "out of memory with 8 images at once: trying 4, gradients added up"


def test_a_trial_that_runs_out_of_memory_with_one_image_is_recorded(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def run_it(tasks: Any, **options: Any) -> list[Exit]:
        asked.append(tasks[0].arguments[2].micro_batch_size)
        return [Exit(-9, "", None, True)]

    monkeypatch.setattr(local, "run_in_processes", run_it)
    store = Store(tmp_path / "out", create=True)
    run_trials(plan.trials[:1], plan.inputs, store, conduct=Conduct(accumulate=True))
    row = store.events()[-1]
    assert asked == [None, 4, 2, 1]
    assert (row["status"], row["micro_batch_size"]) == ("oom", 1)


def test_a_limit_of_memory_and_of_time_reach_the_process(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def run_it(tasks: Any, **options: Any) -> list[Exit]:
        seen.extend(tasks)
        return [Exit(0, "")]

    monkeypatch.setattr(local, "run_in_processes", run_it)
    store = Store(tmp_path / "out", create=True)
    run_trials(plan.trials[:1], plan.inputs, store, conduct=Conduct(trial_timeout_s=60.0, memory_limit_mib=900))
    run_trials(plan.trials[:1], plan.inputs, store)
    assert (seen[0].limit_s, seen[0].memory_limit_mib) == (60.0, 900)
    assert seen[1].limit_s is None
    assert seen[1].memory_limit_mib > 0  # on a processor: what there is


def test_a_log_that_cannot_be_written_ends_the_run(tmp_path: Path, plan: Plan) -> None:
    store = Store(tmp_path / "out", create=True)
    (tmp_path / "out" / "logs").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot write to .*logs"):
        run_trials(plan.trials[:1], plan.inputs, store)
