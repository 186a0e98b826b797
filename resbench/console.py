"""Printing for the command line: results on stdout, what a person must know on stderr, nothing cut off."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.text import Text

from resbench.untrusted import printable

WHOLE = 1000  # characters a line, where it is not a terminal that shows it
_COLOURS = {"error": "red", "failed": "red", "warning": "yellow", "stopped": "yellow"}

out = Console()
err = Console(stderr=True)


class _Printable:
    """A renderable whose texts, which may be of a stranger's records, cannot command the terminal."""

    def __init__(self, renderable: RenderableType) -> None:
        self.renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.renderable, options):
            lines = segment.text.split("\n")
            yield segment if segment.control else Segment("\n".join(map(printable, lines)), segment.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.renderable)


def complain(text: str, *, label: str = "") -> None:
    """Prints one line on stderr.

    Args:
        text: Printed as it is, but for characters that do not print: their escapes are.
        label: ``error``, ``failed``, ``warning`` or ``stopped``, put in front in its colour.
    """
    prefix = [(f"{label}: ", f"bold {_COLOURS[label]}")] if label else []
    err.print(Text.assemble(*prefix, printable(text)), highlight=False, soft_wrap=True)


def print_pairs(rows: dict[str, str]) -> None:
    """Prints names and values, a line each, never cut: a path can be copied whole."""
    width = max(map(len, rows))
    for key, value in rows.items():
        line = Text.assemble((f"{key:<{width}}", "dim"), "  ", printable(value))
        out.print(line, highlight=False, soft_wrap=True)


def print_table(table: RenderableType) -> None:
    """Prints a table: in a terminal as wide as that is, elsewhere as wide as the table."""
    table = _Printable(table)
    if out.is_terminal:
        out.print(table)
        return
    wide = Console(width=WHOLE)
    wide.print(table, width=Measurement.get(wide, wide.options, table).maximum, soft_wrap=False)


def say(text: str) -> None:
    """Prints one line on stdout; where it is too long the terminal breaks it."""
    out.print(Text(printable(text)), highlight=False, soft_wrap=True)


def count(number: int, noun: str) -> str:
    """Writes a number and its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
