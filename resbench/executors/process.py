"""Runs jobs in processes of their own, hands on what they say, and ends those that take too long.

Nothing here imports torch, so a process is there in a tenth of a second where its job needs none.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import psutil

from resbench.executors.child import GATE, child_main, last_line, out_of_memory_kills
from resbench.executors.deadline import Deadline
from resbench.executors.interrupts import deferring_interrupts, ignoring_interrupts

__all__ = ["GATE", "Exit", "Task", "run_in_process", "run_in_processes"]

OnMessage = Callable[[str, dict[str, Any]], None]
_GRACE_S = 5.0
"""How long a process that was asked to end may take before it is killed."""
_LOOK_AGAIN_S = 1.0
"""How often to ask whether a process still lives that says nothing."""


@dataclass(frozen=True)
class Exit:
    """How a job's process ended."""

    code: int
    """Its exit code; negative: the signal that killed it."""
    last_line: str
    """Of what it printed."""
    timed_out_after_s: float | None = None
    """The limit that it did not keep, for which it was ended."""
    out_of_memory: bool = False
    """Whether the kernel killed it because the host had no memory left."""

    @property
    def signal(self) -> str | None:
        """The name of the signal that killed it, such as ``SIGKILL``."""
        if self.code >= 0:
            return None
        try:
            return signal.Signals(-self.code).name
        except ValueError:  # a real-time signal
            return f"signal {-self.code}"

    def __str__(self) -> str:
        """Says it in words."""
        if self.timed_out_after_s is not None:
            how = f"it took longer than its limit of {self.timed_out_after_s:g} s and was ended"
        elif self.out_of_memory:
            how = "the system ran out of memory and killed the process"
        elif self.code >= 0:
            how = f"the process ended with exit code {self.code}"
        else:
            how = f"the process was killed by {self.signal}"
        return f"{how}: {self.last_line}" if self.last_line else how


@dataclass(frozen=True)
class Task:
    """A job and what becomes of what it says."""

    job: Callable[..., None]
    """A function at module level; called with the arguments and ``emit``."""
    arguments: tuple[Any, ...]
    """Picklable."""
    log: Path
    """Gets what the process prints, after what earlier ones have; its folder is made where its parent exists."""
    on_message: OnMessage
    """Called with each emitted kind and data, in order, in the parent."""
    limit_s: float | None = None
    """Wall time after which the process is ended; waiting at the gate does not count."""
    memory_limit_mib: int | None = None
    """What it may allocate on the host (Linux)."""
    processes: int = 1
    """How many the job runs in. Beyond 1 it starts these itself, from its own."""


def run_in_process(
    job: Callable[..., None],
    arguments: tuple[Any, ...],
    *,
    log: Path,
    on_message: OnMessage,
    limit_s: float | None = None,
    memory_limit_mib: int | None = None,
    processes: int = 1,
) -> Exit:
    """Runs ``job(*arguments, emit)`` in a spawned process and hands on what it emits.

    Args:
        job: A function at module level.
        arguments: Picklable.
        log: Gets what the process prints.
        on_message: Called with each emitted kind and data, in order, in this process.
        limit_s: Wall time after which the process is ended.
        memory_limit_mib: What it may allocate on the host (Linux).
        processes: How many the job runs in, see :class:`Task`.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C; the process has been ended.
        OSError: The log cannot be written.
    """
    return run_in_processes([Task(job, arguments, log, on_message, limit_s, memory_limit_mib, processes)])[0]


def run_in_processes(tasks: Sequence[Task], *, deadline: Deadline | None = None) -> list[Exit]:
    """Runs jobs in a spawned process each: one by one up to their gate, and from there on together.

    A job stands at its gate when it emits ``GATE``: that call returns when every job stands there or has ended. What a
    job does before, it does alone. Jobs without a gate run one after another. This process sleeps meanwhile. Whatever
    happens, no process is left behind, nor what they have started.

    Args:
        tasks: The jobs.
        deadline: When they are ended all together, whatever they do.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C; the processes have been ended.
        OutOfTime: The deadline has come; the processes have been ended.
        OSError: A log cannot be written.
    """
    waiting, workers = deque(tasks), list[_Worker]()
    try:
        while waiting or any(not worker.over for worker in workers):
            if waiting and all(worker.at_gate or worker.over for worker in workers):
                workers.append(_Worker(waiting.popleft()))
            listening = [worker for worker in workers if not worker.over]
            # Something that a process started may hold its pipe and its sentinel open: hence the timeout.
            patience = min((worker.left_s() for worker in listening), default=_LOOK_AGAIN_S)
            if deadline is not None:
                patience = max(0.0, min(patience, deadline.left_s))
            wait([thing for worker in listening for thing in worker.waitable()], timeout=min(patience, _LOOK_AGAIN_S))
            for worker in listening:
                worker.hand_on()
                worker.end_if_late()
            if deadline is not None and any(not worker.over for worker in workers):
                deadline.check()
            if not waiting and all(worker.at_gate or worker.over for worker in workers):
                for worker in workers:
                    worker.open_gate()
    finally:
        with ignoring_interrupts():  # a second Ctrl-C must not leave a process behind
            exits = [worker.end() for worker in workers]
    return exits


