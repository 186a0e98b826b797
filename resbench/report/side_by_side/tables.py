"""What the folders are, and what of them is shown and not compared."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from resbench.report.details import run_table
from resbench.report.numbers import MISSING
from resbench.report.side_by_side.accuracy import accuracy_cell
from resbench.report.side_by_side.folders import Folder
from resbench.report.side_by_side.gather import QUANTITIES, Lone, SideBySide
from resbench.report.side_by_side.speed import figure_cell
from resbench.report.tables import Cell, Table

BESIDE = ("accuracy", "throughput", "latency", "memory", "time")
"""What is shown of cells that are not compared."""


def folder_table(folders: Sequence[Folder]) -> Table:
    """Says what each folder is, a column each; what is not the same in all is marked.

    Args:
        folders: Side by side.
    """
    told: list[dict[str, str]] = []
    for folder in folders:
        trials = folder.results.trials
        ok = int((trials["status"] == "ok").sum())
        about = {row[0].text: row[1].text for row in run_table(folder.results).rows}
        told.append({"trials ok": f"{ok:,} of {len(trials):,}", **about})
    whats = dict.fromkeys(what for words in told for what in words)
    rows = []
    for what in whats:
        values = [words.get(what, MISSING) for words in told]
        rows.append([Cell(what), *(Cell(value, best=len(set(values)) > 1) for value in values)])
    notes = ["Bold: not the same in all."]
    return Table("", ["what", *(folder.name for folder in folders)], rows, notes, frozenset(range(1 + len(folders))))


def beside_table(found: SideBySide, quantities: Collection[str] = BESIDE) -> Table | None:
    """Shows what may not be compared, with what differs; ``None`` where there is no such thing.

    Args:
        found: All folders.
        quantities: Names of :data:`~resbench.report.side_by_side.gather.QUANTITIES`.
    """
    if not found.lone:
        return None
    shown = [name for name in QUANTITIES if name in quantities]
    headers = ["model", "folder", *(QUANTITIES[name].name for name in shown), "what differs"]
    rows = []
    for lone in found.lone:
        cells = [Cell(lone.cell.model), Cell(found.folders[lone.folder].name)]
        for name in shown:
            cells.append(accuracy_cell(lone.cell) if name == "accuracy" else figure_cell(QUANTITIES[name], lone.cell))
        cells.append(Cell(_what_differs(found, lone)))
        rows.append(cells)
    notes = ["Not compared: what two of these rows differ by is not the network's, and not the machine's alone."]
    return Table("", headers, rows, notes, frozenset({0, 1, len(headers) - 1}))


def _what_differs(found: SideBySide, lone: Lone) -> str:
    """Says how a cell differs from the likest of its model, or that there is no other."""
    if lone.likest is not None:
        other = found.folders[lone.likest].name
        return f"{lone.why} (against {other})" if lone.why else f"nothing (against {other})"
    of_model = [other for other in found.lone if other.cell.value("model") == lone.cell.value("model")]
    return MISSING if len(of_model) > 1 else f"only in {found.folders[lone.folder].name}: {lone.cell.words}"
