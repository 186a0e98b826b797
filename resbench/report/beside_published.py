"""Test accuracies beside published ones: how they read in a terminal, in Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from resbench.published import Figure, run_to_run_sd
from resbench.report.formats import markdown
from resbench.report.numbers import MISSING, percent
from resbench.report.tables import Cell, Table

if TYPE_CHECKING:
    from rich.console import Group as RichGroup

NO_FIGURE = "no published figure"
NOTHING = "nothing measured"

_STYLES = {"below": "yellow", "above": "bold yellow", "within": "green"}

RUN_TO_RUN = 1.96 * run_to_run_sd() / 100
"""Half the width of the 95 % interval of one run, by the published deviation: most bands are single runs."""

_READ_ME = (
    "Published figures are other recipes on other machines. They say in which region an accuracy should lie; what "
    "differs stands beside each, and no two rows here are like for like.",
    "± is the 95 % interval of the mean over n seeds. The band spans the published figures; what is outside of it by "
    f"less than {100 * RUN_TO_RUN:.2f} points, by which one run can deviate, is within.",
)


@dataclass(frozen=True)
class Beside:
    """One published figure next to a cell."""

    figure: Figure
    differs: tuple[str, ...]
    """How the cell's training was another, in words."""


@dataclass(frozen=True)
class PublishedRow:
    """One cell and what was published of its kind."""

    model: str
    cell: str
    """The rest of the cell's identity, in words."""
    verdict: str
    """``within``, ``below`` or ``above`` the published band, ``no published figure``, or ``nothing measured``."""
    seeds: int
    test_accuracy: float | None
    """Mean over the seeds, a fraction."""
    ci95: float | None
    """Half the width of its 95 % interval; ``None`` for fewer than two seeds."""
    beside: tuple[Beside, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def band(self) -> tuple[float, float] | None:
        """The lowest and the highest published accuracy, fractions."""
        known = [accuracy for one in self.beside for accuracy in one.figure.accuracies]
        return (min(known), max(known)) if known else None


@dataclass(frozen=True)
class PublishedComparison:
    """All cells of a folder, in the order in which they were planned."""

    rows: list[PublishedRow]

    @property
    def exit_code(self) -> int:
        """0, or 4 where no cell has a published figure beside it: to lie outside of a band is no regression."""
        return 0 if any(row.verdict in _STYLES for row in self.rows) else 4

    def to_json(self) -> dict[str, Any]:
        """Returns everything as JSON types."""
        rows = [{**asdict(row), "band": list(row.band) if row.band else None} for row in self.rows]
        return {"exit_code": self.exit_code, "rows": rows}

    def sources(self) -> list[str]:
        """Returns the sources of the figures that are shown, each with its address where it has one."""
        shown = dict.fromkeys((one.figure.source, one.figure.address) for row in self.rows for one in row.beside)
        return [f"{source}: {address}" if address else source for source, address in shown]

    def table(self) -> Table:
        """Returns a line for each cell and published figure, formatted and not yet rendered."""
        headers = ["model", "cell", "test accuracy (%)", "verdict", "published (%)", "epochs", "recipe", "from"]
        rows = [
            [
                Cell(text, best=index == 3 and row.verdict == "above")
                for index, text in enumerate((row.model, row.cell, _accuracy(row), row.verdict, *line))
            ]
            for row in self.rows
            for line in _lines(row)
        ]
        for cells, line in zip(rows, (line for row in self.rows for line in _differences(row)), strict=True):
            cells.append(Cell(line))
        notes = [*_READ_ME, *(f"From {source}" for source in self.sources())]
        return Table("", [*headers, "what differs"], rows, notes, frozenset({0, 1, 3, 6, 7, 8}))

    def to_markdown(self) -> str:
        """Renders the rows as a Markdown table."""
        return markdown(self.table())

    def to_rich(self) -> RichGroup:
        """Renders the rows for a terminal: each cell's accuracy and band, the figures below it with what differs."""
        from rich.console import Group as RichGroup
        from rich.table import Table as RichTable
        from rich.text import Text

        parts: list[Any] = []
        for row in self.rows:
            band = row.band
            against = f" the published {' to '.join(dict.fromkeys(map(percent, band)))}" if band else ""
            verdict = f"{row.verdict}{against if row.verdict in _STYLES else ''}"
            parts.append(Text.assemble((row.model, "bold"), f"  {row.cell}"))
            parts.append(
                Text.assemble(f"  test accuracy {_accuracy(row)} %: ", (verdict, _STYLES.get(row.verdict, "")))
            )
            table = RichTable(box=None, header_style="dim", padding=(0, 2, 0, 2), show_header=bool(row.beside))
            for header in ("published (%)", "epochs"):
                table.add_column(header, justify="right", no_wrap=True)
            for header in ("recipe", "from", "what differs"):
                table.add_column(header)
            for line, differs in zip(_lines(row), _differences(row), strict=True):
                table.add_row(*map(Text, (*line, differs)))
            parts += [table] if row.beside else []
            parts += [*(Text(f"  {note}", style="dim") for note in row.notes), Text("")]
        notes = [*_READ_ME, *(f"From {source}" for source in self.sources())]
        return RichGroup(*parts, *(Text(note, style="dim") for note in notes))


def _accuracy(row: PublishedRow) -> str:
    """Writes a cell's mean accuracy in percent, with its interval where there is one."""
    if row.test_accuracy is None:
        return MISSING
    spread = f" ± {percent(row.ci95)} (n={row.seeds})" if row.ci95 is not None else ""
    return percent(row.test_accuracy) + spread


def _lines(row: PublishedRow) -> Iterator[tuple[str, str, str, str]]:
    """Yields what was published, a line a figure; one empty line where there is none."""
    for figure in (one.figure for one in row.beside):
        runs = " / ".join(percent(accuracy) for accuracy in figure.accuracies)
        yield runs, str(figure.epochs), figure.recipe, figure.source
    if not row.beside:
        yield (MISSING,) * 4


def _differences(row: PublishedRow) -> Iterator[str]:
    """Yields what differs from each figure, in the order of :func:`_lines`, with the cell's own notes at its first."""
    first = row.notes
    for one in row.beside:
        yield "; ".join((*one.differs, *first))
        first = ()
    if not row.beside:
        yield "; ".join(row.notes) or MISSING
