"""Runs trials one after another on this machine, each in a process of its own.

A fresh process a trial: what one network leaves in an allocator or in cuDNN's choices never reaches the next, and
a trial that dies takes only itself along. The parent sleeps until the child says something or ends.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from resbench.executors.process import deferring_interrupts, ignoring_interrupts, run_in_process
from resbench.registry import model_entry
from resbench.schema import PROFILED, Trial
from resbench.store import Store, planned_record
from resbench.trial import Emit, Inputs, run_trial

_KNOWN_BEFORE_THE_END = frozenset(
    (*PROFILED, "device_name", "test_accuracy", "test_loss", "train_accuracy", "steps", "images_seen")
)
"""What a trial's profile and its epochs already tell of the row of one that does not live to write it itself."""


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
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    known: dict[str, Any] = {}

    def handle(kind: str, data: dict[str, Any]) -> None:
        nonlocal phase, recorded
        if kind == "phase":
            phase = data["phase"]
        if kind in {"epoch", "profile", "trial"}:
            with deferring_interrupts():  # a trial that is stored is known to be: it is not "interrupted" as well
                store.append(kind, data)
                recorded = recorded or kind == "trial"
        if kind in {"epoch", "profile"}:
            known.update({name: data[name] for name in _KNOWN_BEFORE_THE_END & data.keys()})
        on_message(trial, kind, data)

    def record(status: str, error: str) -> None:
        row = planned_record(trial, source=model_entry(trial.model).source)
        row.status, row.phase, row.error, row.started_at = status, phase, error, started_at
        for name, value in known.items():
            setattr(row, name, value)
        handle("trial", row.to_dict())

    log = store.folder / "logs" / f"{trial.trial_id}.log"
    try:
        ended = run_in_process(trial_job, (trial, inputs), log=log, on_message=handle)
    except KeyboardInterrupt:
        if not recorded:
            with ignoring_interrupts():
                record("interrupted", "interrupted by the user")
        raise
    if not recorded:
        record("crashed", str(ended))


def trial_job(trial: Trial, inputs: Inputs, emit: Emit) -> None:
    """Runs a trial in this process and emits its record."""
    emit("trial", run_trial(trial, inputs, emit).to_dict())
