"""The tables of a results folder: cells are formatted here, once, for pages, papers and the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal

from resbench.report.columns import ACCURACY, COLUMNS, HEADERS, INTERVAL, STATUS, TIER, TIME, Column
from resbench.report.groups import Group, groups_of, records
from resbench.report.notes import ELSEWHERE, IN_PARTS, SUSPECT, table_notes
from resbench.report.numbers import MISSING, names, percent, present
from resbench.stats import mean, standard_deviation

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from resbench.store import Results

LEDGER = (
    ("build", "build_s"),
    ("profile", "profile_s"),
    ("compile", "compile_s"),
    ("warm-up", "warmup_s"),
    ("data", "data_s"),
    ("step", "step_s"),
    ("eval", "eval_s"),
    ("checkpoint", "checkpoint_s"),
    ("other", "other_s"),
)
"""The parts of a trial's time and their columns; they add up to wall time."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    best: bool = False
    """Whether it is the best of its column."""
    order: float | None = None
    """What a page that sorts goes by, where the text alone would not do."""


@dataclass(frozen=True)
class Table:
    """A table whose cells are formatted and not yet rendered."""

    title: str
    headers: list[str]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)
    """Sentences to print under the table."""
    text_columns: frozenset[int] = frozenset({0})
    """Indices of the columns that align left."""


_LEFT_OUT = tuple(
    HEADERS[name] for name in ("step", "inference", "latency", INTERVAL, "memory", "macs", "params", "throughput")
)
"""What a narrow terminal does without, first to last; the page has all columns."""


def comparison_tables(results: Results, columns: Sequence[str] | None = None) -> list[Table]:
    """Returns one comparison table for each set of trials that may be compared.

    A table has one row a model; a model without an ``ok`` trial has a row that says so.

    Args:
        results: What a results folder holds.
        columns: As :func:`comparison_table` takes them.
    """
    groups = groups_of(results)
    with_spread = any(map(_has_spread, groups))  # in all or in none, for a terminal shows them as one table
    return [comparison_table(group, with_spread=with_spread, columns=columns) for group in groups]


def comparison_table(group: Group, *, with_spread: bool | None = None, columns: Sequence[str] | None = None) -> Table:
    """Returns what each model of a group costs and what it reached, as means over its seeds.

    The best of a column is marked. In accuracy these are all models that the data do not separate from the most
    accurate; where none has a tier, none is best. In speed, time and memory they are all that are within the noise of
    the best; where the noise is not known, none is.

    Args:
        group: The models.
        with_spread: Whether there are columns for interval and tier; by default where a model has two seeds.
        columns: Names of :data:`~resbench.report.columns.HEADERS`, in their order; by default all that say something.
    """
    if columns is None:
        with_spread = _has_spread(group) if with_spread is None else with_spread
        columns = [name for name in HEADERS if with_spread or name not in (INTERVAL, TIER)]
    by_name = {column.name: column for column in COLUMNS}
    parts = [_words(group, name) if name not in by_name else _cells(group, by_name[name]) for name in columns]
    suspect_beside = "" if STATUS in columns else f" {SUSPECT}"
    labels = [Cell(label + (suspect_beside if label in group.doubts else "")) for label in group.labels]
    headers = ["model", *(HEADERS[name] for name in columns)]
    left = {0, *(index for index, name in enumerate(columns, start=1) if name in (TIER, STATUS))}
    rows = [list(row) for row in zip(labels, *parts, strict=True)]
    return Table(group.title, headers, rows, table_notes(group, columns), frozenset(left))


def _words(group: Group, name: str) -> list[Cell]:
    """Returns the cells of a column that has no figure of its own."""
    cells = []
    for row in group.rows:
        if name == INTERVAL:
            cells.append(Cell(_half_width(row), order=_number(row["test_accuracy_ci95"])))
        elif name == TIER:
            cells.append(Cell(_tiers(row["tier"])))
        else:
            mark = f" {SUSPECT}" if row["label"] in group.doubts else ""
            cells.append(Cell(f"{row['ok']}/{row['planned']} ok{mark}"))
    return cells


