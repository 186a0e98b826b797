"""Runs jobs one after another, each in a process of its own.

A fresh process a job: what one network leaves in an allocator or in cuDNN's choices never reaches the next, and
a job that dies takes only itself along. The parent sleeps until the child says something or ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from resbench.registry import model_entry
from resbench.schema import Trial
from resbench.store import Store, planned_record
from resbench.trial import Emit, Inputs, run_trial

OnMessage = Callable[[str, dict[str, Any]], None]
_GRACE_S = 5.0
"""How long a process that was asked to end may take before it is killed."""


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
            name = signal.Signals(-self.code).name
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
    with _ignoring_interrupts():  # inherited by the child: Ctrl-C is the parent's to handle
        process.start()
    sender.close()
    try:
        while True:
            wait([receiver, process.sentinel])
            try:
                while receiver.poll():
                    on_message(*receiver.recv())
            except EOFError:
                break
            if not process.is_alive() and not receiver.poll():
                break
    finally:
        if process.is_alive():
            process.join(_GRACE_S if sys.exc_info()[0] is None else 0)
        if process.is_alive():
            process.terminate()
            process.join(_GRACE_S)
        if process.is_alive():
            process.kill()
            process.join()
        receiver.close()
    return Exit(process.exitcode or 0, _last_line(log))


def run_trials(
    trials: list[Trial],
    inputs: Inputs,
    store: Store,
    *,
    on_message: Callable[[Trial, str, dict[str, Any]], None],
) -> None:
    """Runs trials in order and puts what they leave into the store.

    Args:
        trials: Planned, not yet finished.
        inputs: Where their data is.
        store: Gets epochs and profiles as they come, and a ``trial`` event for every trial, however it ended.
        on_message: Told of everything that is emitted, after it is stored.

    Raises:
        KeyboardInterrupt: After the trial in flight has been recorded as ``interrupted``.
    """
    for trial in trials:
        _run_one(trial, inputs, store, on_message)


def _run_one(
    trial: Trial, inputs: Inputs, store: Store, on_message: Callable[[Trial, str, dict[str, Any]], None]
) -> None:
    """Runs one trial; its process may end without a word, and the record is then written here."""
    phase = "build"
    recorded = False

    def handle(kind: str, data: dict[str, Any]) -> None:
        nonlocal phase, recorded
        if kind == "phase":
            phase = data["phase"]
        if kind in {"epoch", "profile", "trial"}:
            store.append(kind, data)
        recorded = recorded or kind == "trial"
        on_message(trial, kind, data)

    def record(status: str, error: str) -> None:
        row = planned_record(trial, source=model_entry(trial.model).source)
        row.status, row.phase, row.error = status, phase, error
        handle("trial", row.to_dict())

    log = store.folder / "logs" / f"{trial.trial_id}.log"
    try:
        ended = run_in_process(trial_job, (trial, inputs), log=log, on_message=handle)
    except KeyboardInterrupt:
        if not recorded:
            record("interrupted", "interrupted by the user")
        raise
    if not recorded:
        record("crashed", str(ended))


def trial_job(trial: Trial, inputs: Inputs, emit: Emit) -> None:
    """Runs a trial in this process and emits its record."""
    emit("trial", run_trial(trial, inputs, emit).to_dict())


def _child(job: Callable[..., None], arguments: tuple[Any, ...], sender: Connection, log: Path) -> None:
    """Runs in the spawned process: what it prints goes to the log, what it emits to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with log.open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    job(*arguments, lambda kind, data: sender.send((kind, data)))
    sender.close()


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Ignores SIGINT inside the block."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _last_line(log: Path) -> str:
    """Returns the last line of a log that is not empty."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""
