"""What a comparison of two results folders found, and how it reads in a terminal, in Markdown and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from resbench.report.formats import markdown
from resbench.report.groups import MOST_SHOWN
from resbench.report.numbers import MISSING, count, percent, significant
from resbench.report.tables import Cell, Table

if TYPE_CHECKING:
    from rich.console import Group as RichGroup
    from rich.console import RenderableType

VERDICTS = ("worse", "new failure", "better", "same", "not decided", "not comparable")
"""What a row can say, in the order in which a summary counts them."""

REGRESSIONS = ("worse", "new failure")
"""The verdicts that make a comparison fail."""

_VERDICT_STYLES = {"worse": "bold red", "new failure": "bold red", "better": "green"} | dict.fromkeys(
    ["not decided", "not comparable"], "yellow"
)


@dataclass(frozen=True)
class ComparisonRow:
    """What became of one metric of one cell."""

    model: str
    cell: str
    """The rest of the cell's identity, in words."""
    metric: str
    verdict: str
    """One of :data:`VERDICTS`."""
    base: float | None = None
    """The mean over the base's seeds, in the metric's unit."""
    new: float | None = None
    change: float | None = None
    """New less base: points for an accuracy, a fraction of the base for the others."""
    p: float | None = None
    """That the difference is chance; ``None`` where neither seeds nor A/A measurements leave anything to test with."""
    points: bool = False
    """Whether the metric is an accuracy: values in percent, change in points."""
    notes: tuple[str, ...] = ()
    """What a reader of the verdict must know."""
    test: str | None = None
    """What gave p: ``moderated t``, ``Student`` (no A/A), or with one seed a side ``assumed deviation`` or ``A/A``."""
    limit: float | None = None
    """What the change must exceed to count, in its own unit."""
    limit_from: str | None = None
    """Where the limit comes from: ``threshold`` or ``noise floor``."""

    @property
    def note(self) -> str:
        """The notes as one text."""
        return "; ".join(self.notes)


