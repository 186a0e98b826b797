"""The tables of a results folder: cells are formatted here, once, for Markdown and for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal

from resbench.report.groups import Group, comparable_groups, records
from resbench.report.numbers import MISSING, duration, escape, percent, present, significant
from resbench.stats import mean

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


@dataclass(frozen=True)
class _Column:
    """One column of the comparison: where its number comes from, how it reads, which end of it is better."""

    header: str
    source: str
    write: Callable[[Any], str]
    better: Callable[[list[float]], float]


def _millions(value: Any) -> str:
    return significant(value / 1e6 if present(value) else None)


_COLUMNS = (
    _Column("params (M)", "params", _millions, min),
    _Column("MACs (M)", "macs", _millions, min),
    _Column("test accuracy (%)", "test_accuracy_mean", percent, max),
    _Column("train images/s", "train_images_per_second_mean", significant, max),
    _Column("inference images/s", "inference_images_per_second_mean", significant, max),
    _Column("latency p50 (ms)", "latency_ms_p50_mean", lambda value: significant(value, 3), min),
    _Column("step p50 (ms)", "step_ms_p50_mean", lambda value: significant(value, 3), min),
    _Column("train memory (MiB)", "peak_memory_allocated_mib_mean", significant, min),
    _Column("train time", "train_clock_s_mean", duration, min),
)


_LEFT_OUT = ("step p50 (ms)", "inference images/s", "latency p50 (ms)", "train memory (MiB)", "MACs (M)")
"""What a narrow terminal does without, first to last; the page has all columns."""


def comparison_tables(results: Results) -> list[Table]:
    """Returns one comparison table for each set of trials that may be compared.

    A table has one row a model; a model without an ``ok`` trial has a row that says so.
    """
    return [comparison_table(group) for group in comparable_groups(results.trials)]


def comparison_table(group: Group) -> Table:
    """Returns what each model of a group costs and what it reached, as means over its seeds."""
    summary = group.rows
    rows = [[Cell(record["label"])] for record in summary]
    for column in _COLUMNS:
        values = [record[column.source] for record in summary]
        texts = [column.write(value) for value in values]
        known = [float(value) for value in values if present(value)]
        best = column.write(column.better(known)) if len(known) > 1 else None
        for row, text, record in zip(rows, texts, summary, strict=True):
            spread = _spread(record) if column.source == "test_accuracy_mean" else ""
            row.append(Cell(text + spread, best=text == best))
    for row, record in zip(rows, summary, strict=True):
        row.append(Cell(f"{record['ok']}/{record['planned']} ok"))
    headers = ["model", *(column.header for column in _COLUMNS), "status"]
    return Table(group.title, headers, rows, _notes(group), frozenset({0, len(headers) - 1}))


def _spread(record: dict[str, Any]) -> str:
    """Writes the standard deviation over seeds and their number, where there are at least two."""
    if not present(record["test_accuracy_sd"]):
        return ""
    return f" ± {percent(record['test_accuracy_sd'])} (n={record['ok']})"


def _notes(group: Group) -> list[str]:
    """Says what the spread is, and which rows have none."""
    notes = []
    seeds = {int(row["ok"]) for row in group.rows}
    if any(number > 1 for number in seeds):
        notes.append("Accuracy: mean ± standard deviation over n seeds.")
    if 1 in seeds:
        which = "Every row is" if seeds <= {0, 1} else "A row without ± is"
        notes.append(f"{which} one run of one seed: it has no interval, and small gaps mean nothing.")
    if any(record["ok"] < record["planned"] for record in group.rows):
        notes.append("Trials that did not end ok enter no mean.")
    return notes


def failure_table(results: Results) -> Table | None:
    """Lists the planned trials that did not end ``ok``, or returns ``None`` where all did."""
    columns = ("model", "seed", "trial_id", "status", "phase")
    failed = results.trials.loc[results.trials["status"] != "ok", [*columns, "error"]]
    if failed.empty:
        return None
    rows = [
        [*(Cell(_text(row[column])) for column in columns), Cell(_last_line(row["error"]))] for row in records(failed)
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
            rows.append([Cell(label), *(Cell(MISSING if m is None else f"{m:,.2f}") for m in means)])
    headers = ["model", *(f"{name} (s)" for name, _ in LEDGER), "wall (s)"]
    return Table(group.title, headers, rows) if rows else None


def _text(value: Any) -> str:
    return str(value) if present(value) else MISSING


def _last_line(error: Any, *, width: int = 200) -> str:
    """Returns the last line of an error that says something, cut at ``width`` characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] if present(error) else []
    last = lines[-1] if lines else MISSING
    return last if len(last) <= width else f"{last[: width - 1]}…"


def markdown(table: Table) -> str:
    """Renders a table as Markdown, best values in bold, its notes as lines below; the title is left out."""
    from tabulate import tabulate

    def text(cell: Cell) -> str:
        return f"**{escape(cell.text)}**" if cell.best else escape(cell.text)

    align = ["left" if index in table.text_columns else "right" for index in range(len(table.headers))]
    body = tabulate(
        [[text(cell) for cell in row] for row in table.rows],
        headers=[escape(header) for header in table.headers],
        tablefmt="pipe",
        colalign=align,
        disable_numparse=True,
    )
    return "\n\n".join([body, *(escape(note) for note in table.notes)])


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
    left_out: list[str] = []
    while sum(widths.values()) + 2 * len(widths) > (width or Console().width) and len(left_out) < len(_LEFT_OUT):
        left_out.append(_LEFT_OUT[len(left_out)])
        del widths[headers.index(left_out[-1])]
    notes = list(dict.fromkeys(note for table in tables for note in table.notes))
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


def _least_width(header: str, texts: Sequence[str]) -> int:
    """Returns how narrow a column can be: its heading may wrap, its cells may not, but for very long names."""
    longest = max((len(text) for text in texts), default=0)
    return max(min(longest, 30), *(len(word) for word in header.split()))
