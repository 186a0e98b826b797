"""The lines that stay: how each trial ended and what a person must know; where there is no dashboard, epochs too."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from resbench.live.board import Board
from resbench.live.left import TimeLeft
from resbench.live.words import clock, epochs, peak
from resbench.schema import Trial
from resbench.untrusted import printable

STYLES = {"ok": "green", "interrupted": "yellow", "not_run": "yellow"}
"""Of how a trial ended; anything else is a failure."""
FAILED_STYLE = "red"


class Lines:
    """Follows a suite's messages, after its board has: it is called with each and writes a line about some.

    Args:
        console: Where to write.
        board: Where every trial stands.
        left: How long the suite still takes.
        only_ends: Leave out what a dashboard shows.
    """

    def __init__(self, console: Console, board: Board, left: TimeLeft, *, only_ends: bool) -> None:
        self.console, self.board, self.left, self.only_ends = console, board, left, only_ends
        self._width = max((len(row.label) for row in board.rows.values()), default=0)
        self._started: set[str] = set()
        self._noticed: set[str] = set()

    def __call__(self, trial: Trial, kind: str, data: dict[str, Any]) -> None:
        """Writes what is worth a line of one message of a trial."""
        if trial.trial_id not in self._started:
            self._started.add(trial.trial_id)
            if not self.only_ends:
                self._tell(trial, "started")
        if kind == "epoch" and not self.only_ends:
            self._tell(
                trial,
                f"epoch {epochs(data['epoch']):<4}  train loss {data['train_loss']:.3f}  "
                f"test {data['test_accuracy']:.2%}  {data['train_images_per_second']:,.0f} images/s",
            )
        elif kind == "notice":
            self._notice(trial, data["text"])
        elif kind == "trial":
            self._end(trial, data)

    def _end(self, trial: Trial, record: dict[str, Any]) -> None:
        """Says how a trial ended."""
        status = record["status"]
        if status == "ok":
            text = (
                f"ok  test {record['test_accuracy']:.2%}  {record['train_images_per_second']:,.0f} images/s  "
                f"{peak(record['peak_memory_allocated_mib'])}  {clock(record['wall_s'])}"
            )
        else:
            place = f" in phase {record['phase']}" if record["phase"] else ""
            text = f"{status}{place}: {record['error']}"
        self._tell(trial, text, style=STYLES.get(status, FAILED_STYLE))
        if not self.only_ends:
            self._tell_standing()

    def _tell_standing(self) -> None:
        """Says how long the suite still takes, where that is known and there is something left to do."""
        left = self.left.of_suite()
        ended, total = len(self.board.ended), len(self.board.rows)
        if left and ended < total:
            self.console.print(f"{ended} of {total} trials ended, about {clock(left)} left", highlight=False)

    def _notice(self, trial: Trial, text: str) -> None:
        """Says what a person must know, such as a fall-back, the first time that a network gives cause for it."""
        if (notice := f"{trial.model}: {text}") not in self._noticed:
            self._noticed.add(notice)
            self._tell(trial, text, style="yellow")

    def _tell(self, trial: Trial, text: str, *, style: str = "") -> None:
        """Writes one line about a trial."""
        row = self.board.rows[trial.trial_id]
        place, label = f"[{row.number}/{len(self.board.rows)}]", printable(row.label.ljust(self._width))
        self.console.print(
            Text.assemble((place, "dim"), " ", (label, "bold"), f"  {printable(text)}"),
            style=style,
            highlight=False,
            soft_wrap=True,
        )