class _Worker:
    """A process that runs a task, and this process's end of its pipe."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.at_gate = self.over = self.late = False
        task.log.parent.mkdir(exist_ok=True)
        with task.log.open("ab"):  # what cannot be written is found here
            pass
        self._kills = out_of_memory_kills()
        context = multiprocessing.get_context("spawn")
        self.pipe, self._far_end = context.Pipe()
        arguments = (task.job, task.arguments, self._far_end, task.log, task.memory_limit_mib)
        # A daemon may start no process that Python counts as its child. Either way this one ends it.
        daemon = task.processes == 1
        self.process: SpawnProcess = context.Process(target=child_main, args=arguments, daemon=daemon)
        # The child inherits that SIGINT is ignored: Ctrl-C is the parent's to handle.
        with deferring_interrupts(), ignoring_interrupts(signal.SIGINT):
            self.process.start()
        self._far_end.close()
        self.pid = self.process.pid or 0
        self._spent_s, self._since = 0.0, time.monotonic()

    def waitable(self) -> list[Any]:
        """What becomes ready when the process says something or ends; one that stands at its gate is silent."""
        return [self.pipe, self.process.sentinel]

    def hand_on(self) -> None:
        """Calls ``on_message`` with all that the process has sent, and notices where it is over.

        The process may die at any moment, in the middle of a message too, and something that it started may keep
        the pipe open. So whether it lives is asked before the pipe is emptied: what a dead one sent is in there.
        """
        alive = self.process.is_alive()
        while self.pipe.poll():
            try:
                kind, data = self.pipe.recv()
            except (EOFError, OSError):
                self.over = True
                return
            if kind == GATE:
                self.at_gate = True
                self._spent_s += time.monotonic() - self._since
            else:
                self.task.on_message(kind, data)
        self.over = not alive

    def left_s(self) -> float:
        """Returns how long the process may still take."""
        if self.task.limit_s is None or self.at_gate:
            return float("inf")
        return max(0.0, self.task.limit_s - self._spent_s - (time.monotonic() - self._since))

    def end_if_late(self) -> None:
        """Ends a process that has taken longer than it may."""
        if not self.over and self.left_s() <= 0:
            self.late = self.over = True
            self._stop()

    def open_gate(self) -> None:
        """Lets a process that stands at its gate go on."""
        if self.at_gate and not self.over:
            with contextlib.suppress(OSError):  # it has died there; the next look notices
                self.pipe.send(None)
        self.at_gate = False
        self._since = time.monotonic()

    def end(self) -> Exit:
        """Makes sure that the process has ended, and what it has started."""
        process = self.process
        if self.over:
            process.join(_GRACE_S)
        self._stop()
        code = process.exitcode or 0
        process.close()
        self.pipe.close()
        killed = code == -signal.SIGKILL and out_of_memory_kills() > self._kills
        late = self.task.limit_s if self.late else None
        return Exit(code, last_line(self.task.log), late, out_of_memory=killed and not self.late)

    def _stop(self) -> None:
        """Asks the process to end, then forces it; what it has started is forced at once when it is gone."""
        process = self.process
        started = _started_by(self.pid) if process.is_alive() else []
        if process.is_alive():
            process.terminate()
            process.join(_GRACE_S)
        if process.is_alive():
            process.kill()
            process.join()
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left of its group
            os.killpg(self.pid, signal.SIGKILL)
        for one in started:  # those that have made groups of their own
            with contextlib.suppress(psutil.Error):
                one.kill()


def _started_by(pid: int) -> list[psutil.Process]:
    """Returns the processes below a process."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
