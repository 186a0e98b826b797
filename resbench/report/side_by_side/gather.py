"""The cells of several results folders, put together by what they share: what may be compared, and what may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from resbench.compare.cells import LEARNING, SPEED, MeasuredCell, differing, explain, mixed, read_cells
from resbench.compare.matching import PLANNED, pair_cells
from resbench.compare.metrics import METRICS, Metric
from resbench.report.groups import describe
from resbench.report.side_by_side.folders import Folder

TIME = Metric("train time", "train_clock_s", "throughput", higher_is_better=False)
"""The train clock; ``compare`` leaves it out, for it is throughput once more, but here it tells what a run takes."""

QUANTITIES = {
    "accuracy": METRICS[0],
    "throughput": METRICS[1],
    "inference": METRICS[2],
    "latency": METRICS[3],
    "step": METRICS[4],
    "memory": METRICS[5],
    "inference_memory": METRICS[6],
    "time": TIME,
}
"""What is shown, by what a command calls it."""

ACCURACY = QUANTITIES["accuracy"]

_MODEL = ("model", "weights")
_OF_A_SET = tuple(column for column in PLANNED if column not in _MODEL)
"""What the rows of one table share, as far as every trial knows it."""
_FOUND = ("tf32", "compiled", "compile_mode")
"""What they share that only a trial which ran knows."""


@dataclass(frozen=True, eq=False)
class Row:
    """One model under one learning, in one folder or more."""

    cells: dict[int, MeasuredCell]
    """By the place of the folder; at most one of each."""

    @property
    def telling(self) -> MeasuredCell:
        """The first cell that ran, or the first."""
        return next((cell for cell in self.cells.values() if cell.ok_seeds), next(iter(self.cells.values())))

    @property
    def label(self) -> str:
        """What to call the model."""
        return self.telling.model


@dataclass(frozen=True, eq=False)
class Alike:
    """Rows whose accuracies may be compared across folders: one recipe, one budget, the same data."""

    rows: list[Row] = field(default_factory=list)

    @property
    def folders(self) -> list[int]:
        """The places of the folders that have a row, ascending; the first is what the others are held against."""
        return sorted({place for row in self.rows for place in row.cells})


@dataclass(frozen=True, eq=False)
class Lone:
    """A cell that cannot be compared with that of another folder."""

    folder: int
    cell: MeasuredCell
    likest: int | None
    """The place of the folder whose cell of the same model is the likest; ``None`` for the first of its model."""
    why: str
    """In what it differs from that; empty where it does not."""


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Everything that folders hold, as far as it may be compared."""

    folders: list[Folder]
    alike: list[Alike]
    titles: list[str]
    """Of ``alike``: in what each differs from the others; of a single one nothing."""
    lone: list[Lone]
    """Model by model, in the order of the folders."""
    rows: list[Row]
    """All of them: those of ``alike`` and those of one folder."""

    @property
    def measured(self) -> bool:
        """Whether any trial of any folder ended ``ok``."""
        return any(cell.ok_seeds for row in self.rows for cell in row.cells.values())


def gather(folders: Sequence[Folder]) -> SideBySide:
    """Puts the cells of folders together.

    Args:
        folders: Two or more.
    """
    rows: list[Row] = []
    for place, folder in enumerate(folders):
        _join(rows, place, read_cells(folder.results.trials, [*QUANTITIES.values()], folder.results.hits))
    alike: list[Alike] = []
    for row in rows:
        if len(row.cells) > 1:
            _place(row, alike)
    for row in rows:  # a model that one folder lacks stands in a table of its kind, where there is one
        if len(row.cells) == 1 and not _has_likeness(row, rows):
            _place(row, alike, only_where_there_is_one=True)
    in_tables = {id(row) for one in alike for row in one.rows}
    lone = _lone(rows, in_tables)
    return SideBySide([*folders], alike, _titles(alike), lone, rows)


def _join(rows: list[Row], place: int, cells: list[MeasuredCell]) -> None:
    """Adds a folder's cells to the rows whose learning they share; the others begin rows of their own."""
    known = [row.telling for row in rows]
    pairs, left_over = pair_cells(known, cells)
    joined = {id(cell) for index, cell in pairs.items() if not differing(known[index], cell, LEARNING)}
    for index, cell in pairs.items():
        if id(cell) in joined:
            rows[index].cells[place] = cell
    apart = {id(cell) for cell in (*pairs.values(), *left_over)} - joined
    rows += [Row({place: cell}) for cell in cells if id(cell) in apart]


def _place(row: Row, alike: list[Alike], *, only_where_there_is_one: bool = False) -> None:
    """Puts a row into the first set that shares all but the model, or opens one."""
    for one in alike:
        known = one.rows[0].telling
        found = _FOUND if row.telling.ok_seeds and known.ok_seeds else ()
        if only_where_there_is_one and not row.cells.keys() <= set(one.folders):
            continue
        same = all(row.telling.known[column] == known.known[column] for column in (*_OF_A_SET, *found))
        if same and row.label not in {other.label for other in one.rows}:
            one.rows.append(row)
            return
    if not only_where_there_is_one:
        alike.append(Alike([row]))


def _has_likeness(row: Row, rows: Sequence[Row]) -> bool:
    """Says whether another folder has the same model under another learning."""
    return any(
        other.telling.value("model") == row.telling.value("model") and other.cells.keys() - row.cells.keys()
        for other in rows
        if other is not row
    )


def _lone(rows: Sequence[Row], in_tables: set[int]) -> list[Lone]:
    """Returns the cells of rows that stand in no table, and of the same models what other folders have instead."""
    found: list[Lone] = []
    models = dict.fromkeys(row.telling.value("model") for row in rows if id(row) not in in_tables)
    for model in models:
        of_model = [row for row in rows if row.telling.value("model") == model]
        everywhere = {place for row in of_model for place in row.cells}
        listed: list[tuple[int, MeasuredCell]] = []
        for row in of_model:
            if id(row) not in in_tables:
                listed += row.cells.items()
            elif row.cells.keys() != everywhere:  # its table has it; here it is what the others differ from
                listed.append(min(row.cells.items(), key=lambda each: each[0]))
        earlier: list[tuple[int, MeasuredCell]] = []
        for place, cell in sorted(listed, key=lambda each: each[0]):
            likest = min(earlier, key=lambda other: len(differing(other[1], cell, LEARNING)), default=None)
            why = unlike_learning(likest[1], cell) if likest is not None else ""
            found.append(Lone(place, cell, None if likest is None else likest[0], why))
            earlier.append((place, cell))
    return found


def _titles(alike: Sequence[Alike]) -> list[str]:
    """Names in each set the settings in which the sets differ."""
    known = [one.rows[0].telling for one in alike]
    differing_columns = [column for column in (*_OF_A_SET, *_FOUND) if len({cell.known[column] for cell in known}) > 1]
    return [", ".join(describe(column, cell.value(column)) for column in differing_columns) for cell in known]


_IMPLIED = {"dataset_fingerprint": "dataset", "micro_batch_size": "batch_size", "compile_mode": "compiled"}
"""What goes without saying where something else differs."""


def unlike_learning(base: MeasuredCell, cell: MeasuredCell) -> str:
    """Names what differs between two cells' learning; empty where accuracies may be compared."""
    columns = differing(base, cell, LEARNING)
    return explain(base, cell, [column for column in columns if _IMPLIED.get(column) not in columns])


def unlike_machines(base: MeasuredCell, cell: MeasuredCell) -> str:
    """Names what differs between two cells' machines and engines; empty where speed may be compared."""
    return explain(base, cell, differing(base, cell, SPEED) or mixed(base, cell))
