"""What a person sees while a suite runs: a dashboard in a terminal, and the lines that stay."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live

from resbench.live.board import Board
from resbench.live.dashboard import Dashboard
from resbench.live.left import TimeLeft
from resbench.live.lines import Lines
from resbench.schema import Trial

REFRESHES_PER_S = 2
"""Of the dashboard. Between two of them this process sleeps: what is being measured needs the processor."""


class RunView:
    """Follows a suite's messages on a console: a context manager that is called with each message.

    Args:
        console: Where to write. On a terminal there is a dashboard, and lines for how trials ended and for notices;
            elsewhere lines for starts and epochs too.
        trials: Those that are going to run.
        labels: What to call them, by ``trial_id``; their own labels by default.
        expected_s: The wall time that each is expected to take, by ``trial_id``, as far as that is known.
        together: How many seeds of a network train at once.
        side_by_side: Whether trials run at once, on a cluster's nodes.
        also: Others that are called with each message.
        now: Tells the time in seconds.
    """

    def __init__(
        self,
        console: Console,
        trials: Sequence[Trial],
        labels: Mapping[str, str] | None = None,
        *,
        expected_s: Mapping[str, float] | None = None,
        together: int = 1,
        side_by_side: bool = False,
        also: Sequence[Callable[[Trial, str, dict[str, Any]], None]] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._also = also
        self._board = Board(trials, labels or {}, now)
        self._left = TimeLeft(trials, expected_s=expected_s, together=together, side_by_side=side_by_side, now=now)
        shows_dashboard = console.is_terminal and console.is_interactive  # a terminal may be unable to move its cursor
        self._lines = Lines(console, self._board, self._left, only_ends=shows_dashboard)
        self._live = (
            Live(
                Dashboard(self._board, self._left),
                console=console,
                refresh_per_second=REFRESHES_PER_S,
                transient=True,
                redirect_stderr=sys.stderr.isatty(),  # what goes to a file stays out of the terminal
            )
            if shows_dashboard
            else None
        )

    def __enter__(self) -> RunView:
        """Shows the dashboard."""
        if self._live:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the dashboard away."""
        if self._live:
            self._live.stop()

    def __call__(self, trial: Trial, kind: str, data: dict[str, Any]) -> None:
        """Follows one message of a trial."""
        self._board(trial, kind, data)
        self._left(trial, kind, data)
        self._lines(trial, kind, data)
        for follow in self._also:
            follow(trial, kind, data)
