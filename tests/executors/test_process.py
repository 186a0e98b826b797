from __future__ import annotations

import gc
import os
import signal
from pathlib import Path
from typing import Any

import process_jobs
import psutil
import pytest

from resbench.executors import process
from resbench.executors.process import Exit, deferring_interrupts, ignoring_interrupts, run_in_process

Messages = list[tuple[str, dict[str, Any]]]


def run(job: Any, *arguments: Any, folder: Path) -> tuple[Exit, Messages]:
    """Runs a job and returns how it ended and every message, and checks that nothing is left of it."""
    messages: Messages = []
    processes, descriptors = own_children(), open_descriptors()
    ended = run_in_process(
        job, arguments, log=folder / "logs" / "log", on_message=lambda *message: messages.append(message)
    )
    assert own_children() == processes
    assert open_descriptors() <= descriptors
    return ended, messages


def own_children() -> set[int]:
    """The process ids of this process's children, those that have ended and were not waited for too."""
    return {child.pid for child in psutil.Process().children() if "resource_tracker" not in " ".join(child.cmdline())}


def open_descriptors() -> int:
    gc.collect()
    return psutil.Process().num_fds()


@pytest.fixture(autouse=True)
def _buffered_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the children Python's own way of writing, whatever this process was started with."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


@pytest.fixture(scope="module", autouse=True)
def _resource_tracker() -> None:
    """Starts what multiprocessing keeps for the whole session, so that it is not counted as a leak."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()


def test_every_message_of_a_burst_arrives_in_order(tmp_path: Path) -> None:
    ended, messages = run(process_jobs.emit_numbers, 10_000, folder=tmp_path)
    assert [data["number"] for _, data in messages] == list(range(10_000))
    assert ended == Exit(0, "")


def test_a_job_that_raises_says_so_with_the_error_and_keeps_the_trace(tmp_path: Path) -> None:
    ended, messages = run(process_jobs.fail, folder=tmp_path)
    assert ended == Exit(1, "ValueError: the reason")
    assert str(ended) == "the process ended with exit code 1: ValueError: the reason"
    assert messages == [("phase", {"phase": "train"})]
    assert "Traceback" in (tmp_path / "logs" / "log").read_text()


def test_a_job_that_leaves_at_once_keeps_what_it_said(tmp_path: Path) -> None:
    ended, messages = run(process_jobs.leave, folder=tmp_path)
    assert ended == Exit(7, "last words")
    assert messages == [("phase", {"phase": "train"})]


@pytest.mark.parametrize(("number", "hint"), [(signal.SIGSEGV, ""), (signal.SIGKILL, " (out of memory?)")])
def test_a_job_that_a_signal_kills_keeps_what_it_said(tmp_path: Path, number: signal.Signals, hint: str) -> None:
    ended, messages = run(process_jobs.kill_itself, number, folder=tmp_path)
    assert ended == Exit(-number, "last words")
    assert str(ended) == f"the process was killed by {number.name}{hint}: last words"
    assert messages == [("phase", {"phase": "train"})]
    if number == signal.SIGSEGV:
        assert "kill_itself" in (tmp_path / "logs" / "log").read_text()


def test_a_message_that_death_cuts_short_is_dropped_and_those_before_it_are_kept(tmp_path: Path) -> None:
    slow: Messages = []

    def take_long(kind: str, data: dict[str, Any]) -> None:
        if not slow:  # the job fills the pipe meanwhile and dies of its alarm
            (pid,) = own_children()
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        slow.append((kind, data))

    ended = run_in_process(process_jobs.die_inside_a_message, (), log=tmp_path / "log", on_message=take_long)
    assert ended.code == -signal.SIGALRM
    assert slow == [("phase", {"phase": "train"})]


def test_a_process_that_outlives_its_job_and_holds_the_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    ended, messages = run(process_jobs.leave_a_child, folder=tmp_path)
    ((kind, data),) = messages
    os.kill(data["pid"], signal.SIGKILL)  # it was still there, and is the test's to end
    assert (kind, ended.code) == ("child", 5)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, EOFError, OSError])
def test_an_error_while_a_message_is_handled_ends_even_a_deaf_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr(process, "_GRACE_S", 0.01)
    pids = []

    def refuse(kind: str, data: dict[str, Any]) -> None:
        pids.append(data["pid"])
        raise error("while handling")

    with pytest.raises(error, match="while handling"):
        run_in_process(process_jobs.never_end, (), log=tmp_path / "log", on_message=refuse)
    assert not psutil.pid_exists(pids[0])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Exit(0, ""), "the process ended with exit code 0"),
        (Exit(-signal.SIGTERM, ""), "the process was killed by SIGTERM"),
        (Exit(-50, "x"), "the process was killed by signal 50: x"),
    ],
)
def test_an_exit_is_said_in_words(ended: Exit, words: str) -> None:
    assert str(ended) == words


@pytest.mark.parametrize("inside", [ignoring_interrupts, deferring_interrupts])
def test_an_interrupt_inside_is_ignored_or_comes_at_the_end(inside: Any) -> None:
    reached = False

    def work() -> None:
        nonlocal reached
        with inside():
            os.kill(os.getpid(), signal.SIGINT)
            reached = True

    if inside is deferring_interrupts:
        with pytest.raises(KeyboardInterrupt):
            work()
    else:
        work()
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
