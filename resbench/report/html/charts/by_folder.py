"""One quantity of each model in each of several folders, with intervals; a view a quantity."""

from __future__ import annotations

from typing import Any

from resbench.report.html.charts.marks import SYMBOLS, figure, hover, short_name
from resbench.report.html.document import Chart, View
from resbench.report.html.render import chart_text
from resbench.report.side_by_side.gather import QUANTITIES, Alike, SideBySide
from resbench.stats import mean, t_half_width

_AXES = {
    "accuracy": "test accuracy (%)",
    "throughput": "training images/s",
    "inference": "inference images/s",
    "latency": "latency of one image, p50 (ms)",
    "memory": "peak training memory (MiB)",
    "time": "train clock: data + step (s)",
}
"""Of the quantities that are shown, in this order."""


def folders_chart(found: SideBySide, one: Alike, slug: str) -> Chart | None:
    """Returns the chart of rows that were trained alike; ``None`` where nothing was measured.

    Args:
        found: All folders.
        one: Rows whose accuracies may be compared.
        slug: The chart's id.
    """
    views = [view for name, title in _AXES.items() if (view := _view(found, one, name, title))]
    if not views:
        return None
    words = (
        "Mean over the seeds; bars: its 95 % interval (Student's t), where there are two seeds or more. Speed, memory "
        "and time are the networks' own difference only where the machines are alike: the tables say where not."
    )
    height = 170 + len(one.rows) * (18 + 14 * len(one.folders))
    return Chart(slug, "By model and folder", views, words, height=min(height, 1600))


def _view(found: SideBySide, one: Alike, name: str, title: str) -> View | None:
    """Returns one quantity, a trace a folder."""
    metric = QUANTITIES[name]
    traces: list[dict[str, Any]] = []
    labels = [row.label for row in one.rows]
    folders = len(one.folders)
    for turn, place in enumerate(one.folders):
        points: list[tuple[float, float, float | None, str]] = []
        for position, row in enumerate(one.rows):
            values = row.cells[place].values(metric) if place in row.cells else []
            if values:
                half = t_half_width(values)
                spread = f" ± {figure(half)} (95 % interval, n={len(values)})" if half else f" (n={len(values)})"
                text = hover(row.label, found.folders[place].name, f"{title}: {figure(mean(values))}{spread}")
                offset = (turn - (folders - 1) / 2) * min(0.22, 0.7 / folders)
                points.append((mean(values) or 0.0, position + offset, half, text))
        if points:
            traces.append(
                {
                    "name": chart_text(found.folders[place].name),
                    "type": "scatter",
                    "mode": "markers",
                    "colour": place % 7,
                    "symbol": SYMBOLS[place % len(SYMBOLS)],
                    "x": [x for x, _, _, _ in points],
                    "y": [y for _, y, _, _ in points],
                    "across": [half or 0.0 for _, _, half, _ in points],
                    "hovertext": [text for _, _, _, text in points],
                }
            )
    if not traces:
        return None
    every = [x for trace in traces for x in trace["x"]]
    layout = {
        "xaxis": {"title": {"text": title}, **({} if name == "accuracy" else {"rangemode": "tozero"})},
        "yaxis": {
            "tickmode": "array",
            "tickvals": list(range(len(labels))),
            "ticktext": [short_name(label) for label in labels],
            "range": [len(labels) - 0.4, -0.6],
            "zeroline": False,
        },
    }
    return View(name, traces, layout) if every else None
