"""What a comparison of two results folders found, and how it reads in a terminal, in Markdown and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from resbench.report.numbers import MISSING, percent, significant
from resbench.report.tables import Cell, Table, markdown

if TYPE_CHECKING:
    from rich.console import Group as RichGroup
    from rich.console import RenderableType

REGRESSIONS = ("worse", "new failure")
"""The verdicts that make a comparison fail."""

_VERDICT_STYLES = {"worse": "bold red", "new failure": "bold red", "better": "green", "not comparable": "yellow"}


@dataclass(frozen=True)
class ComparisonRow:
    """What became of one metric of one cell."""

    model: str
    cell: str
    """The rest of the cell's identity, in words."""
    metric: str
    verdict: str
    """``better``, ``worse``, ``same``, ``not comparable`` or ``new failure``."""
    base: float | None = None
    """The mean over the base's seeds, in the metric's unit."""
    new: float | None = None
    change: float | None = None
    """New less base: points for an accuracy, a fraction of the base for the others."""
    p: float | None = None
    """Of Welch's t-test; ``None`` where a side has one seed."""
    points: bool = False
    """Whether the metric is an accuracy: values in percent, change in points."""
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """All rows of a comparison, in the order of the base's cells."""

    rows: list[ComparisonRow]

    @property
    def exit_code(self) -> int:
        """0 where all is well, 1 where something got worse or newly fails, 4 where nothing was comparable."""
        verdicts = {row.verdict for row in self.rows}
        if verdicts & set(REGRESSIONS):
            return 1
        return 0 if verdicts & {"better", "same"} else 4

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns the rows as JSON types."""
        return [asdict(row) for row in self.rows]

    def table(self) -> Table:
        """Returns the rows as a table that is formatted and not yet rendered."""
        headers = ["model", "cell", "metric", "base", "new", "change", "p", "verdict", "note"]
        rows = [
            [
                *(Cell(text) for text in (row.model, row.cell, row.metric)),
                *(Cell(text) for text in _numbers(row)),
                Cell(row.verdict, best=row.verdict in REGRESSIONS),
                Cell(row.note),
            ]
            for row in self.rows
        ]
        return Table("", headers, rows, text_columns=frozenset({0, 1, 2, 7, 8}))

    def to_markdown(self) -> str:
        """Renders the rows as a Markdown table, regressions in bold."""
        return markdown(self.table())

    def to_rich(self) -> RichGroup:
        """Renders the rows for a terminal: a table for each cell, its notes below it, regressions in red."""
        from rich.console import Group as RichGroup

        cells = groupby(self.rows, key=lambda row: (row.model, row.cell))
        return RichGroup(*(part for names, rows in cells for part in _cell_parts(*names, list(rows))))


def _cell_parts(model: str, cell: str, rows: list[ComparisonRow]) -> list[RenderableType]:
    """Returns one cell's table for a terminal, and its notes."""
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(
        title=Text.assemble((model, "bold"), f"  {cell}"), title_justify="left", box=None, header_style="dim"
    )
    table.add_column("metric", no_wrap=True)
    for header in ("base", "new", "change", "p"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in rows:
        style = _VERDICT_STYLES.get(row.verdict, "")
        table.add_row(*(Text(text, style=style) for text in (row.metric, *_numbers(row), row.verdict)))
    notes = dict.fromkeys(row.note for row in rows if row.note)
    return [table, *(Text(f"  {note}", style="dim") for note in notes), Text("")]


def _numbers(row: ComparisonRow) -> list[str]:
    """Formats base, new, change and p."""

    def write(value: float | None) -> str:
        return percent(value / 100 if value is not None else None) if row.points else significant(value)

    change = MISSING
    if row.change is not None:
        change = f"{row.change:+.2f} points" if row.points else f"{100 * row.change:+.1f} %"
    p = MISSING if row.p is None else "<0.001" if row.p < 0.001 else f"{row.p:.3f}"
    return [write(row.base), write(row.new), change, p]
