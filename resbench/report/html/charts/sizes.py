"""Throughput and memory against batch size, from profiles that were made under the same settings."""

from __future__ import annotations

from typing import Any

from resbench.report.batch_sizes import PANELS, Lines, lines_of
from resbench.report.html.charts.marks import MOST_NAMED, axis, figure, hover, looks, out_of_focus
from resbench.report.html.document import Chart, View
from resbench.report.profiles import ProfileSet


def sizes_chart(found: ProfileSet, slug: str) -> Chart | None:
    """Returns the chart, a view a quantity; ``None`` where no network was measured at two batch sizes.

    Args:
        found: Rows of ``profile.csv``.
        slug: The chart's id.
    """
    panels = [(title, unit, lines) for title, unit, column in PANELS if (lines := lines_of(found.rows, column))]
    if not panels:
        return None
    first = panels[0][2]
    order = sorted(first, key=lambda label: -first[label][-1][1])
    order += [label for *_, lines in panels for label in lines if label not in order]
    styles = looks(order)
    styles = {
        label: look if place < MOST_NAMED else out_of_focus(look) for place, (label, look) in enumerate(styles.items())
    }
    views = [_lines(lines, styles, title, unit) for title, unit, lines in panels]
    words = f"{found.title}. One fixed batch, without data loading: training is forward, backward and update."
    if len(styles) > MOST_NAMED:
        words += f" In colour: the {MOST_NAMED} fastest; point at the rest."
    return Chart(slug, "Throughput and memory against batch size", views, words)


def _lines(lines: Lines, styles: dict[str, dict[str, Any]], title: str, unit: str) -> View:
    """Returns one quantity, a line a network."""
    traces = [
        {
            **styles[label],
            "type": "scatter",
            "mode": "lines+markers",
            "x": [size for size, _ in points],
            "y": [value for _, value in points],
            "hovertext": [
                hover(label, f"batch size {size:,}", f"{title.lower()} {figure(value, unit)}") for size, value in points
            ],
        }
        for label, points in lines.items()
    ]
    every = [point for points in lines.values() for point in points]
    layout = {
        "xaxis": axis("batch size (images)", [size for size, _ in every]),
        "yaxis": axis(f"{title.lower()} ({unit})", [value for _, value in every]),
    }
    return View(title.lower(), traces, layout)
