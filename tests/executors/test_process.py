from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import process_jobs
import psutil
import pytest

from resbench.executors import child, process
from resbench.executors.interrupts import (
    InterruptedBySignal,
    deferring_interrupts,
    ignoring_interrupts,
    interruptible,
)
from resbench.executors.process import Exit, run_in_process

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
    servers = ("resource_tracker", "forkserver")  # Python's own, and the one that other tests' trials are forked from
    return {
        child.pid
        for child in psutil.Process().children()
        if not any(server in " ".join(child.cmdline()) for server in servers)
    }


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


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_job_that_a_signal_kills_keeps_what_it_said(tmp_path: Path, number: signal.Signals) -> None:
    ended, messages = run(process_jobs.kill_itself, number, folder=tmp_path)
    assert ended == Exit(-number, "last words")
    assert ended.signal == number.name
    assert str(ended) == f"the process was killed by {number.name}: last words"
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


def is_gone(pid: int) -> bool:
    """Waits for a process of somebody else's to end; what is only not yet buried is gone."""
    try:
        other = psutil.Process(pid)
        if other.status() != psutil.STATUS_ZOMBIE:
            other.wait(30)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def test_a_process_that_outlives_its_job_and_holds_the_pipe_keeps_nobody_waiting_and_is_ended(tmp_path: Path) -> None:
    ended, messages = run(process_jobs.leave_a_child, folder=tmp_path)
    ((kind, data),) = messages
    assert (kind, ended.code) == ("child", 5)
    assert is_gone(data["pid"])


@pytest.mark.parametrize("own_group", [False, True])
def test_a_job_that_takes_too_long_is_ended_with_what_it_has_started(tmp_path: Path, own_group: bool) -> None:
    seen: Messages = []
    ended = run_in_process(
        process_jobs.hang_with_a_child,
        (own_group,),
        log=tmp_path / "log",
        on_message=lambda *message: seen.append(message),
        limit_s=2.0,
    )
    assert ended.timed_out_after_s == 2.0
    assert str(ended) == "it took longer than its limit of 2 s and was ended"
    assert ended.code == -signal.SIGTERM
    assert is_gone(seen[0][1]["pid"])


def test_a_job_that_takes_too_long_and_is_deaf_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_GRACE_S", 0.1)
    ended = run_in_process(
        process_jobs.never_end, (), log=tmp_path / "log", on_message=lambda kind, data: None, limit_s=2.0
    )
    assert (ended.code, ended.timed_out_after_s) == (-signal.SIGKILL, 2.0)
    assert not ended.out_of_memory


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_job_gets_no_more_memory_than_it_may_have(tmp_path: Path) -> None:
    seen: Messages = []
    ended = run_in_process(
        process_jobs.allocate_without_end,
        (),
        log=tmp_path / "log",
        on_message=lambda *message: seen.append(message),
        memory_limit_mib=200,
    )
    assert ended == Exit(1, "MemoryError")
    ((_, data),) = seen
    assert 100 <= data["mib"] <= 200


def test_a_kill_by_the_kernel_for_want_of_memory_is_told_from_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = iter([4, 5])
    monkeypatch.setattr(process, "out_of_memory_kills", lambda: next(kills))
    ended, _ = run(process_jobs.kill_itself, signal.SIGKILL, folder=tmp_path)
    assert ended.out_of_memory
    assert str(ended) == "the system ran out of memory and killed the process: last words"


def test_the_kernels_count_of_such_kills_is_read() -> None:
    assert child.out_of_memory_kills() >= 0
    if Path("/proc/vmstat").exists():
        assert "oom_kill" in Path("/proc/vmstat").read_text()


def test_memory_that_is_available_is_no_more_than_the_machine_has() -> None:
    assert 0 < child.available_memory_mib() <= psutil.virtual_memory().total / 2**20


def test_a_process_dies_with_its_parent_though_it_is_deaf_and_silent(tmp_path: Path) -> None:
    script = (
        "import process_jobs\nfrom pathlib import Path\nfrom resbench.executors.process import run_in_process\n"
        f"run_in_process(process_jobs.never_end, (), log=Path({str(tmp_path / 'log')!r}), "
        "on_message=lambda kind, data: print(data['pid'], flush=True))"
    )
    folders = os.pathsep.join(map(str, (Path(process_jobs.__file__).parent, *sys.path)))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": folders}
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert is_gone(pid)


def test_the_parent_sleeps_while_a_job_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def counted(things: Any, timeout: float) -> Any:
        looks.append(timeout)
        return wait(things, timeout)

    wait = process.wait
    monkeypatch.setattr(process, "wait", counted)
    monkeypatch.setattr(process, "_GRACE_S", 0.1)
    run_in_process(process_jobs.never_end, (), log=tmp_path / "log", on_message=lambda kind, data: None, limit_s=2.5)
    assert len(looks) < 12  # a look a second, and one for each message
    assert max(looks) == process._LOOK_AGAIN_S


def test_a_log_holds_every_attempt_and_the_last_line_is_of_the_last(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run_in_process(process_jobs.leave, (), log=log, on_message=lambda kind, data: None)
    ended = run_in_process(process_jobs.emit_numbers, (1,), log=log, on_message=lambda kind, data: None)
    assert ended == Exit(0, "")
    assert log.read_text().count(child.ATTEMPT) == 2
    assert "last words" in log.read_text()


def test_a_log_that_cannot_be_written_is_an_error_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        run_in_process(
            process_jobs.leave, (), log=tmp_path / "gone" / "logs" / "log", on_message=lambda kind, data: None
        )
    assert [*tmp_path.iterdir()] == []


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
        (Exit(-signal.SIGTERM, "x", 90.5), "it took longer than its limit of 90.5 s and was ended: x"),
        (Exit(-50, "x"), "the process was killed by signal 50: x"),
    ],
)
def test_an_exit_is_said_in_words(ended: Exit, words: str) -> None:
    assert str(ended) == words


@pytest.mark.parametrize("request_", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("inside", [ignoring_interrupts, deferring_interrupts])
def test_a_request_to_end_inside_is_ignored_or_comes_at_the_end(inside: Any, request_: signal.Signals) -> None:
    reached = False

    def work() -> None:
        nonlocal reached
        with interruptible(), inside():
            os.kill(os.getpid(), request_)
            reached = True

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    if inside is deferring_interrupts:
        with pytest.raises(KeyboardInterrupt):
            work()
    else:
        work()
    assert reached
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


@pytest.mark.parametrize("request_", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_is_an_interrupt_that_says_which(request_: signal.Signals) -> None:
    with pytest.raises(InterruptedBySignal, match=request_.name), interruptible():
        os.kill(os.getpid(), request_)


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
