"""The comparison tables of a results folder as text to paste: Markdown, LaTeX or CSV, and nothing else."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from resbench.errors import InputError, NothingMeasuredError, unknown
from resbench.report.columns import ACCURACY, COLUMNS, HEADERS, INTERVAL, STATUS, TIER, parse_columns
from resbench.report.formats import markdown
from resbench.report.groups import Group, groups_of, slug_of
from resbench.report.headline import headline
from resbench.report.latex import latex
from resbench.report.numbers import escape, present
from resbench.report.profiles import profile_page_table, profile_sets
from resbench.report.tables import Cell, Table, comparison_table
from resbench.untrusted import printable

if TYPE_CHECKING:
    from resbench.store import Results

FORMATS = ("markdown", "latex", "csv")
"""What ``resbench report --format`` accepts."""

_BESIDE_ACCURACY = [("standard deviation (points)", "test_accuracy_sd", 100.0), ("seeds", "n", 1.0)]
_SPREAD = {
    INTERVAL: [(f"{HEADERS[INTERVAL]}, half width (points)", "test_accuracy_ci95", 100.0)],
    TIER: [(HEADERS[TIER], "tier", 1.0)],
    STATUS: [("ok", "ok", 1.0), ("planned", "planned", 1.0)],
}
"""Of the columns without a figure of their own: header, column of ``summary.csv``, and what that is multiplied by."""
_GROUPED = re.compile(r"-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")
"""A number with thousands separators."""

_PROFILE = "What networks cost before any training"


def check_format(given: str) -> str:
    """Returns the name of a format.

    Raises:
        InputError: There is none of that name.
    """
    if given not in FORMATS:
        raise unknown("format", given, FORMATS)
    return given


def printed_report(results: Results, form: str, columns: str | None = None) -> str:
    """Returns the comparison tables of a folder, one for each set of trials that may be compared.

    Markdown and LaTeX have the cells of the page. CSV has plain numbers in the units of its header, in one table, whose
    first column says which of several a row is of.

    Args:
        results: What the folder holds.
        form: One of :data:`FORMATS`.
        columns: Names of columns, with commas between them; by default all that say something.

    Raises:
        InputError: There is no such format or column, or columns are chosen where only profiles are.
        NothingMeasuredError: No trial ended ``ok``.
    """
    check_format(form)
    chosen = None if columns is None else parse_columns(columns)
    suites = dict.fromkeys(suite["suite"]["name"] for suite in results.suites if "suite" in suite)
    label = "-".join(("tab:resbench", *map(slug_of, suites)))
    if results.trials.empty and len(results.profile):
        if chosen is not None:
            raise InputError(f"{str(results.folder)!r} holds profiles and no trials: give no --columns.")
        tables = [profile_page_table(found) for found in profile_sets(results.profile)]
        return printed_tables(tables, [f"{_PROFILE}: {table.title}." for table in tables], f"{label}-profile", form)
    if not (results.trials["status"] == "ok").any():
        raise NothingMeasuredError(f"no trial in {str(results.folder)!r} ended ok: there is no table to print.")
    groups = groups_of(results)
    if form == "csv":
        return _comparison_csv(groups, chosen)
    tables = [comparison_table(group, columns=chosen) for group in groups]
    return printed_tables(tables, [headline(group) for group in groups], label, form)


def printed_tables(tables: Sequence[Table], captions: Sequence[str], label: str, form: str) -> str:
    """Returns tables one below the other.

    Args:
        tables: What to print; where there are several, each has a title that tells it apart.
        captions: Of each, a sentence for LaTeX.
        label: What their labels in LaTeX begin with.
        form: One of :data:`FORMATS`; in CSV numbers have no thousands separators.
    """
    if form == "csv":
        return "\n".join(_csv([table.headers, *map(_ungrouped, table.rows)]) for table in tables)
    several = len(tables) > 1
    if form == "latex":
        labels = [f"{label}-{slug_of(table.title)}" if several else label for table in tables]
        floats = (latex(*each) for each in zip(tables, captions, labels, strict=True))
        return "\n\n".join(floats) + "\n"
    parts = [f"**{escape(table.title)}**\n\n{markdown(table)}" if several else markdown(table) for table in tables]
    return "\n\n".join(parts) + "\n"


def _comparison_csv(groups: Sequence[Group], columns: Sequence[str] | None) -> str:
    """Returns all groups as one CSV table of plain numbers."""
    found = [column for name in (HEADERS if columns is None else columns) for column in _csv_columns(name)]
    rows = [["table", "model", *(header for header, _, _ in found)]]
    for group in groups:
        rows += [
            [group.title, row["label"], *(_plain(row[source], by) for _, source, by in found)] for row in group.rows
        ]
    return _csv(rows if len(groups) > 1 else [row[1:] for row in rows])


def _csv_columns(name: str) -> list[tuple[str, str, float]]:
    """Returns what a column of the page is in CSV, as :data:`_SPREAD` has it."""
    if name in _SPREAD:
        return _SPREAD[name]
    (column,) = (column for column in COLUMNS if column.name == name)
    figures = [(column.plain_header or column.header, column.source, column.factor)]
    return figures + _BESIDE_ACCURACY if name == ACCURACY else figures


def _ungrouped(row: Sequence[Cell]) -> list[str]:
    """Returns a row's cells, numbers without thousands separators."""
    return [cell.text.replace(",", "") if _GROUPED.fullmatch(cell.text) else cell.text for cell in row]


def _plain(value: Any, factor: float) -> str:
    """Writes a number for a machine, ten digits, or words as they are; nothing where there is no value."""
    if not present(value):
        return ""
    return value if isinstance(value, str) else f"{float(value) * factor:.10g}"


def _csv(rows: Iterable[Sequence[str]]) -> str:
    """Writes rows as CSV; a terminal that shows it obeys nothing in it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([printable(cell) for cell in row] for row in rows)
    return text.getvalue()
