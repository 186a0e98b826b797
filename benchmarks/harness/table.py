"""The rows on disk (``harness.csv``), as a page (``README.md``) and in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
from rich.markup import escape as escape_rich
from rich.table import Table as RichTable

from benchmarks.harness.rows import Row
from benchmarks.harness.workers_plot import plot_workers
from resbench.report.numbers import escape, significant
from resbench.store import write_atomically

CSV = "harness.csv"
PAGE = "README.md"
NOTES = "NOTES.md"
"""A hand-written file beside the page, shown on it."""


@dataclass(frozen=True)
class Machine:
    """Where and with what a row was measured."""

    device_name: str
    host_cpu: str
    cpu_threads: int
    python: str
    torch: str
    cuda: str | None
    git_sha: str | None
    git_dirty: bool | None
    measured_at: str
    """UTC, ISO 8601."""


_SAME = ("benchmark", "subject", "device_name", "host_cpu")
"""What makes two rows the same measurement: the later one stays."""


class Rows:
    """A CSV file that holds every row as soon as it is measured.

    Args:
        folder: Made where it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.path = folder, folder / CSV

    def keep(self, row: Row, machine: Machine) -> None:
        """Adds a row, or puts it into the place of an earlier measurement of the same."""
        new = pd.DataFrame([row.to_dict() | vars(machine)])
        frame = pd.concat([self.read(), new]) if self.path.exists() else new
        frame = frame.drop_duplicates(list(_SAME), keep="last")
        write_atomically(self.path, lambda path: frame.to_csv(path, index=False))

    def read(self) -> pd.DataFrame:
        """Returns every row."""
        texts = dict.fromkeys(("cuda", "git_sha", "python", "torch"), str)  # a version is no number
        return pd.read_csv(self.path, keep_default_na=False, na_values=[""], dtype=texts)

    def write_page(self) -> None:
        """Writes the page from the file: a table for each machine and commit that rows come from."""
        frame, notes = self.read(), self.folder / NOTES
        parts = ["# What the harness costs", _HOW]
        if notes.is_file():
            parts.append(notes.read_text(encoding="utf-8").strip())
        for _, rows in frame.groupby(["device_name", "git_sha"], sort=False, dropna=False):
            parts += [_where(rows), _markdown(rows)]
        if (plot := plot_workers(frame, self.folder)) is not None:
            parts.append(f"![Wall time of a suite against the number of workers]({plot.name})")
        page = "\n\n".join(parts) + "\n"
        write_atomically(self.folder / PAGE, lambda path: path.write_text(page, encoding="utf-8"))


_HOW = (
    "Made by `make bench-harness`. A ratio compares two things that were measured in turn in one run, A B A B, the "
    "first pair dropped; the figure is the median of n pairs' ratios, with the smallest and the largest beside it. "
    "Where a ratio has n=1, and where the unit is another, the figure is of n runs as they are. "
    f"All figures are in `{CSV}`."
)


def _where(rows: pd.DataFrame) -> str:
    """Says on which machine rows were measured."""
    last = rows.iloc[-1]
    host = "" if last.device_name == last.host_cpu else f", host {last.host_cpu}"
    cuda = "" if pd.isna(last.cuda) else f", CUDA {last.cuda}"
    commit = "" if pd.isna(last.git_sha) else f", commit {last.git_sha[:9]}{' with changes' if last.git_dirty else ''}"
    threads = f"{last.cpu_threads} thread{'' if last.cpu_threads == 1 else 's'}"
    return (
        f"**{last.device_name}**{host}, {threads}, torch {last.torch}{cuda}, Python {last.python}{commit}, "
        f"{last.measured_at[:10]}"
    )


def _cells(rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    """Yields what people read of each row."""
    for row in rows.itertuples():
        unit = "" if row.unit == "ratio" else f" {row.unit}"
        target = "" if pd.isna(row.target) else row.target
        yield {
            "benchmark": row.benchmark,
            "measured": row.subject,
            "median": significant(row.median, 3) + unit,
            "lowest .. highest": f"{significant(row.low, 3)} .. {significant(row.high, 3)} (n={row.repeats})",
            "target": target,
            "met": {"True": "yes", "False": "**no**"}.get(str(row.met), ""),
            "figures": "" if pd.isna(row.detail) else row.detail,
        }


def _markdown(rows: pd.DataFrame) -> str:
    """Returns the rows as a Markdown table."""
    table = pd.DataFrame([{name: _escaped(name, text) for name, text in cells.items()} for cells in _cells(rows)])
    aligned = ["right" if name in {"median", "lowest .. highest"} else "left" for name in table]
    return str(table.to_markdown(index=False, colalign=aligned))


def _escaped(column: str, text: str) -> str:
    return text if column == "met" else escape(text)


def rich_table(rows: pd.DataFrame) -> RichTable:
    """Returns the rows as a table for the terminal."""
    table = RichTable(box=None, header_style="bold", padding=(0, 2, 0, 0))
    listed: list[dict[str, Any]] = list(_cells(rows))
    for name in listed[0]:
        table.add_column(name, justify="right" if name in {"median", "lowest .. highest"} else "left")
    for cells in listed:
        colour = {"yes": "green", "**no**": "red"}.get(cells["met"])
        texts = [escape_rich(text.replace("**", "")) for text in cells.values()]
        table.add_row(*texts, style=colour)
    return table


MACHINE_COLUMNS = tuple(field.name for field in fields(Machine))
