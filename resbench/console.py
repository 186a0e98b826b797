"""Printing for the command line: results on stdout, what a person must know on stderr, nothing cut off."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.measure import Measurement

WHOLE = 1000  # characters a line, where it is not a terminal that shows it
_COLOURS = {"error": "red", "failed": "red", "warning": "yellow"}

out = Console()
err = Console(stderr=True)


def complain(text: str, *, label: str = "") -> None:
    """Prints one line on stderr.

    Args:
        text: Printed as it is.
        label: ``error``, ``failed`` or ``warning``, put in front in its colour.
    """
    prefix = f"[bold {_COLOURS[label]}]{label}:[/] " if label else ""
    err.print(f"{prefix}{escape(text)}", highlight=False, soft_wrap=True)


def print_pairs(rows: dict[str, str]) -> None:
    """Prints names and values, a line each, never cut: a path can be copied whole."""
    width = max(map(len, rows))
    for key, value in rows.items():
        say(f"[dim]{key:<{width}}[/dim]  {escape(value)}", markup=True)


def print_table(table: RenderableType) -> None:
    """Prints a table: in a terminal as wide as that is, elsewhere as wide as the table."""
    if out.is_terminal:
        out.print(table)
        return
    wide = Console(width=WHOLE)
    wide.print(table, width=Measurement.get(wide, wide.options, table).maximum, soft_wrap=False)


def say(text: str, *, markup: bool = False) -> None:
    """Prints one line on stdout; where it is too long the terminal breaks it."""
    out.print(text, markup=markup, highlight=False, soft_wrap=True)


def count(number: int, noun: str) -> str:
    """Writes a number and its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
