"""Runs jobs in processes of their own and hands on what they say.

Nothing here imports torch, so a process is there in a tenth of a second where its job needs none.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

OnMessage = Callable[[str, dict[str, Any]], None]
_GRACE_S = 5.0
"""How long a process that was asked to end may take before it is killed."""
_LOOK_AGAIN_S = 1.0
"""How often to ask whether a process still lives that says nothing."""
GATE = "gate"
"""The kind of the message with which a job waits for the others, see :func:`run_in_processes`."""


@dataclass(frozen=True)
class Exit:
    """How a job's process ended."""

    code: int
    """Its exit code; negative: the signal that killed it."""
    last_line: str
    """Of what it printed."""

    def __str__(self) -> str:
        """Says it in words."""
        if self.code >= 0:
            how = f"the process ended with exit code {self.code}"
        else:
            name = _signal_name(-self.code)
            how = f"the process was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"{how}: {self.last_line}" if self.last_line else how


@dataclass(frozen=True)
class Task:
    """A job and what becomes of what it says."""

    job: Callable[..., None]
    """A function at module level; called with the arguments and ``emit``."""
    arguments: tuple[Any, ...]
    """Picklable."""
    log: Path
    """Gets what the process prints."""
    on_message: OnMessage
    """Called with each emitted kind and data, in order, in the parent."""


def run_in_process(job: Callable[..., None], arguments: tuple[Any, ...], *, log: Path, on_message: OnMessage) -> Exit:
    """Runs ``job(*arguments, emit)`` in a spawned process and hands on what it emits.

    Args:
        job: A function at module level.
        arguments: Picklable.
        log: Gets what the process prints.
        on_message: Called with each emitted kind and data, in order, in this process.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C; the process has been ended.
    """
    return run_in_processes([Task(job, arguments, log, on_message)])[0]


def run_in_processes(tasks: Sequence[Task]) -> list[Exit]:
    """Runs jobs in a spawned process each: one by one up to their gate, and from there on together.

    A job stands at its gate when it emits ``GATE``: that call returns when every job stands there or has ended. What a
    job does before, it does alone. Jobs without a gate run one after another.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C; the processes have been ended.
    """
    waiting, workers = deque(tasks), list[_Worker]()
    try:
        while waiting or any(not worker.over for worker in workers):
            if waiting and all(worker.at_gate or worker.over for worker in workers):
                workers.append(_Worker(waiting.popleft()))
            listening = [worker for worker in workers if not worker.over]
            # Something that a process started may hold its pipe and its sentinel open: hence the timeout.
            wait([thing for worker in listening for thing in worker.waitable()], timeout=_LOOK_AGAIN_S)
            for worker in listening:
                worker.hand_on()
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
        self.at_gate = self.over = False
        task.log.parent.mkdir(parents=True, exist_ok=True)
        context = multiprocessing.get_context("spawn")
        self.pipe, self._far_end = context.Pipe()
        arguments = (task.job, task.arguments, self._far_end, task.log)
        self.process: SpawnProcess = context.Process(target=_child, args=arguments, daemon=True)
        with ignoring_interrupts():  # inherited by the child: Ctrl-C is the parent's to handle
            self.process.start()
        self._far_end.close()

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
            else:
                self.task.on_message(kind, data)
        self.over = not alive

    def open_gate(self) -> None:
        """Lets a process that stands at its gate go on."""
        if self.at_gate and not self.over:
            with contextlib.suppress(OSError):  # it has died there; the next look notices
                self.pipe.send(None)
        self.at_gate = False

    def end(self) -> Exit:
        """Makes sure that the process has ended, asking before forcing."""
        process = self.process
        if self.over:
            process.join(_GRACE_S)
        if process.is_alive():
            process.terminate()
            process.join(_GRACE_S)
        if process.is_alive():
            process.kill()
            process.join()
        code = process.exitcode
        process.close()
        self.pipe.close()
        return Exit(code or 0, _last_line(self.task.log))


def _child(job: Callable[..., None], arguments: tuple[Any, ...], pipe: Connection, log: Path) -> None:
    """Runs in the spawned process: what it prints goes to the log, what it emits to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with log.open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a process that is killed loses what it has not flushed
    faulthandler.enable()

    def emit(kind: str, data: dict[str, Any]) -> None:
        pipe.send((kind, data))
        if kind == GATE:
            pipe.recv()  # EOFError where the parent is gone: then there is nobody to go on for

    job(*arguments, emit)
    pipe.close()


@contextlib.contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """Ignores SIGINT inside the block (in the main thread; Python hands signals to no other)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def deferring_interrupts() -> Iterator[None]:
    """Holds SIGINT back until the end of the block (in the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        signal.raise_signal(signal.SIGINT)


def _signal_name(number: int) -> str:
    """Returns a signal's name, such as ``SIGKILL``."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _last_line(log: Path) -> str:
    """Returns the last line of a log that is not empty, faulthandler's dump of the stack aside."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ""
    lines = re.split(r"^Fatal Python error: ", text, flags=re.MULTILINE)[0].strip().splitlines()
    return lines[-1].strip() if lines else ""
