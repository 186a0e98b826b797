"""What networks cost before any training, at each batch size: the tables of ``profile.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resbench.report.groups import describe, records
from resbench.report.numbers import MISSING, present, significant
from resbench.report.tables import Cell, Table

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table as RichTable

SETTINGS = (
    "device_name",
    "precision",
    "stem",
    "input",
    "num_classes",
    "memory_format",
    "compiled",
    "compile_mode",
    "cuda_graph",
    "lowering",
)
"""What the rows of one table share."""
_ALWAYS_NAMED = 4
"""How many of them a title names even where nothing else was measured."""

_COLUMNS = (
    ("params\nM", "params", 1e6),
    ("MACs\nM", "macs", 1e6),
    ("fvcore\nM", "macs_fvcore", 1e6),
    ("activations\nM", "activations", 1e6),
    ("latency\nms", "latency_ms_p50", 1),
    ("inference\nimages/s", "inference_images_per_second", 1),
    ("forward\nms", "forward_ms", 1),
    ("backward\nms", "backward_ms", 1),
    ("training\nimages/s", "train_images_per_second", 1),
    ("inference\nMiB", "inference_memory_mib", 1),
    ("training\nMiB", "peak_memory_allocated_mib", 1),
)
"""Heading, column of ``profile.csv``, and what one of the heading's unit is in the column's."""

_LEAST_TELLING = ("macs_fvcore", "activations", "forward_ms", "backward_ms", "inference_memory_mib")
"""Left out first where a terminal is too narrow; ``profile.csv`` has them all."""

_ON_PAGES = {
    "params": "params (M)",
    "macs": "MACs (M)",
    "activations": "activations (M)",
    "latency_ms_p50": "latency p50 (ms)",
    "inference_images_per_second": "inference images/s",
    "forward_ms": "forward (ms)",
    "backward_ms": "backward (ms)",
    "train_images_per_second": "train images/s",
    "inference_memory_mib": "inference memory (MiB)",
    "peak_memory_allocated_mib": "train memory (MiB)",
}
"""The headings of a page, where there is room for units."""


@dataclass(frozen=True, eq=False)
class ProfileSet:
    """Rows of ``profile.csv`` that were measured under the same settings."""

    title: str
    """The settings that matter, and those in which it differs from the others."""
    rows: list[dict[str, Any]]


def profile_sets(profile: pd.DataFrame) -> list[ProfileSet]:
    """Splits profiles into what one table or plot may hold, in the order in which they were measured.

    Args:
        profile: The columns of ``profile.csv``.
    """
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in records(profile):
        settings = tuple(row[name] if present(row[name]) else None for name in SETTINGS)
        found.setdefault(settings, []).append(row)
    differing = [index for index in range(len(SETTINGS)) if len({settings[index] for settings in found}) > 1]
    named = [*range(_ALWAYS_NAMED), *(index for index in differing if index >= _ALWAYS_NAMED)]
    return [
        ProfileSet(", ".join(_setting(SETTINGS[index], settings[index]) for index in named), rows)
        for settings, rows in found.items()
    ]


def _setting(name: str, value: Any) -> str:
    """Names one setting in words."""
    return f"{value} classes" if name == "num_classes" else describe(name, value)


def profile_page_table(found: ProfileSet) -> Table:
    """Returns what the networks of a set cost, a row a network and batch size; columns without a figure are left out.

    Args:
        found: One of :func:`profile_sets`.
    """
    units = {column: unit for _, column, unit in _COLUMNS}
    columns = [name for name in _ON_PAGES if any(present(row[name]) for row in found.rows)]
    rows = [
        [
            Cell(str(row["model"])),
            Cell(f"{int(row['batch_size']):,}", order=float(row["batch_size"])),
            *(Cell(_figure(row[name], units[name])) for name in columns),
        ]
        for row in found.rows
    ]
    return Table(found.title, ["model", "batch size", *(_ON_PAGES[name] for name in columns)], rows)


def _figure(value: Any, unit: float) -> str:
    """Writes a figure in its heading's unit."""
    return significant(float(value) / unit) if present(value) else MISSING


def profile_table(profile: pd.DataFrame, *, width: int | None = None) -> RichTable:
    """Returns a terminal table, one row a network and batch size.

    Args:
        profile: The columns of ``profile.csv``.
        width: Characters a line; the terminal's own where it is not given. Where the columns do not fit, the
            least telling ones are left out and the caption says so.
    """
    first = records(profile.iloc[:1])[0]
    title = f"{first['device_name']}, {first['precision']}, stem {first['stem']}, input {first['input']}"
    return rich_profile(title, records(profile), width=width)


def rich_profile(title: str, rows: Sequence[dict[str, Any]], *, width: int | None = None) -> RichTable:
    """Returns a terminal table of some rows of ``profile.csv``.

    Args:
        title: What they were measured under.
        rows: One dict a row.
        width: As :func:`profile_table` takes it.
    """
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    cells = {
        "model": ["model", *(str(row["model"]) for row in rows)],
        "batch_size": ["batch", *(str(row["batch_size"]) for row in rows)],
    }
    for heading, column, unit in _COLUMNS:
        values = (row[column] for row in rows)
        cells[column] = [heading, *(significant(value / unit) if present(value) else "" for value in values)]
    least_telling = list(_LEAST_TELLING)
    while least_telling and _width(cells) > (width or Console().width):
        del cells[least_telling.pop(0)]

    left_out = len(_LEAST_TELLING) - len(least_telling)
    table = RichTable(
        title=Text(title),
        title_justify="left",
        caption=f"{left_out} columns left out in a terminal this narrow; --out DIR keeps all." if left_out else None,
        caption_justify="left",
        box=None,
        header_style="bold",
        padding=(0, 2, 0, 0),
    )
    for column, (heading, *_) in cells.items():
        table.add_column(heading, justify="left" if column == "model" else "right", no_wrap=True)
    for texts in zip(*(texts[1:] for texts in cells.values()), strict=True):
        table.add_row(*map(Text, texts))
    return table


def _width(cells: dict[str, list[str]]) -> int:
    """Returns the characters a line of columns takes, two of space behind each."""
    return sum(2 + max(len(line) for text in texts for line in text.split("\n")) for texts in cells.values())