def _cells(group: Group, column: Column) -> list[Cell]:
    """Returns one column's cells, the best of them marked."""
    labels = group.labels
    values = [record[column.source] for record in group.rows]
    texts = [column.write(value) for value in values]
    if column.name == ACCURACY:
        spreads = (_spread(record) for record in group.rows)
        return [
            Cell(text + spread, best=label in group.top, order=_number(value))
            for label, text, spread, value in zip(labels, texts, spreads, values, strict=True)
        ]
    if not column.measured:
        known = [float(value) for value in values if present(value)]
        best = column.write(column.better(known)) if len(known) > 1 else None
        return [Cell(text, best=text == best, order=_number(value)) for text, value in zip(texts, values, strict=True)]
    best_of = _best(group, column)
    cells = []
    for record, label in zip(group.rows, labels, strict=True):
        value, deviation, mark = record[column.source], record[f"{column.measured}_sd"], ""
        if label in group.elsewhere and not present(value) and len({why for _, why in group.elsewhere[label]}) == 1:
            recorded = [group.recorded[column.measured][place] for place in group.ok_places[label]]
            known = [float(figure) for figure in recorded if figure is not None]
            value, deviation, mark = mean(known), standard_deviation(known), f" {ELSEWHERE}"
        elif column.needs_whole_batches and label in group.in_parts:
            mark = f" {IN_PARTS}"
        text = column.write(value, deviation)
        cells.append(Cell(text if text == MISSING else text + mark, label in best_of, _number(value)))
    return cells


def _best(group: Group, column: Column) -> set[str]:
    """Returns the models whose figure is the best, or within its noise; none where a figure's noise is not known.

    Noise is the larger of the noise floor and twice the standard deviation of the difference of two trials.
    """
    apart = group.in_parts if column.needs_whole_batches else {}
    found = [
        (row["label"], float(row[column.source]), row[f"{column.measured}_sd"])
        for row in group.rows
        if present(row[column.source]) and row["label"] not in apart
    ]
    if len(found) < 2 or (column.name == TIME and group.equal_time):
        return set()
    best = column.better([value for _, value, _ in found])
    spread = next(deviation for _, value, deviation in found if value == best)
    floor = group.floors.get("train_images_per_second" if column.name == TIME else column.measured)
    within = set()
    for label, value, deviation in found:
        noise = [] if floor is None else [floor * abs(best)]
        if present(spread) and present(deviation):
            noise.append(2 * math.hypot(spread, deviation))
        if not noise:
            return set()
        if abs(value - best) <= max(noise):
            within.add(label)
    return within


def _number(value: Any) -> float | None:
    """Returns a figure as what a page sorts by."""
    return float(value) if present(value) else None


def _has_spread(group: Group) -> bool:
    """Says whether a model of a group has more than one seed."""
    return any(row["n"] > 1 for row in group.rows)


def _spread(record: dict[str, Any]) -> str:
    """Writes the standard deviation over seeds and their number, where there are at least two."""
    if not present(record["test_accuracy_sd"]):
        return ""
    return f" ± {percent(record['test_accuracy_sd'])} (n={record['n']})"


def _half_width(record: dict[str, Any]) -> str:
    """Writes half the width of the interval of the mean accuracy."""
    return f"± {percent(record['test_accuracy_ci95'])}" if present(record["test_accuracy_ci95"]) else MISSING


def failure_table(results: Results) -> Table | None:
    """Lists the planned trials that did not end ``ok``, or returns ``None`` where all did."""
    columns = ("model", "seed", "trial_id", "status", "phase")
    failed = results.trials.loc[results.trials["status"] != "ok", [*columns, "error"]]
    if failed.empty:
        return None
    rows = [
        [*(Cell(_text(row[column])) for column in columns), Cell(last_line(row["error"]))] for row in records(failed)
    ]
    headers = [*columns, "error"]
    return Table("", headers, rows, text_columns=frozenset(range(6)) - {1})


