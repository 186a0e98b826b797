"""The table of ``resbench profile``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from resbench.report.numbers import present, significant

if TYPE_CHECKING:
    import pandas as pd

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


def profile_table(profile: pd.DataFrame, *, width: int | None = None) -> Table:
    """Returns a terminal table, one row a network and batch size.

    Args:
        profile: The columns of ``profile.csv``.
        width: Characters a line; the terminal's own where it is not given. Where the columns do not fit, the
            least telling ones are left out and the caption says so.
    """
    rows = profile.to_dict("records")
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

    first = rows[0]
    left_out = len(_LEAST_TELLING) - len(least_telling)
    table = Table(
        title=f"{first['device_name']}, {first['precision']}, stem {first['stem']}, input {first['input']}",
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
