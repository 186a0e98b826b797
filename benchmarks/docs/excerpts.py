"""Parts of a results folder's page, as the page has them: a table, what it says, a plot, what the harness costs."""

from __future__ import annotations

import re
from itertools import dropwhile, takewhile
from pathlib import Path

from tabulate import tabulate

from resbench.errors import InputError

PAGE = "README.md"


def table(root: Path, folder: str, heading: str = "") -> str:
    """Returns the first table below a heading.

    Args:
        root: Of the repository.
        folder: With a page.
        heading: Of the second level, as the page has it; none for the first table of the page.

    Raises:
        InputError: There is no such folder, heading or table.
    """
    lines = [*takewhile(_is_row, dropwhile(lambda line: not _is_row(line), _section(root, folder, heading)))]
    if not lines:
        raise InputError(f"{folder}/{PAGE} has no table{_below(heading)}.")
    return "\n".join(lines)


def headline(root: Path, folder: str, heading: str = "") -> str:
    """Returns what stands right above the first table below a heading: what the table says.

    Args:
        root: Of the repository.
        folder: With a page.
        heading: As :func:`table` takes it.

    Raises:
        InputError: There is no such folder or heading, or nothing is said there.
    """
    above = [*takewhile(lambda line: not _is_row(line), _section(root, folder, heading))]
    words = [line for line in above if line and not line.startswith(("#", ">"))]
    if not words:
        raise InputError(f"{folder}/{PAGE} says nothing{_below(heading)}.")
    return words[-1]


def plot(root: Path, folder: str, name: str, title: str) -> str:
    """Returns a plot that links to its folder's page.

    Args:
        root: Of the repository.
        folder: With a page.
        name: Of the plot's file, without its suffix.
        title: What stands in its place where no picture is shown.

    Raises:
        InputError: There is no such folder or plot.
    """
    _page(root, folder)
    file = f"{folder}/plots/{name}.png"
    if not (root / file).is_file():
        there = ", ".join(sorted(path.stem for path in (root / folder / "plots").glob("*.png"))) or "none"
        raise InputError(f"there is no {file} (plots there: {there}).")
    return f"[![{title}]({file})]({folder}/{PAGE})"


def harness(root: Path, folder: str) -> str:
    """Returns the rows of a harness page that have a target, without the figures behind the ratios.

    What was measured more than once is shown as it was measured last.

    Args:
        root: Of the repository.
        folder: With the page.

    Raises:
        InputError: There is no such folder, or no row with a target.
    """
    found: dict[tuple[str, str], list[str]] = {}
    header: list[str] = []
    for line in filter(_is_row, _page(root, folder)):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "benchmark":
            header = cells
        elif header and cells[header.index("target")]:
            subject = cells[header.index("measured")].partition(";")[0]  # behind it stands how often
            found[cells[0], subject] = cells[:-1]
    rows = [row for row in found.values() if not row[0].startswith(":")]
    if not rows:
        raise InputError(f"{folder}/{PAGE} has no row with a target.")
    shown = header[:-1]
    align = ["right" if name in {"median", "lowest .. highest"} else "left" for name in shown]
    return tabulate(rows, headers=shown, tablefmt="pipe", colalign=align, disable_numparse=True)


def _page(root: Path, folder: str) -> list[str]:
    """Returns the lines of a folder's page.

    Raises:
        InputError: There is none.
    """
    try:
        return (root / folder / PAGE).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"cannot read {folder}/{PAGE}: {error.strerror}. Name a folder of results/.") from error


def _section(root: Path, folder: str, heading: str) -> list[str]:
    """Returns the lines below a heading of the second level, up to the next one; all of the page for none.

    Raises:
        InputError: There is no such heading.
    """
    lines = _page(root, folder)
    if not heading:
        return lines
    if f"## {heading}" not in lines:
        known = ", ".join(repr(line[3:]) for line in lines if line.startswith("## "))
        raise InputError(f"{folder}/{PAGE} has no heading {heading!r} (it has: {known}).")
    return [*takewhile(lambda line: not re.match("##? ", line), lines[lines.index(f"## {heading}") + 1 :])]


def _is_row(line: str) -> bool:
    """Says whether a line is one of a table."""
    return line.startswith("|")


def _below(heading: str) -> str:
    """Says where nothing was found."""
    return f" below {heading!r}" if heading else ""
