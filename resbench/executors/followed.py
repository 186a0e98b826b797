"""A trial on its way, as its messages tell of it: what every executor makes of them.

Where a trial runs, and in what, is its executor's. What its messages are worth, and the row of one that ends without a
word, are alike everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resbench.conduct import Conduct
from resbench.executors.interrupts import deferring_interrupts
from resbench.executors.process import Exit
from resbench.registry import model_entry
from resbench.schema import PROFILED, Trial, TrialRecord
from resbench.store import Store, planned_record

OnMessage = Callable[[Trial, str, dict[str, Any]], None]

STORED = frozenset({"training", "epoch", "profile", "telemetry", "hits", "trial"})
"""The kinds of message that are events of the records."""
_TOLD = frozenset((*PROFILED, "test_accuracy", "test_loss", "train_accuracy", "epochs", "steps", "images_seen"))
"""What a trial's profile and its epochs tell of the row of one that does not live to write it itself."""


class Followed:
    """A trial on its way, as its messages tell of it.

    Attributes:
        node: Of a cluster, where it runs; None where that is this machine.
        remarks: What its executor adds to the notes of its row.
        recorded: Whether its row is stored.
        status: That row's.
        began: Whether its process has said anything.
    """

    def __init__(self, trial: Trial, store: Store, on_message: OnMessage, conduct: Conduct) -> None:
        self.trial, self.store, self.on_message = trial, store, on_message
        self.accumulate = conduct.accumulate
        self.micro_batch_size: int | None = None
        self.node: str | None = None
        self.remarks: list[str] = []
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forgets what an attempt told: another one is going to."""
        self.phase, self.recorded, self.began = "build", False, False
        self.status: str | None = None
        self.out_of_memory = False
        self.known: dict[str, Any] = {}

    @property
    def checkpoint(self) -> Path:
        """Where a trial on this machine leaves what it needs to go on."""
        return self.store.folder / "checkpoints" / f"{self.trial.trial_id}.pt"

    @property
    def log(self) -> Path:
        """What its process prints."""
        return self.store.folder / "logs" / f"{self.trial.trial_id}.log"

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
        data = self._completed(kind, data)
        if kind in STORED:
            with deferring_interrupts():  # a trial that is stored is known to be: it is not "interrupted" as well
                self.store.append(kind, data)
                self.recorded = self.recorded or kind == "trial"
        if kind == "facts":
            self.known.update(data)
        if kind in {"epoch", "profile"}:
            self.known.update({name: data[name] for name in _TOLD & data.keys()})
        if kind == "trial":
            self.status = data["status"]
            self.checkpoint.unlink(missing_ok=True)  # what has ended does not go on: another attempt begins anew
        self.on_message(self.trial, kind, data)

    def _completed(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        """Returns a message with what its trial cannot know: its place in a cluster."""
        if kind in {"facts", "trial"} and self.node is not None:
            data = {**data, "node": self.node}
        if kind == "trial" and self.remarks:
            data = {**data, "notes": [*self.remarks, *data.get("notes", [])]}
        return data

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
            self.recorded, self.status = True, status
        self.on_message(self.trial, "trial", row.to_dict())

    def _known_row(self) -> TrialRecord:
        """Returns the trial's row as far as its messages have told it."""
        row = planned_record(self.trial, source=model_entry(self.trial.model).source)
        row.micro_batch_size = self.micro_batch_size or self.trial.batch_size
        row.node, row.notes = self.node, [*self.remarks]
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
        self.begin_anew()
        self.micro_batch_size = (before + 1) // 2
        text = f"out of memory with {before} images at once: trying {self.micro_batch_size}, gradients added up"
        self.on_message(self.trial, "notice", {"text": text})
        return True


def _now() -> str:
    """Returns the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
