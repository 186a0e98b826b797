"""The table of ``resbench profile``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

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


def profile_table(profile: pd.DataFrame) -> Table:
    """Returns a terminal table, one row a network and batch size.

    Args:
        profile: The columns of ``profile.csv``.
    """
    first = profile.iloc[0]
    table = Table(
        title=f"{first.device_name}, {first.precision}, stem {first.stem}, input {first.input}",
        title_justify="left",
        box=None,
        header_style="bold",
        padding=(0, 2, 0, 0),
    )
    table.add_column("model", style="bold", no_wrap=True)
    for heading in ("batch", *(heading for heading, _, _ in _COLUMNS)):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in profile.to_dict("records"):
        figures = [significant(row[column] / unit) if present(row[column]) else "" for _, column, unit in _COLUMNS]
        table.add_row(escape(row["model"]), str(row["batch_size"]), *figures)
    return table