def ledger_table(group: Group) -> Table | None:
    """Says where the time of each model's ``ok`` trials went, as means; ``None`` where there is none."""
    sources = [*(source for _, source in LEDGER), "wall_s"]
    rows = []
    for label in group.labels:
        if group.ok_places.get(label):
            means = [mean(group.ok(label, source)) for source in sources]
            if any(value is not None for value in means):  # those of another machine stand in no ledger
                rows.append([Cell(label), *(Cell(MISSING if m is None else f"{m:,.2f}") for m in means)])
    headers = ["model", *(f"{name} (s)" for name, _ in LEDGER), "wall (s)"]
    together = [label for label in group.labels if max(group.ok(label, "concurrent_seeds"), default=1) > 1]
    shared = "seeds trained at once, and these times are of a device that they shared."
    notes = [f"{names(together, len(together))}: {shared}"] if together else []
    return Table(group.title, headers, rows, notes) if rows else None


def _tiers(letters: Any) -> str:
    """Writes a model's tiers, four or more in a row by their ends: ``a-f``."""
    runs: list[str] = []
    for letter in letters if present(letters) and letters.isalpha() else ():
        if runs and ord(letter) == ord(runs[-1][-1]) + 1:
            runs[-1] += letter
        else:
            runs.append(letter)
    return "".join(f"{run[0]}-{run[-1]}" if len(run) > 3 else run for run in runs) or _text(letters)


def _text(value: Any) -> str:
    return str(value) if present(value) else MISSING


def last_line(error: Any, *, width: int = 200) -> str:
    """Returns the last line of an error that says something, cut at ``width`` characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] if present(error) else []
    last = lines[-1] if lines else MISSING
    return last if len(last) <= width else f"{last[: width - 1]}…"


def rich_table(results: Results, *, width: int | None = None) -> RichTable:
    """Renders the comparison for a terminal; several groups become sections of one table.

    Args:
        results: What a results folder holds.
        width: Characters a line; the terminal's own where it is not given. Where the columns do not fit, the
            least telling ones are left out and the caption names them.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    tables = comparison_tables(results)
    headers = tables[0].headers if tables else []
    widths = {
        index: _least_width(header, [row[index].text for table in tables for row in table.rows])
        for index, header in enumerate(headers)
    }
    if widths:  # titles stand in the first column and wrap between words
        widths[0] = max(widths[0], *(min(len(word), 30) for table in tables for word in f"{table.title} -".split()))
    dispensable = [header for header in _LEFT_OUT if header in headers]
    left_out: list[str] = []
    while sum(widths.values()) + 2 * len(widths) > (width or Console().width) and len(left_out) < len(dispensable):
        left_out.append(dispensable[len(left_out)])
        del widths[headers.index(left_out[-1])]
    notes = _joint_notes(tables)
    if left_out:
        notes.append(f"Left out in a terminal this narrow: {', '.join(left_out)}.")
    rendered = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left")
    rendered.caption = Text("\n".join(notes)) if notes else None
    for index, least in widths.items():
        justify: Literal["left", "right"] = "left" if index in tables[0].text_columns else "right"
        heading = Text("\n".join(wrap(headers[index], least, break_long_words=False)))
        rendered.add_column(heading, justify=justify, overflow="fold", vertical="bottom", max_width=least)
    for table in tables:
        if table.title:
            rendered.add_row(Text(table.title, style="italic"), end_section=True)
        for row in table.rows:
            rendered.add_row(*(Text(row[i].text, style="bold" if row[i].best else "") for i in widths))
        rendered.add_section()
    return rendered


def _joint_notes(tables: Sequence[Table]) -> list[str]:
    """Returns the notes of tables that are shown as one, each once; one that is not of all names its table."""
    notes: dict[str, None] = {}
    for table in tables:
        for note in table.notes:
            of_all = all(note in other.notes for other in tables)
            notes[note if of_all or not table.title else f"{table.title}: {note}"] = None
    return list(notes)


def _least_width(header: str, texts: Sequence[str]) -> int:
    """Returns how narrow a column can be: its heading may wrap, its cells may not, but for very long names."""
    longest = max((len(text) for text in texts), default=0)
    return max(min(longest, 30), *(len(word) for word in header.split()))
