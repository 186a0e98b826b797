"""Runs a job in a process of its own and hands on what it says.

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
from collections.abc import Callable, Iterator
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
    log.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(job, arguments, sender, log), daemon=True)
    try:
        with ignoring_interrupts():  # inherited by the child: Ctrl-C is the parent's to handle
            process.start()
        sender.close()
        _hand_on(receiver, process, on_message)
        process.join(_GRACE_S)
    finally:
        with ignoring_interrupts():  # a second Ctrl-C must not leave the process behind
            code = _end(process)
        sender.close()
        receiver.close()
    return Exit(code, _last_line(log))


def _hand_on(receiver: Connection, process: SpawnProcess, on_message: OnMessage) -> None:
    """Calls ``on_message`` with all that a process sends, until it closes its end or has ended.

    The process may die at any moment, in the middle of a message too, and something that it started may keep
    the pipe open. So whether it lives is asked before the pipe is emptied: what a dead one sent is in there.
    """
    while True:
        # Something that the process started may hold the sentinel open too: hence the timeout.
        wait([receiver, process.sentinel], timeout=_LOOK_AGAIN_S)
        alive = process.is_alive()
        while receiver.poll():
            try:
                kind, data = receiver.recv()
            except (EOFError, OSError):
                return
            on_message(kind, data)
        if not alive:
            return


def _end(process: SpawnProcess) -> int:
    """Makes sure that a process has ended, asking before forcing, and returns its exit code."""
    if process.is_alive():
        process.terminate()
        process.join(_GRACE_S)
    if process.is_alive():
        process.kill()
        process.join()
    code = process.exitcode
    process.close()
    return code or 0


def _child(job: Callable[..., None], arguments: tuple[Any, ...], sender: Connection, log: Path) -> None:
    """Runs in the spawned process: what it prints goes to the log, what it emits to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with log.open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a process that is killed loses what it has not flushed
    faulthandler.enable()
    job(*arguments, lambda kind, data: sender.send((kind, data)))
    sender.close()


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
