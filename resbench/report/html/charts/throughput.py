"""Throughput and memory of each model at the batch size of its trials, as bars."""

from __future__ import annotations

from typing import Any

from resbench.report.groups import Group
from resbench.report.html.charts.marks import figure, hover, short_name
from resbench.report.html.document import Chart, View
from resbench.report.numbers import names, present

_QUANTITIES = (
    ("training", "train_images_per_second_mean", "training images/s", True),
    ("inference", "inference_images_per_second_mean", "inference images/s", False),
    ("training memory", "peak_memory_allocated_mib_mean", "peak training memory (MiB)", True),
    ("inference memory", "inference_memory_mib_mean", "peak inference memory (MiB)", False),
)
"""Name of the view, column of ``summary.csv``, axis, and whether batches that ran in parts cannot be compared in it."""


def throughput_chart(group: Group, slug: str) -> Chart | None:
    """Returns the chart, a view a quantity; ``None`` where none was measured.

    Args:
        group: Trials that may be compared.
        slug: Begins the chart's id.
    """
    rows = [row for row in group.rows if row["ok"] and row["label"] in set(group.shown)]
    views = []
    for name, source, title, needs_whole_batches in _QUANTITIES:
        apart = group.in_parts if needs_whole_batches else {}
        known = [row for row in rows if present(row[source]) and row["label"] not in apart]
        if known:
            views.append(_bars(known, source, name, title))
    if not views:
        return None
    size = group.settings["batch_size"]
    words = f"Means over the seeds, at the batch size of the trials, {size:,}." if size else "Means over the seeds."
    if group.in_parts:
        words += f" Without {names(list(group.in_parts))} in training, where batches ran in parts."
    return Chart(f"{slug}-throughput", "Throughput and memory", views, words, height=180 + 34 * max(len(rows), 4))


def _bars(rows: list[dict[str, Any]], source: str, name: str, title: str) -> View:
    """Returns one quantity, a bar a model."""
    values = [float(row[source]) for row in rows]
    bars = {
        "name": title,
        "type": "bar",
        "orientation": "h",
        "x": values,
        "y": [short_name(row["label"]) for row in rows],
        "colour": 0,
        "showlegend": False,
        "text": [figure(value) for value in values],
        "hovertext": [hover(row["label"], f"{figure(value)} {title}") for row, value in zip(rows, values, strict=True)],
    }
    layout = {
        "xaxis": {"title": {"text": title}, "range": [0, 1.2 * max(values)]},
        "yaxis": {"autorange": "reversed", "type": "category", "automargin": True},
    }
    return View(name, [bars], layout)
