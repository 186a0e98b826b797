"""Every figure of several folders as a row, for a spreadsheet or a notebook: ``side_by_side.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from typing import Any

from resbench.compare.cells import LEARNING, MeasuredCell, differing
from resbench.report.side_by_side.gather import QUANTITIES, SideBySide, unlike_learning, unlike_machines
from resbench.stats import mean, standard_deviation, t_half_width
from resbench.untrusted import printable

COLUMNS = ("folder", "model", "cell", "metric", "n", "mean", "sd", "ci95", "comparable", "why_not")
"""Metrics are columns of ``trials.csv`` (``train_clock_s`` is data + step), in their units: accuracies are fractions.
``ci95`` is half the width of the mean's t-interval. ``comparable`` is ``first`` in the first folder; elsewhere ``yes``
or ``no``, with the first folder, and ``why_not`` says what differs."""


def long_csv(found: SideBySide, quantities: Collection[str] = tuple(QUANTITIES)) -> str:
    """Returns the rows as CSV, folder by folder, with a header.

    Args:
        found: All folders.
        quantities: Names of :data:`~resbench.report.side_by_side.gather.QUANTITIES`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place in range(len(found.folders)):
        for row in found.rows:
            if place in row.cells:
                writer.writerows(_rows(found, place, row.cells[place], row.cells.get(0), quantities))
    return text.getvalue()


def _rows(
    found: SideBySide, place: int, cell: MeasuredCell, base: MeasuredCell | None, quantities: Collection[str]
) -> Iterator[list[Any]]:
    """Yields a cell's rows, one a metric."""
    for name, metric in QUANTITIES.items():
        if name in quantities:
            values = [value / metric.scale for value in cell.values(metric)]
            why = "" if place == 0 else _why_not(found, cell, base, accuracy=metric.is_accuracy)
            comparable = "first" if place == 0 else "no" if why else "yes"
            figures = [_plain(figure(values)) for figure in (mean, standard_deviation, t_half_width)]
            head = [found.folders[place].name, cell.model, cell.words, metric.source]
            yield [*map(printable, head), len(values), *figures, comparable, printable(why)]


def _why_not(found: SideBySide, cell: MeasuredCell, base: MeasuredCell | None, *, accuracy: bool) -> str:
    """Says why a figure may not be compared with the first folder's; empty where it may."""
    first = found.folders[0].name
    if base is None:
        of_model = [row.cells[0] for row in found.rows if 0 in row.cells and row.cells[0].model == cell.model]
        likest = min(of_model, key=lambda other: len(differing(other, cell, LEARNING)), default=None)
        return f"not in {first}" if likest is None else unlike_learning(likest, cell)
    if not (base.ok_seeds and cell.ok_seeds):
        return "no ok trial" if not cell.ok_seeds else f"no ok trial in {first}"
    return "" if accuracy else unlike_machines(base, cell)


def _plain(value: float | None) -> str:
    """Writes a number for a machine, ten digits; nothing where there is none."""
    return "" if value is None else f"{value:.10g}"
