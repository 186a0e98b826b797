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

from resbench.conduct import Attempt, Conduct
from resbench.errors import StorageError
from resbench.executors.child import available_memory_mib
from resbench.executors.interrupts import deferring_interrupts, ignoring_interrupts
from resbench.executors.process import Exit, Task, run_in_processes
from resbench.inputs import Inputs
from resbench.ranks import ALONE, Ranks
from resbench.recorder import Emit
from resbench.registry import model_entry
from resbench.schema import PROFILED, Trial, TrialRecord
from resbench.store import Store, planned_record
from resbench.trial import run_trial

OnMessage = Callable[[Trial, str, dict[str, Any]], None]

STORED = frozenset({"training", "epoch", "profile", "telemetry", "hits", "trial"})
"""The kinds of message that are events of the records."""
_TOLD = frozenset((*PROFILED, "test_accuracy", "test_loss", "train_accuracy", "epochs", "steps", "images_seen"))
"""What a trial's profile and its epochs tell of the row of one that does not live to write it itself."""


def run_trials(
    trials: list[Trial],
    inputs: Inputs,
    store: Store,
    *,
    on_message: OnMessage = lambda trial, kind, data: None,
    conduct: Conduct | None = None,
) -> None:
    """Runs trials in order and puts what they leave into the store.

    Args:
        trials: Planned, not yet finished.
        inputs: Where their data is.
        store: Gets what they emit as it comes, and a ``trial`` event for every trial, however it ended.
        on_message: Told of everything that is emitted, after it is stored.
        conduct: Limits, checkpoints, and how many seeds train at once.

    Raises:
        KeyboardInterrupt: After the trials in flight have been recorded as ``interrupted``.
        StorageError: The records cannot be written any more.
    """
    conduct = conduct or Conduct()
    for group in _groups(trials, conduct.concurrent_seeds):
        followed = [_Followed(trial, store, on_message, conduct) for trial in group]
        _run_group(followed, inputs, conduct)
        for one in followed:
            while one.in_smaller_parts():
                _run_group([one], inputs, conduct)


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


def _run_group(followed: list[_Followed], inputs: Inputs, conduct: Conduct) -> None:
    """Runs trials together; the process of each may end without a word, and its record is then written here."""
    tasks = [one.task(inputs, conduct, together=len(followed)) for one in followed]
    for one in followed:
        one.announce()
    try:
        exits = run_in_processes(tasks)
    except KeyboardInterrupt as error:
        with ignoring_interrupts():
            how = f"by {error}" if str(error) else "by the user"
            for one in followed:
                begun = one.began or one is followed[0]
                one.record_unless_done("interrupted" if begun else "not_run", f"interrupted {how}")
        raise
    except OSError as error:  # a log that cannot be written
        raise StorageError(f"cannot write to {error.filename}: {error.strerror}. Nothing more is run.") from error
    for one, ended in zip(followed, exits, strict=True):
        one.record_exit(ended)


