"""The plot of a suite's wall time against the number of workers, from the rows that are kept."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from benchmarks.harness.workers import NAME
from resbench.report.style import COLOURS, GREY, new_figure, plot_settings, save

STEM = "workers"


def plot_workers(rows: pd.DataFrame, folder: Path) -> Path | None:
    """Draws the plot; returns the PNG's path, or None where there is nothing to draw.

    Args:
        rows: All that are kept; of several machines the last is drawn.
        folder: Gets ``workers.png`` and ``workers.svg``.
    """
    walls = rows[rows["benchmark"] == NAME]
    if walls.empty:
        return None
    walls = walls[walls["device_name"] == walls["device_name"].iloc[-1]]
    found = {row.subject.partition(",")[0]: row for row in walls.itertuples()}
    points = {int(match[1]): row for text, row in found.items() if (match := re.match(r"(\d+) worker", text))}
    if not points:
        return None
    counts = sorted(points)
    one = points[counts[0]].median * counts[0]
    with plot_settings():
        figure = new_figure(3.2)
        axes = figure.subplots()
        axes.plot(counts, [one / count for count in counts], "--", color=GREY, label="the first, shared out evenly")
        medians = [points[count].median for count in counts]
        spread = [
            [points[count].median - points[count].low for count in counts],
            [points[count].high - points[count].median for count in counts],
        ]
        axes.errorbar(counts, medians, spread, fmt="o-", color=COLOURS[0], capsize=4, label="on a Ray cluster")
        if (local := found.get("no cluster")) is not None:
            axes.axhline(local.median, color=COLOURS[1], linewidth=1.2, label="the local executor")
        axes.set(
            title=f"Wall time of a {points[counts[0]].subject.partition(', ')[2]}, the whole command",
            xlabel="workers, one processor each",
            ylabel="wall time (s)",
            ylim=(0, None),
            xticks=counts,
        )
        axes.legend(loc="lower left")
        png, _ = save(figure, folder / STEM)
    return png
