from __future__ import annotations

import fcntl
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import process_jobs
import psutil
import pytest
from fake_cluster import make_trials

from resbench.conduct import Attempt
from resbench.executors.process import Exit
from resbench.executors.ray_cluster import worker
from resbench.executors.ray_cluster.messages import Message, Work
from resbench.executors.ray_cluster.worker import Batch, run_work
from resbench.locks import host_name


def work_of(folder: Path, job: Any, *arguments: Any, **details: Any) -> Work:
    return Work(job, arguments, "name", folder, "cpu", **details)


def run(work: Work) -> tuple[list[Message], bytes, Exit]:
    """Runs a job to its end; returns what it said, what it printed, and how it ended."""
    first, *batches = run_work(work)
    assert first == Batch()
    assert all(batch.exit is None for batch in batches[:-1])
    ended = batches[-1].exit
    assert ended is not None
    return [said for batch in batches for said in batch.messages], b"".join(batch.log for batch in batches), ended


def test_everything_a_job_says_and_prints_arrives_in_order_and_its_end_last(tmp_path: Path) -> None:
    said, _, ended = run(work_of(tmp_path, process_jobs.emit_numbers, 2000))
    assert [data["number"] for _, data in said] == list(range(2000))
    assert ended.code == 0


def test_a_job_that_dies_says_how_and_leaves_its_last_words(tmp_path: Path) -> None:
    said, log, ended = run(work_of(tmp_path, process_jobs.kill_itself, int(signal.SIGKILL)))
    assert said == [("phase", {"phase": "train"})]
    assert str(ended) == "the process was killed by SIGKILL: last words"
    assert log.endswith(b"last words\n")
    assert not [*(tmp_path / "logs").iterdir()]  # the driver has it


def test_a_job_that_is_silent_gives_signs_of_life_and_is_ended_when_it_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SIGN_OF_LIFE_S", 0.05)
    batches = [*run_work(work_of(tmp_path, process_jobs.hang_with_a_child, False, limit_s=0.8))]
    assert sum(batch == Batch() for batch in batches) > 2
    assert batches[-1].exit is not None
    assert batches[-1].exit.timed_out_after_s == 0.8
    assert [kind for batch in batches for kind, _ in batch.messages] == ["child"]


def test_all_gpus_of_a_job_are_held_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")  # as Ray gives them
    held: list[str] = []

    def look(*_: Any, **__: Any) -> Exit:
        for path in (tmp_path / "locks" / host_name()).iterdir():
            with path.open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.append(path.stem)
        return Exit(0, "")

    monkeypatch.setattr(worker, "run_in_process", look)
    *_, ended = run(replace(work_of(tmp_path, process_jobs.emit_numbers, 1), device="cuda", devices=2))
    assert ended.code == 0
    assert sorted(held) == ["cuda-1", "cuda-3"]


def test_a_job_on_several_devices_may_start_processes(tmp_path: Path) -> None:
    said, _, ended = run(work_of(tmp_path, process_jobs.have_a_child, devices=2))
    assert (said, ended.code) == ([("child", {"exit_code": 0})], 0)


def test_a_log_without_end_does_not_fill_the_drivers_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MOST_LOG", 40)
    log = worker._Log(tmp_path / "log")
    log.path.write_bytes(b"x" * 30)
    first = log.more()
    with log.path.open("ab") as file:
        file.write(b"y" * 30)
    rest = [log.more(), log.more()]
    assert first == b"x" * 30
    assert rest == [b"y" * 10 + b"\n[the rest stayed on its node]\n", b""]


def test_what_has_ended_leaves_no_checkpoint_on_its_node(tmp_path: Path) -> None:
    (trial,) = make_trials(1)
    checkpoint = tmp_path / "checkpoint.pt"
    attempt = Attempt(checkpoint=checkpoint)
    trial = replace(trial, recipe=str(tmp_path / "no gate"))
    work = work_of(tmp_path, process_jobs.trial_behind_a_gate, trial, None, attempt, checkpoint=checkpoint)
    said, _, _ = run(work)
    assert [kind for kind, _ in said] == ["pid", "trial"]
    assert not checkpoint.exists()


@pytest.mark.parametrize(
    ("threads", "node", "seen"), [(3, "7", "3"), (None, "7", "7"), (None, None, None)], ids=["asked", "node", "torch's"]
)
def test_threads_are_those_asked_for_or_the_nodes_own_whatever_ray_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int | None, node: str | None, seen: str | None
) -> None:
    environment = {} if node is None else {"OMP_NUM_THREADS": node}
    monkeypatch.setattr(psutil.Process, "environ", lambda self: environment)
    monkeypatch.setenv("OMP_NUM_THREADS", "99")  # as Ray does
    (trial,) = make_trials(1)
    trial = replace(trial, recipe=str(tmp_path / "no gate"))
    said, _, _ = run(work_of(tmp_path, process_jobs.trial_behind_a_gate, trial, None, Attempt(), threads=threads))
    assert said[0][1]["threads"] == seen
    assert said[0][1]["parent"] == os.getpid()


def test_a_log_that_cannot_be_written_is_the_generators_error(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    generator = run_work(work_of(tmp_path, process_jobs.emit_numbers, 1))
    next(generator)
    with pytest.raises(OSError, match="logs"):
        next(generator)