class _Followed:
    """A trial on its way, as its messages tell of it."""

    def __init__(self, trial: Trial, store: Store, on_message: OnMessage, conduct: Conduct) -> None:
        self.trial, self.store, self.on_message = trial, store, on_message
        self.accumulate = conduct.accumulate
        self.micro_batch_size: int | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Forgets an attempt."""
        self.phase, self.recorded, self.began = "build", False, False
        self.out_of_memory = False
        self.known: dict[str, Any] = {}

    @property
    def checkpoint(self) -> Any:
        """Where the trial leaves what it needs to go on."""
        return self.store.folder / "checkpoints" / f"{self.trial.trial_id}.pt"

    def task(self, inputs: Inputs, conduct: Conduct, *, together: int) -> Task:
        """Returns the trial as a job for a process."""
        attempt = Attempt(together, self.micro_batch_size, self.checkpoint, conduct.checkpoint_every_s)
        limit = conduct.memory_limit_mib
        if limit is None and self.trial.engine.device == "cpu":
            limit = available_memory_mib()
        return Task(
            trial_job,
            (self.trial, inputs, attempt),
            log=self.store.folder / "logs" / f"{self.trial.trial_id}.log",
            on_message=self.handle,
            limit_s=conduct.trial_timeout_s,
            memory_limit_mib=limit,
            processes=self.trial.engine.devices,
        )

    def announce(self) -> None:
        """Records that the trial is about to begin: if nothing else comes, its row says so."""
        self.known["started_at"] = _now()
        self.store.append("start", {"trial": self.trial.to_dict(), "started_at": self.known["started_at"]})

    def handle(self, kind: str, data: dict[str, Any]) -> None:
        """Stores a message where it is worth it, and tells of it."""
        self.began = True
        if kind == "phase":
            self.phase = data["phase"]
        if kind == "trial" and data["status"] == "oom" and self._can_be_halved():
            self.out_of_memory = True  # another attempt writes the row
            return
        if kind in STORED:
            with deferring_interrupts():  # a trial that is stored is known to be: it is not "interrupted" as well
                self.store.append(kind, data)
                self.recorded = self.recorded or kind == "trial"
        if kind == "facts":
            self.known.update(data)
        if kind in {"epoch", "profile"}:
            self.known.update({name: data[name] for name in _TOLD & data.keys()})
        if kind == "trial":
            self.checkpoint.unlink(missing_ok=True)  # what has ended does not go on: another attempt begins anew
        self.on_message(self.trial, kind, data)

    def record_exit(self, ended: Exit) -> None:
        """Writes the row of a trial whose process ended without having written it."""
        if self.out_of_memory:
            return
        if ended.timed_out_after_s is not None:
            status = "timeout"
        elif ended.out_of_memory:
            status = "oom"
            if self._can_be_halved():
                self.out_of_memory = True
                return
        else:
            status = "crashed"
        self.record_unless_done(status, str(ended), ended)

    def record_unless_done(self, status: str, error: str, ended: Exit | None = None) -> None:
        """Writes the row of a trial that has not written it itself, with what is known of it.

        Its checkpoint stays: another attempt goes on from there.
        """
        if self.recorded:
            return
        row = self._known_row()
        row.status, row.phase, row.error = status, self.phase if self.began else None, error
        if ended is not None:
            row.exit_code, row.signal = ended.code, ended.signal
        with deferring_interrupts():
            self.store.append("trial", row.to_dict())
            self.recorded = True
        self.on_message(self.trial, "trial", row.to_dict())

    def _known_row(self) -> TrialRecord:
        """Returns the trial's row as far as its messages have told it."""
        row = planned_record(self.trial, source=model_entry(self.trial.model).source)
        row.micro_batch_size = self.micro_batch_size or self.trial.batch_size
        for name, value in self.known.items():
            setattr(row, name, value)
        return row

    def _can_be_halved(self) -> bool:
        """Returns whether a trial that ran out of memory is to be run again with less at once."""
        return self.accumulate and (self.micro_batch_size or self.trial.batch_size) > self.trial.engine.devices

    def in_smaller_parts(self) -> bool:
        """Halves what goes through the network at once, where memory ran out; returns whether it did."""
        if not self.out_of_memory:
            return False
        before = self.micro_batch_size or self.trial.batch_size
        self._begin_anew()
        self.micro_batch_size = (before + 1) // 2
        text = f"out of memory with {before} images at once: trying {self.micro_batch_size}, gradients added up"
        self.on_message(self.trial, "notice", {"text": text})
        return True


def _now() -> str:
    """Returns the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def trial_job(trial: Trial, inputs: Inputs, attempt: Attempt, emit: Emit) -> None:
    """Runs a trial in this process, or in one for each of its devices, and emits its record."""
    if trial.engine.devices > 1:
        from resbench.executors.ranks import run_ranks  # torchrun: nothing that one device needs

        run_ranks(trial_on_rank, (trial, inputs, attempt), trial.engine, emit)
    else:
        trial_on_rank(trial, inputs, attempt, emit, ALONE)


def trial_on_rank(trial: Trial, inputs: Inputs, attempt: Attempt, emit: Emit, ranks: Ranks) -> None:
    """Runs a trial together with the other ranks and emits its record."""
    emit("trial", run_trial(trial, inputs, emit, attempt, ranks=ranks).to_dict())
