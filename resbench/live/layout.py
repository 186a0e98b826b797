"""What of a suite fits into a terminal: which trials have a row, and which columns there are, how wide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resbench.live.board import Row

GAP = 2
"""Characters between two columns."""
COLUMNS = ("number", "trial", "status", "bar", "test", "rate", "left", "memory")
LESS_TELLING = ("number", "memory", "rate", "left")
"""Columns that give way where a terminal is too narrow, in this order."""
LEAST_NAME = 16
"""Characters of a trial's name that are left where it is cut."""
LEAST_BAR, LONGEST_BAR = 10, 30


@dataclass(frozen=True)
class Shown:
    """The trials that have a row each, from the earliest to the last, and those that have none."""

    rows: list[Row]
    earlier: list[Row]
    """Ended before the first of the rows."""
    later: list[Row]
    """To come after the last of them."""


def fit_rows(ended: Sequence[Row], running: Sequence[Row], waiting: Sequence[Row], lines: int) -> Shown:
    """Chooses the trials that have a row: what runs, what ended last and what is next.

    Args:
        ended: In the order in which they ended.
        running: Have a row before others do.
        waiting: In the order in which they are to begin.
        lines: How many there are. Trials left out take one on each side where there are such.
    """
    shown = Shown([], [], [])
    for kept in (0, 1, 2):  # lines for the trials that are left out
        run = running[: max(1, lines - kept)]
        room = max(0, lines - kept - len(run))
        after = min(len(waiting), room - min(len(ended), room // 2))
        before = min(len(ended), room - after)
        hidden = len(ended) - before
        shown = Shown(
            [*ended[hidden:], *run, *waiting[:after]], [*ended[:hidden]], [*running[len(run) :], *waiting[after:]]
        )
        if bool(shown.earlier) + bool(shown.later) <= kept:
            break
    return shown


def fit_columns(needed: Mapping[str, int], width: int) -> dict[str, int]:
    """Chooses columns and how wide each is.

    Args:
        needed: Characters that each column's longest cell takes. A bar takes what the others leave, or none.
        width: Of the terminal, in characters.
    """
    names = [name for name in COLUMNS if name != "bar"]
    for drop in (None, *LESS_TELLING):
        names = [name for name in names if name != drop]
        taken = sum(needed[name] for name in names if name != "trial") + GAP * (len(names) - 1)
        if width - taken >= min(needed["trial"], LEAST_NAME):
            break
    widths = {name: needed[name] for name in names}
    widths["trial"] = max(1, min(needed["trial"], width - taken))
    bar = width - taken - widths["trial"] - GAP
    if bar >= LEAST_BAR:
        widths["bar"] = min(bar, LONGEST_BAR)
    return {name: widths[name] for name in COLUMNS if name in widths}
