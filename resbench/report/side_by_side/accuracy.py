"""Test accuracies of several folders beside each other, and how far each is from the first folder's."""

from __future__ import annotations

from collections.abc import Iterator

from resbench.compare.cells import MeasuredCell
from resbench.report.notes import SUSPECT
from resbench.report.numbers import MISSING, names, percent
from resbench.report.side_by_side.differences import Difference, differences
from resbench.report.side_by_side.gather import ACCURACY, Alike, SideBySide
from resbench.report.tables import Cell, Table
from resbench.stats import mean, standard_deviation


def accuracy_table(found: SideBySide, one: Alike, title: str) -> Table | None:
    """Compares the test accuracies of one set of rows; ``None`` where fewer than two folders have any.

    Args:
        found: All folders.
        one: Rows whose accuracies may be compared.
        title: Of the set.
    """
    called = [folder.name for folder in found.folders]
    first, *others = one.folders
    measured = {place for row in one.rows for place, cell in row.cells.items() if cell.values(ACCURACY)}
    if len(measured) < 2:
        return None
    told = differences(one)
    headers = ["model", *(f"{called[place]} (%)" for place in one.folders)]
    for place in others:
        headers += [f"{called[place]} minus {called[first]} (points)", f"{called[place]} separated"]
    rows = []
    for index, row in enumerate(one.rows):
        cells = [Cell(row.label), *(accuracy_cell(row.cells.get(place)) for place in one.folders)]
        for place in others:
            cells += _difference(told.get((index, place)))
        rows.append(cells)
    notes = _accuracy_notes(one, told, called)
    text = {0, *(index for index, header in enumerate(headers) if header.endswith(" separated"))}
    return Table(title, headers, rows, [*notes, *_failures(one, called), *suspects(one, called)], frozenset(text))


def accuracy_cell(cell: MeasuredCell | None) -> Cell:
    """Writes a cell's accuracy as pages do: mean, deviation, seeds."""
    values = cell.values(ACCURACY) if cell is not None else []
    if not values or cell is None:
        return Cell(MISSING)
    spread = standard_deviation(values)
    text = percent((mean(values) or 0.0) / 100)
    text += f" ± {percent(spread / 100)}" if spread is not None else ""
    mark = f" {SUSPECT}" if cell.suspicions else ""
    return Cell(f"{text} (n={len(values)}){mark}", order=mean(values))


def _difference(found: Difference | None) -> list[Cell]:
    """Writes a difference with its interval, and whether it is one."""
    if found is None:
        return [Cell(MISSING), Cell(MISSING)]
    interval = f" ± {found.half_width:.2f}" if found.half_width is not None else ""
    p = "one seed" if found.p_holm is None else _p_words(found.p_holm)
    return [
        Cell(f"{found.points:+.2f}{interval}", best=found.separated, order=found.points),
        Cell(f"{'yes' if found.separated else 'no'}, {p}", best=found.separated),
    ]


def _p_words(p: float) -> str:
    """Writes p with three decimals, with four where three would be the 0.050 that decides."""
    if p < 0.001:
        return "p <0.001"
    return f"p {p:.4f}" if f"{p:.3f}" == "0.050" else f"p {p:.3f}"


def _accuracy_notes(one: Alike, told: dict[tuple[int, int], Difference], called: list[str]) -> Iterator[str]:
    """Says what stands in a table of accuracies."""
    tests = sum(each.p is not None for each in told.values())
    yield "Mean test accuracy of the last epoch ± standard deviation over n seeds."
    if tests:
        yield (
            f"Differences: with their 95 % interval, each alone (Welch's t-test, seeds not paired across folders). "
            f"Separated, in bold: p below 0.05 after Holm's correction for {tests} test{'s' if tests != 1 else ''}."
        )
    alone = dict.fromkeys(one.rows[index].label for (index, _), each in told.items() if each.p is None)
    if alone:
        yield f"One seed a side has neither interval nor p, and small gaps mean nothing: {names(list(alone))}."
    said: dict[str, list[str]] = {}
    for (index, place), each in told.items():
        for note in each.notes:
            said.setdefault(note, []).append(f"{one.rows[index].label} in {called[place]}")
    for note, which in said.items():
        yield f"{names(which)}: {note}."


def _failures(one: Alike, called: list[str]) -> Iterator[str]:
    """Says where trials did not end ``ok``."""
    failed = [
        f"{row.label} in {called[place]}: {len(row.cells[place].failures)} ({row.cells[place].endings})"
        for place in one.folders
        for row in one.rows
        if place in row.cells and row.cells[place].failures
    ]
    if failed:
        yield f"Trials that did not end ok enter no mean: {'; '.join(failed)}."


def suspects(one: Alike, called: list[str]) -> Iterator[str]:
    """Names the suspect trials of a set."""
    for place in one.folders:
        for row in one.rows:
            if place in row.cells and row.cells[place].suspicions:
                reasons = "; ".join(dict.fromkeys(row.cells[place].suspicions.values()))
                yield f"{SUSPECT} {row.label} in {called[place]} is suspect: {reasons}."
