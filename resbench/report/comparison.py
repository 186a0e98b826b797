"""What a comparison of two results folders found, and how it reads in a terminal, in Markdown and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from resbench.report.numbers import MISSING, percent, significant
from resbench.report.tables import Cell, Table, markdown

if TYPE_CHECKING:
    from rich.table import Table as RichTable

REGRESSIONS = ("worse", "new failure")
"""The verdicts that make a comparison fail."""


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

    def to_rich(self) -> RichTable:
        """Renders the rows for a terminal, regressions in red."""
        from rich.table import Table as RichTable
        from rich.text import Text

        styles = {
            "worse": "bold red",
            "new failure": "bold red",
            "better": "green",
            "not comparable": "yellow",
        }
        table = self.table()
        rendered = RichTable()
        for index, header in enumerate(table.headers):
            rendered.add_column(header, justify="left" if index in table.text_columns else "right")
        for cells_of_row, row in zip(table.rows, self.rows, strict=True):
            rendered.add_row(*(Text(cell.text, style=styles.get(row.verdict, "")) for cell in cells_of_row))
        return rendered


def _numbers(row: ComparisonRow) -> list[str]:
    """Formats base, new, change and p."""

    def write(value: float | None) -> str:
        return percent(value / 100 if value is not None else None) if row.points else significant(value)

    change = MISSING
    if row.change is not None:
        change = f"{row.change:+.2f} points" if row.points else f"{100 * row.change:+.1f} %"
    p = MISSING if row.p is None else "<0.001" if row.p < 0.001 else f"{row.p:.3f}"
    return [write(row.base), write(row.new), change, p]
