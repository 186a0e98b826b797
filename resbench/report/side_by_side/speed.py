"""Speed, memory and time of several folders beside each other: two machines on purpose, and marked as such."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from resbench.compare.cells import MeasuredCell
from resbench.compare.metrics import Metric, noise_floors
from resbench.report.numbers import MISSING, duration_with, names, significant, with_deviation
from resbench.report.side_by_side.accuracy import suspects
from resbench.report.side_by_side.gather import QUANTITIES, TIME, Alike, Row, SideBySide, unlike_machines
from resbench.report.tables import Cell, Table
from resbench.stats import mean, standard_deviation

UNLIKE = "§"
"""Marks a ratio of two machines, or of two settings of one."""

SPEED = tuple(name for name in QUANTITIES if name != "accuracy")
"""The names of what is compared only on one machine."""


def speed_table(found: SideBySide, one: Alike, title: str, quantities: Collection[str] = SPEED) -> Table | None:
    """Shows speed, memory and time by folder, with each one's ratio to the first; ``None`` where nothing was measured.

    A ratio across machines, or across engine settings, is marked: it is not the network's difference alone.

    Args:
        found: All folders.
        one: Rows that were trained alike.
        title: Of the set.
        quantities: Names of :data:`SPEED`.
    """
    called = [folder.name for folder in found.folders]
    first, *others = one.folders
    headers = ["quantity", "model", *(called[place] for place in one.folders)]
    headers += [f"{called[place]} / {called[first]}" for place in others]
    rows = []
    for name in SPEED:
        for row in one.rows if name in quantities else ():
            means = {place: mean(cell.values(QUANTITIES[name])) for place, cell in row.cells.items()}
            if any(value is not None for value in means.values()):
                cells = [figure_cell(QUANTITIES[name], row.cells.get(place)) for place in one.folders]
                rows.append([Cell(QUANTITIES[name].name), Cell(row.label), *cells])
                rows[-1] += [_ratio(row, first, place, means) for place in others]
    notes = [*_unlike_notes(one, called), *_floor_notes(found, one), *suspects(one, called)]
    return Table(title, headers, rows, notes, frozenset({0, 1})) if rows else None


def figure_cell(metric: Metric, cell: MeasuredCell | None) -> Cell:
    """Writes a figure of speed, memory or time: mean ± standard deviation over the seeds."""
    values = cell.values(metric) if cell is not None else []
    write = duration_with if metric is TIME else with_deviation
    return Cell(write(mean(values), standard_deviation(values)), order=mean(values))


def _ratio(row: Row, first: int, place: int, means: dict[int, float | None]) -> Cell:
    """Writes a folder's figure over the first folder's, and marks it where the machines differ."""
    base, value = means.get(first), means.get(place)
    if not base or value is None:
        return Cell(MISSING)
    mark = f" {UNLIKE}" if unlike_machines(row.cells[first], row.cells[place]) else ""
    return Cell(f"{significant(value / base, 3)}{mark}", order=value / base)


def _unlike_notes(one: Alike, called: list[str]) -> Iterator[str]:
    """Says what else than the folder differs between two figures, by folder."""
    first, *others = one.folders
    for place in others:
        why: dict[str, list[str]] = {}
        both = [row for row in one.rows if first in row.cells and place in row.cells]
        for row in both:
            if words := unlike_machines(row.cells[first], row.cells[place]):
                why.setdefault(words, []).append(row.label)
        for words, labels in why.items():
            which = "" if len(labels) == len(both) else f" ({names(labels)})"
            yield (
                f"{UNLIKE} {called[place]} / {called[first]}{which}: machines or settings differ, so the ratio is not "
                f"the networks' difference: {words}."
            )


def _floor_notes(found: SideBySide, one: Alike) -> Iterator[str]:
    """Says how far the same trial was from itself, where that was measured."""
    floors = noise_floors(*(found.folders[place].results for place in one.folders))
    known = {metric.name: floors[metric.source] for metric in QUANTITIES.values() if metric.source in floors}
    if known:
        told = ", ".join(f"{name} {100 * floor:.1f} %" for name, floor in known.items())
        yield f"Noise floor, the same trial measured again: {told}. A ratio nearer to 1 says nothing."
