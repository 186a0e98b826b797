"""Runs trials one after another on this machine, each in a process of its own.

A fresh process a trial: what one network leaves in an allocator or in cuDNN's choices never reaches the next, and
a trial that dies takes only itself along. The parent sleeps until a child says something or ends. Seeds of one network
may train side by side where that is asked for; what is measured of them is measured before, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from resbench.executors.process import Task, deferring_interrupts, ignoring_interrupts, run_in_processes
from resbench.registry import model_entry
from resbench.schema import PROFILED, Trial
from resbench.store import Store, planned_record
from resbench.trial import Emit, Inputs, run_trial

OnMessage = Callable[[Trial, str, dict[str, Any]], None]

_KNOWN_BEFORE_THE_END = frozenset(
    (*PROFILED, "device_name", "test_accuracy", "test_loss", "train_accuracy", "steps", "images_seen")
)
"""What a trial's profile and its epochs already tell of the row of one that does not live to write it itself."""


def run_trials(
    trials: list[Trial], inputs: Inputs, store: Store, *, on_message: OnMessage, concurrent_seeds: int = 1
) -> None:
    """Runs trials in order and puts what they leave into the store.

    Args:
        trials: Planned, not yet finished.
        inputs: Where their data is.
        store: Gets epochs and profiles as they come, and a ``trial`` event for every trial, however it ended.
        on_message: Told of everything that is emitted, after it is stored.
        concurrent_seeds: How many trials that differ in nothing but their seed train at once.

    Raises:
        KeyboardInterrupt: After the trials in flight have been recorded as ``interrupted``.
    """
    for group in _groups(trials, concurrent_seeds):
        _run_group(group, inputs, store, on_message)


def _groups(trials: list[Trial], size: int) -> list[list[Trial]]:
    """Returns trials that run together, in the order in which the first of each was planned."""
    seeds_of: dict[Trial, list[list[Trial]]] = {}
    groups = []
    for trial in trials:
        of_the_same = seeds_of.setdefault(replace(trial, seed=0), [])
        if not of_the_same or len(of_the_same[-1]) == size:
            of_the_same.append([])
            groups.append(of_the_same[-1])
        of_the_same[-1].append(trial)
    return groups


def _run_group(trials: list[Trial], inputs: Inputs, store: Store, on_message: OnMessage) -> None:
    """Runs trials together; the process of each may end without a word, and its record is then written here."""
    followed = [_Followed(trial, store, on_message) for trial in trials]
    tasks = [
        Task(
            trial_job,
            (one.trial, inputs, len(trials)),
            log=store.folder / "logs" / f"{one.trial.trial_id}.log",
            on_message=one.handle,
        )
        for one in followed
    ]
    try:
        exits = run_in_processes(tasks)
    except KeyboardInterrupt:
        with ignoring_interrupts():
            for one in followed:
                if one is followed[0] or one.started_at:  # the others have not begun
                    one.record_unless_done("interrupted", "interrupted by the user")
        raise
    for one, ended in zip(followed, exits, strict=True):
        one.record_unless_done("crashed", str(ended))


class _Followed:
    """A trial on its way, as its messages tell of it."""

    def __init__(self, trial: Trial, store: Store, on_message: OnMessage) -> None:
        self.trial, self.store, self.on_message = trial, store, on_message
        self.phase, self.recorded = "build", False
        self.started_at: str | None = None
        self.known: dict[str, Any] = {}

    def handle(self, kind: str, data: dict[str, Any]) -> None:
        """Stores a message where it is worth it, and tells of it."""
        self.started_at = self.started_at or _now()
        if kind == "phase":
            self.phase = data["phase"]
        if kind in {"epoch", "profile", "trial"}:
            with deferring_interrupts():  # a trial that is stored is known to be: it is not "interrupted" as well
                self.store.append(kind, data)
                self.recorded = self.recorded or kind == "trial"
        if kind in {"epoch", "profile"}:
            self.known.update({name: data[name] for name in _KNOWN_BEFORE_THE_END & data.keys()})
        self.on_message(self.trial, kind, data)

    def record_unless_done(self, status: str, error: str) -> None:
        """Writes the row of a trial that has not written it itself, with what is known of it."""
        if self.recorded:
            return
        row = planned_record(self.trial, source=model_entry(self.trial.model).source)
        row.status, row.phase, row.error, row.started_at = status, self.phase, error, self.started_at or _now()
        for name, value in self.known.items():
            setattr(row, name, value)
        self.handle("trial", row.to_dict())


def _now() -> str:
    """Returns the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def trial_job(trial: Trial, inputs: Inputs, together: int, emit: Emit) -> None:
    """Runs a trial in this process and emits its record."""
    emit("trial", run_trial(trial, inputs, emit, together=together).to_dict())
