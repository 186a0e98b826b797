"""One trial in two processes, from its plan to its row, and what becomes of it where one of them dies."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import rank_jobs
from small_trials import run
from tiny_folder import make_tiny_folder
from user_code import forgetting, write
from warm_processes import warm_processes

from resbench.conduct import Attempt
from resbench.executors import local, ranks
from resbench.executors.local import run_trials
from resbench.planning.plan import Plan, plan_suite
from resbench.run import run_plan
from resbench.store import Results, Store, load_results
from resbench.suite import make_suite

Messages = list[tuple[str, dict[str, Any]]]
BATCH, EPOCHS, STEPS = 32, 3, 15


def plan_two(dataset: str, **changes: Any) -> Plan:
    data = {"name": "x", "models": ["cnn"], "dataset": dataset, "budget": f"{EPOCHS}ep"}
    return plan_suite(make_suite(data, device="cpu", precision="fp32", devices=2, calibrate=False, **changes))


BY_RANK = """
import os

@resbench.register_model("by_rank", source="mine")
def by_rank(*, num_classes=10, in_channels=3, stem="source", input_size=None):
    net = resbench.create_model("cnn", num_classes=num_classes, in_channels=in_channels, input_size=input_size)
    for parameter in net.parameters():
        parameter.data *= 1 + int(os.environ.get("RANK", "0"))
    return net
"""
"""A network whose every rank draws other weights, as one does that draws them by other means than torch's."""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plan, Results, Messages]]:
    """A suite of one trial on two devices, run as ``bench`` runs it."""
    folder = tmp_path_factory.mktemp("two")
    nets = str(write(folder / "rank_nets.py", BY_RANK))
    messages: Messages = []
    with forgetting(), warm_processes():
        plan = plan_two(
            "shapes10", models=["by_rank"], imports=[nets], train_images=160, test_images=80, batch_size=BATCH,
            input="3x8x8",
        )  # fmt: skip
        results, before = run_plan(
            plan, folder / "out", on_message=lambda trial, kind, data: messages.append((kind, data))
        )
        assert before == []
        yield plan, results, messages


class TestOneTrialOnTwoDevices:
    def test_leaves_one_row(self, two: tuple[Plan, Results, Messages]) -> None:
        plan, results, messages = two
        (row,) = results.trials.to_dict("records")
        assert (row["trial_id"], row["status"], row["phase"]) == (plan.trials[0].trial_id, "ok", "done")
        assert (row["devices"], row["batch_size"], row["micro_batch_size"]) == (2, BATCH, BATCH)
        assert (row["steps"], row["images_seen"], row["cpu_threads"]) == (STEPS, STEPS * BATCH, 1)
        assert [data for kind, data in messages if kind == "notice"] == []
        (profile,) = results.profile.to_dict("records")
        assert profile["batch_size"] == BATCH // 2  # what one device passes through the network at once

    def test_every_message_comes_once(self, two: tuple[Plan, Results, Messages]) -> None:
        _, _, messages = two
        kinds = [kind for kind, _ in messages]
        assert {kind: kinds.count(kind) for kind in ("profile", "training", "epoch", "hits", "trial")} == {
            **dict.fromkeys(("profile", "training", "hits", "trial"), 1),
            "epoch": EPOCHS,
        }
        assert kinds[-1] == "trial"
        phases = [data["phase"] for kind, data in messages if kind == "phase"]
        assert phases == ["data", "build", "profile", "build", "warm-up", *["train", "eval"] * EPOCHS]

    @pytest.mark.usefixtures("brief_timing")
    def test_has_the_curve_of_one_device(self, two: tuple[Plan, Results, Messages]) -> None:
        # So every rank began with the weights of the first.
        plan, _, messages = two
        trial = replace(plan.trials[0], engine=replace(plan.trials[0].engine, devices=1))
        assert trial.trial_id != plan.trials[0].trial_id
        record, events = run((trial, plan.inputs), Attempt())
        columns = ("epoch", "steps", "images_seen", "learning_rate", "train_loss", "train_accuracy", "test_loss")
        curves = [
            [data[column] for kind, data in of if kind == "epoch" for column in (*columns, "test_accuracy")]
            for of in (messages, events)
        ]
        assert len(curves[0]) == EPOCHS * 8
        assert len(set(curves[0][4::8])) == EPOCHS  # the training loss moves
        assert curves[0] == pytest.approx(curves[1], rel=1e-5)
        row = next(data for kind, data in messages if kind == "trial")
        assert row["test_accuracy"] == record.test_accuracy
        assert [data["bits"] for kind, data in messages if kind == "hits"] == [
            data["bits"] for kind, data in events if kind == "hits"
        ]
        for same in ("params", "macs", "train_flops_per_image", "train_flops_spent"):
            assert row[same] == getattr(record, same)


