"""Where every trial of a suite stands, as its messages tell of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resbench.schema import Trial

WAITING, RUNNING = "waiting", "running"
TRAINING = frozenset({"train", "eval"})
"""The phases in which a budget is spent."""


@dataclass
class Row:
    """What is known of one trial."""

    trial_id: str
    label: str
    number: int
    """Its place among the trials: in the order in which they begin, as far as they have."""
    status: str = WAITING
    """Or ``running``, or how it ended."""
    phase: str = ""
    began_s: float = 0.0
    """By the board's clock; so is what it took."""
    took_s: float = 0.0
    fraction: float = 0.0
    """Of its budget."""
    test_accuracy: float | None = None
    """A fraction, after the last epoch so far."""
    images_per_second: float | None = None
    memory_mib: float | None = None
    """Held of the device while it trains; the recorded peak once it has ended."""

    @property
    def training(self) -> bool:
        """Whether it is spending its budget."""
        return self.status == RUNNING and self.phase in TRAINING


class Board:
    """Follows a suite's messages: it is called with each.

    Args:
        trials: Those that are going to run.
        labels: What to call them, by ``trial_id``; their own labels by default.
        now: Tells the time in seconds.

    Attributes:
        rows: By ``trial_id``, in planned order.
        began_s: When the board was made.
        device_name: Of the device that the trials run on; empty as long as none has told it.
        notice: The last thing that a person had to know.
    """

    def __init__(self, trials: Sequence[Trial], labels: Mapping[str, str], now: Callable[[], float]) -> None:
        self.now = now
        self.rows = {
            trial.trial_id: Row(trial.trial_id, labels.get(trial.trial_id, trial.label), number)
            for number, trial in enumerate(trials, 1)
        }
        self.began_s = now()
        self.device_name = self.notice = ""
        self._begun: list[Row] = []
        self._ended: list[Row] = []

    def __call__(self, trial: Trial, kind: str, data: dict[str, Any]) -> None:
        """Follows one message of a trial."""
        row = self.rows[trial.trial_id]
        if row.status == WAITING:
            self._begin(row)
        if kind == "phase":
            row.phase = data["phase"]
        elif kind == "facts":
            self.device_name = data.get("device_name", self.device_name)
        elif kind == "training":  # another attempt, in smaller parts, begins anew
            row.fraction = 0.0
        elif kind == "progress":
            row.fraction, row.images_per_second = data["fraction"], data["images_per_second"]
            row.memory_mib = data["memory_mib"]
        elif kind == "epoch":
            row.test_accuracy = data["test_accuracy"]
        elif kind == "notice":
            self.notice = f"{row.label}: {data['text']}"
        elif kind == "trial":
            self._end(row, data)

    def _begin(self, row: Row) -> None:
        """Gives a trial that begins the next number."""
        row.status, row.phase, row.began_s = RUNNING, "start", self.now()
        self._begun.append(row)
        row.number = len(self._begun)
        for number, later in enumerate(self.waiting, row.number + 1):
            later.number = number

    def _end(self, row: Row, record: dict[str, Any]) -> None:
        """Takes what the record of a trial says in the place of what was known while it ran."""
        row.status, row.took_s = record["status"], self.now() - row.began_s
        row.phase = record["phase"] or ""
        row.test_accuracy = record.get("test_accuracy")
        row.images_per_second = record.get("train_images_per_second")
        row.memory_mib = record.get("peak_memory_allocated_mib")
        self._ended.append(row)

    @property
    def ended(self) -> list[Row]:
        """Trials that have ended, in the order in which they did."""
        return [*self._ended]

    @property
    def running(self) -> list[Row]:
        """Trials that have begun and not ended, in the order in which they began."""
        return [row for row in [*self._begun] if row.status == RUNNING]

    @property
    def waiting(self) -> list[Row]:
        """Trials that have not begun, in planned order."""
        return [row for row in [*self.rows.values()] if row.status == WAITING]