@dataclass(frozen=True)
class Comparison:
    """All rows of a comparison, in the order of the base's cells."""

    rows: list[ComparisonRow]
    significance: float = 0.05
    """The p below which a difference is not called chance."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """By kind of metric: points for ``accuracy``, fractions for the others."""
    noise_floors: dict[str, float] = field(default_factory=dict)
    """By column: the larger of the folders' measured ones, as a fraction."""

    @property
    def exit_code(self) -> int:
        """0 where all is well, 1 where something got worse or newly fails, 4 where nothing was comparable."""
        verdicts = {row.verdict for row in self.rows}
        if verdicts & set(REGRESSIONS):
            return 1
        return 0 if verdicts & {"better", "same", "not decided"} else 4

    @property
    def counts(self) -> dict[str, int]:
        """How many rows there are of each verdict."""
        found = Counter(row.verdict for row in self.rows)
        return {verdict: found[verdict] for verdict in VERDICTS}

    @property
    def tests(self) -> int:
        """How many tests of significance were made."""
        return sum(row.p is not None for row in self.rows)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns the rows as JSON types."""
        return [{**asdict(row), "notes": list(row.notes)} for row in self.rows]

    def to_json(self) -> dict[str, Any]:
        """Returns everything as JSON types."""
        return {
            "exit_code": self.exit_code,
            "verdicts": self.counts,
            "tests": self.tests,
            "significance": self.significance,
            "thresholds": self.thresholds,
            "noise_floors": self.noise_floors,
            "rows": self.to_dicts(),
        }

    def summary(self) -> list[str]:
        """Returns sentences that belong below the rows: how many there are of what, and what the verdicts rest on."""
        found = ", ".join(f"{number:,} {verdict}" for verdict, number in self.counts.items() if number)
        sentences = [f"{count(len(self.rows), 'row')}: {found or 'nothing to compare'}."]
        if accuracies := sum(row.p is not None and row.points for row in self.rows):
            expected = self.significance * accuracies
            by_chance = f"about {expected:,.0f}" if expected >= 1 else "less than one"
            sentences.append(
                f"{count(accuracies, 'test')} of accuracy at p < {self.significance:g}: {by_chance} would pass by "
                "chance, so a verdict needs a change above its limit as well."
            )
        if speeds := self.tests - accuracies:
            sentences.append(
                f"{count(speeds, 'test')} of speed and memory, corrected for their number: unchanged code is called "
                "worse in any of them in less than 5 % of comparisons."
            )
        if self.noise_floors:
            floors = ", ".join(f"{column} {100 * floor:.1f} %" for column, floor in self.noise_floors.items())
            sentences.append(f"Noise floor, the largest difference of the same trial, measured again: {floors}.")
        elif any(row.limit is not None and not row.points for row in self.rows):
            sentences.append(
                "Neither folder holds a noise floor: with one seed a side no change of speed or memory is decided."
            )
        return sentences

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
        return Table("", headers, rows, self.summary(), text_columns=frozenset({0, 1, 2, 7, 8}))

    def to_markdown(self) -> str:
        """Renders the rows as a Markdown table, regressions in bold."""
        return markdown(self.table())

    def to_rich(self) -> RichGroup:
        """Renders the rows for a terminal: a table for each cell, its notes below it, regressions in red.

        Of many cells those in which all is the same are counted and not shown; Markdown and JSON have them.
        """
        from rich.console import Group as RichGroup
        from rich.text import Text

        cells = [(names, list(rows)) for names, rows in groupby(self.rows, key=lambda row: (row.model, row.cell))]
        shown = cells
        if len(cells) > MOST_SHOWN:
            shown = [(names, rows) for names, rows in cells if any(row.verdict != "same" for row in rows)]
        parts = [part for names, rows in shown for part in _cell_parts(*names, rows)]
        alike = len(cells) - len(shown)
        left_out = [Text(f"Not shown: {count(alike, 'cell')} in which everything is the same.")] if alike else []
        return RichGroup(*parts, *left_out, *(Text(sentence) for sentence in self.summary()))


def _cell_parts(model: str, cell: str, rows: list[ComparisonRow]) -> list[RenderableType]:
    """Returns one cell's table for a terminal, and its notes."""
    from rich.table import Table as RichTable
    from rich.text import Text

    title = Text.assemble((model, "bold"), f"  {cell}")
    if [row.metric for row in rows] == ["all"]:
        verdict = (rows[0].verdict, _VERDICT_STYLES.get(rows[0].verdict, ""))
        return [title, Text.assemble("  ", verdict, f": {rows[0].note}"), Text("")]
    table = RichTable(box=None, header_style="dim")
    table.add_column("metric", no_wrap=True)
    for header in ("base", "new", "change", "p"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in rows:
        style = _VERDICT_STYLES.get(row.verdict, "")
        table.add_row(*(Text(text, style=style) for text in (row.metric, *_numbers(row), row.verdict)))
    return [title, table, *(Text(f"  {note}", style="dim") for note in _shared_notes(rows)), Text("")]


def _shared_notes(rows: list[ComparisonRow]) -> Iterable[str]:
    """Yields each note of a cell's rows once, with the metrics that it is about where it is not about all."""
    about: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            about.setdefault(note, []).append(row.metric)
    for note, metrics in about.items():
        yield note if len(metrics) == len(rows) else f"{', '.join(metrics)}: {note}"


def _numbers(row: ComparisonRow) -> list[str]:
    """Formats base, new, change and p."""

    def write(value: float | None) -> str:
        return percent(value / 100 if value is not None else None) if row.points else significant(value)

    change = MISSING
    if row.change is not None:
        change = f"{row.change:+.2f} points" if row.points else f"{100 * row.change:+.1f} %"
    p = MISSING if row.p is None else "<0.001" if row.p < 0.001 else f"{row.p:.3f}"
    return [write(row.base), write(row.new), change, p]