@pytest.mark.usefixtures("warm_trials")
def test_a_killed_rank_ends_all_and_is_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "trial_job", rank_jobs.with_a_killed_rank)
    plan = plan_two(f"folder:{make_tiny_folder(tmp_path / 'tiny')}", batch_size=8)
    out = tmp_path / "out"
    run_trials(plan.trials, plan.inputs, Store(out, create=True))
    (row,) = load_results(out).trials.to_dict("records")
    assert (row["status"], row["phase"], row["devices"]) == ("crashed", "train", 2)
    assert (row["exit_code"], row["signal"]) == (-signal.SIGKILL, "SIGKILL")
    assert row["error"] == "the process was killed by SIGKILL: one of 2 ranks; the others were ended"
    pids = [int((out / f"rank-{rank}").read_text()) for rank in range(2)]
    assert not any(map(psutil.pid_exists, pids))


class TestHowTheyEnd:
    """What is made of what two ranks have said when one has failed."""

    @pytest.fixture
    def emitted(self) -> Messages:
        return []

    def end(self, emitted: Messages, **heard: Any) -> None:
        said: Any = ranks._Heard([], lambda kind, data: None)
        for name, value in heard.items():
            setattr(said, name, value)
        ranks._end_as_they_did(said, "torchrun's word", 2, lambda kind, data: emitted.append((kind, data)))

    def test_the_row_is_the_first_ones_with_the_cause_of_the_rank_that_failed_first(self, emitted: Messages) -> None:
        rows = {
            0: {"status": "crashed", "error": "connection closed by peer", "params": 7},
            1: {"status": "oom", "error": "no memory", "params": None},
        }
        self.end(emitted, rows=rows, _ended_at_s={0: 2.0, 1: 1.0})
        assert emitted == [("trial", {"status": "oom", "error": "rank 1 of 2: no memory", "params": 7})]

    def test_a_failure_of_the_first_rank_is_its_own(self, emitted: Messages) -> None:
        rows = {0: {"status": "oom", "error": "no memory"}, 1: {"status": "crashed", "error": "closed"}}
        self.end(emitted, rows=rows, _ended_at_s={0: 1.0, 1: 2.0})
        assert emitted == [("trial", {"status": "oom", "error": "no memory"})]

    def test_where_one_has_no_memory_left_that_is_what_killed_another(self, emitted: Messages) -> None:
        killed = SimpleNamespace(exitcode=-signal.SIGSEGV)
        rows = {1: {"status": "oom", "error": "no memory"}}
        self.end(emitted, rows=rows, _ended_at_s={1: 1.0}, processes=[killed])
        assert emitted == [("trial", {"status": "oom", "error": "rank 1 of 2: no memory"})]

    def test_the_row_of_another_rank_does_where_the_first_has_sent_none(self, emitted: Messages) -> None:
        self.end(emitted, rows={1: {"status": "oom", "error": "no memory"}}, _ended_at_s={1: 1.0})
        assert emitted == [("trial", {"status": "oom", "error": "rank 1 of 2: no memory"})]

    def test_what_a_rank_raised_before_it_had_a_row_is_raised(self, emitted: Messages) -> None:
        rows = {0: {"status": "crashed", "error": "connection closed by peer"}}
        with pytest.raises(RuntimeError, match="rank 1 of 2: ValueError: no"):
            self.end(emitted, errors={1: "ValueError: no"}, rows=rows, _ended_at_s={1: 1.0, 0: 1.5})
        assert emitted == []

    def test_torchrun_is_believed_where_no_rank_has_said_a_word(self, emitted: Messages) -> None:
        with pytest.raises(RuntimeError, match="torchrun's word"):
            self.end(emitted)
