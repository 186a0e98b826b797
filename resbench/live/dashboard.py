"""The dashboard of a running suite: a table of its trials and what is left, drawn to fit the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from resbench.live.board import RUNNING, WAITING, Board, Row
from resbench.live.layout import GAP, LEAST_BAR, LONGEST_BAR, Shown, fit_columns, fit_rows
from resbench.live.left import TimeLeft
from resbench.live.lines import FAILED_STYLE, STYLES
from resbench.live.words import clock
from resbench.report.numbers import shorten
from resbench.untrusted import printable

OTHER_LINES = 8
"""Of a screen that are not rows: blank ones, the heading, what is below the table, and some of what was said before."""
LEAST_ROWS = 3
HEADINGS = {
    **{"number": "#", "trial": "trial", "status": "status", "bar": "", "test": "test", "rate": "images/s"},
    **{"left": "left", "memory": "MiB held"},
}
LEFT_ALIGNED = ("trial", "status", "bar")
LEAST = {"status": 14, "test": 6, "left": 5}
"""Characters of columns whose longest cell is to come: the table should not move with every figure."""


class Dashboard:
    """What rich draws: every time anew, as wide and as high as the terminal is then.

    Args:
        board: Where every trial stands.
        left: How long each, and all of them together, still take.
    """

    def __init__(self, board: Board, left: TimeLeft) -> None:
        self.board, self.left = board, left

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws the table and what is below it."""
        board, width = self.board, options.max_width
        ended, running, waiting = board.ended, board.running, board.waiting
        lines = max(LEAST_ROWS, options.size.height - OTHER_LINES)
        yield Text()
        yield self._table(fit_rows(ended, running, waiting, lines), width)
        yield Text()
        yield from self._standing(ended, running, width)
        for text, style in ((board.device_name, "dim"), (board.notice, "yellow")):
            if text:
                yield Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")

    def _table(self, shown: Shown, width: int) -> Table:
        """Draws the trials that have a row, and says how many have none."""
        texts = [self._texts(row) for row in shown.rows]
        needed = {
            name: max(LEAST.get(name, 0), cell_len(heading), *(cell_len(text[name]) for text in texts))
            for name, heading in HEADINGS.items()
        }
        widths = fit_columns(needed, width)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
        for name, characters in widths.items():
            align: JustifyMethod = "left" if name in LEFT_ALIGNED else "right"
            table.add_column(HEADINGS[name], justify=align, width=characters, no_wrap=True, overflow="ellipsis")
        _add_hidden(table, widths, _earlier(shown.earlier, widths["trial"]))
        for row, text in zip(shown.rows, texts, strict=True):
            text["trial"] = shorten(text["trial"], widths["trial"])
            table.add_row(*(_cell(name, row, text[name], widths) for name in widths))
        _add_hidden(table, widths, f"… {len(shown.later)} more" if shown.later else "")
        return table

    def _texts(self, row: Row) -> dict[str, str]:
        """Writes what is known of a trial, by column."""
        ended = row.status not in (RUNNING, WAITING)
        left = None if ended else self.left.of_trial(row.trial_id)
        memory, rate, accuracy = row.memory_mib, row.images_per_second, row.test_accuracy
        status = row.status
        if status == RUNNING:
            status = f"{row.phase} {clock(self.board.now() - row.began_s)}"
        elif status == "ok":
            status = f"ok in {clock(row.took_s)}"
        return {
            "number": str(row.number),
            "trial": printable(row.label),
            "status": status,
            "bar": f"{100 * row.fraction:3.0f} %" if row.training else "",
            "test": "" if accuracy is None else f"{accuracy:.2%}",
            "rate": "" if rate is None else f"{rate:,.0f}",
            "left": "" if left is None else clock(left),
            "memory": "" if memory is None else f"{'peak ' if ended else ''}{memory:,.0f}",
        }

    def _standing(self, ended: Sequence[Row], running: Sequence[Row], width: int) -> RenderResult:
        """Says how far the suite is: a bar where there is room for one, and in words."""
        board = self.board
        failed = sum(row.status != "ok" for row in ended)
        total, left = len(board.rows), self.left.of_suite()
        words = [
            f"{len(ended)} of {total} ended" + (f", {failed} failed" if failed else ""),
            *([f"about {clock(left)} left"] if left is not None and len(ended) < total else []),
            f"{clock(board.now() - board.began_s)} elapsed",
        ]
        text = "   ".join(words)
        while len(text) > width and words:
            text = "   ".join(words := words[:-1])
        done = (len(ended) + sum(row.fraction for row in running)) / total if total else 1.0
        room = min(LONGEST_BAR, width - len(text) - GAP)
        if room >= LEAST_BAR:
            yield _Bar(done, " " * GAP + text, room + GAP + len(text), "bold")
        else:
            yield Text(text, style="bold", no_wrap=True, overflow="ellipsis")


def _cell(name: str, row: Row, text: str, widths: Mapping[str, int]) -> RenderableType:
    """Draws one cell; a bar stands in the place of the status where it has no column of its own."""
    if row.training and name == ("bar" if "bar" in widths else "status"):
        percent = f" {100 * row.fraction:3.0f} %"
        return _Bar(row.fraction, percent, widths[name])
    if name == "bar":
        return ""
    return Text(text, style=_style(name, row))


def _style(name: str, row: Row) -> str:
    """Chooses a cell's style."""
    if row.status == WAITING:
        return "dim"
    if row.status == RUNNING:
        return {"trial": "bold", "status": "cyan", "number": "bold"}.get(name, "")
    if name == "status":
        return STYLES.get(row.status, FAILED_STYLE)
    return "dim" if name in ("number", "memory") else ""


class _Bar:
    """A bar and words behind it, on one line; the words stay in their place where a bar's rest is not drawn."""

    def __init__(self, fraction: float, text: str, width: int, style: str = "") -> None:
        # rich's own colour of a bar looks like a failure's
        self.bar = ProgressBar(1.0, fraction, max(1, width - len(text)), complete_style="cyan", finished_style="cyan")
        self.text, self.width, self.style = text, width, style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        drawn = list(console.render(self.bar, options))
        yield from drawn
        yield Text(self.text.rjust(self.width - Segment.get_line_length(drawn)), style=self.style, no_wrap=True)


def _earlier(rows: Sequence[Row], width: int) -> str:
    """Says how many trials have ended that have no row, and how they did where there is room for it."""
    if not rows:
        return ""
    short, how = f"… {len(rows)} earlier", Counter(row.status for row in rows)
    whole = f"{short}: {', '.join(f'{number} {status}' for status, number in how.items())}"
    return whole if len(whole) <= width else short


def _add_hidden(table: Table, widths: Mapping[str, int], text: str) -> None:
    """Adds a line about trials without a row, under the trials' names."""
    if text:
        cells = {"trial": Text(text, style="dim")}
        table.add_row(*(cells.get(name, "") for name in widths))
