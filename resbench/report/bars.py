"""Bars: how many images a second each model trains on and infers, and where the time of a trial went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resbench.report.groups import Group
from resbench.report.numbers import duration, present, significant
from resbench.report.style import ModelStyle, legend_beside, new_figure, plain, title_of
from resbench.report.tables import LEDGER
from resbench.stats import mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEDGER_COLOURS = dict(
    zip(
        (source for _, source in LEDGER),
        ("#56B4E9", "#CC79A7", "#767676", "#E69F00", "#009E73", "#0072B2", "#D55E00", "#F0E442", "#CCCCCC"),
        strict=True,
    )
)


def throughput_figure(group: Group, styles: dict[str, ModelStyle]) -> Figure | None:
    """Draws training and inference throughput side by side; ``None`` where neither was measured."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    panels = [
        (title, source)
        for title, source in (
            ("Training", "train_images_per_second_mean"),
            ("Inference", "inference_images_per_second_mean"),
        )
        if any(present(row[source]) for row in group.rows)
    ]
    shown = set(group.shown)
    rows = [row for row in group.rows if row["ok"] and row["label"] in shown]
    if not panels or not rows:
        return None
    figure = new_figure(height_in=_height(len(rows)))
    for column, (title, source) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), column + 1)
        values = [float(row[source]) if present(row[source]) else 0.0 for row in rows]
        axes.barh(range(len(rows)), values, height=0.65, color=[_colour(styles[row["label"]]) for row in rows])
        for position, value in enumerate(values):
            axes.annotate(
                significant(value) if value else "not measured",
                (value, position),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axes.set_xlim(0, 1.4 * max(values))
        axes.set_xlabel("images/s")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
        axes.set_title(f"{title} throughput")
        _name_rows(axes, [styles[row["label"]].name if column == 0 else "" for row in rows])
    if group.title or group.caption:
        figure.suptitle(title_of(group.title, group.caption), fontsize=9)
    return figure


def ledger_figure(group: Group, styles: dict[str, ModelStyle]) -> Figure | None:
    """Draws where the wall time of each model's trials went, as means; ``None`` where it was not recorded."""
    labels = [label for label in group.shown if group.ok(label, "wall_s")]
    if not labels:
        return None
    figure = new_figure(height_in=max(2.6, _height(len(labels))))
    axes = figure.add_subplot()
    starts = [0.0] * len(labels)
    for name, source in LEDGER:
        widths = [mean(group.ok(label, source)) or 0.0 for label in labels]
        if any(widths):
            axes.barh(
                range(len(labels)),
                widths,
                left=starts,
                height=0.65,
                color=_LEDGER_COLOURS[source],
                edgecolor="white",
                linewidth=0.3,
                label=name,
            )
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    for position, total in enumerate(starts):
        axes.annotate(
            duration(total),
            (total, position),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_xlim(0, 1.2 * max(starts) or 1.0)
    axes.set_xlabel("wall time of a trial (s)")
    _name_rows(axes, [styles[label].name for label in labels])
    axes.set_title(title_of("Where the time went, mean of a trial", group.title, group.caption))
    legend_beside(axes)
    return figure


def _colour(style: ModelStyle) -> str:
    """Returns a bar's colour: one grey for all that have none, for no bar is told apart by its shade."""
    return "#BDBDBD" if style.muted else style.colour


def _height(rows: int) -> float:
    """Returns a figure's height in inches that gives every row the same room."""
    return 1.2 + 0.3 * max(rows, 3)


def _name_rows(axes: Axes, names: list[str]) -> None:
    """Writes the models' names beside the bars, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
