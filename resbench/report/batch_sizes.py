"""Throughput and memory against batch size: how large a batch has to be to fill a device, and what it takes there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from resbench.report.groups import MOST_SHOWN
from resbench.report.numbers import present
from resbench.report.profiles import ProfileSet
from resbench.report.style import ModelStyle, model_styles, new_figure, plain, scale_axis, title_of
from resbench.stats import mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KIND = "batch_size"
"""In file names."""

PANELS = (
    ("Training throughput", "images/s", "train_images_per_second"),
    ("Inference throughput", "images/s", "inference_images_per_second"),
    ("Training memory", "MiB", "peak_memory_allocated_mib"),
    ("Inference memory", "MiB", "inference_memory_mib"),
)
"""Title, axis label and column of ``profile.csv`` of each panel."""

Lines = dict[str, list[tuple[int, float]]]
"""By model: the batch sizes that it was measured at, ascending, and the figure at each."""

_MOST_TICKS = 10
_TITLE_WIDTH = 64
"""Characters of a line of the title: the legend stands beside it."""


def batch_size_figure(found: ProfileSet, styles: dict[str, ModelStyle] | None = None) -> Figure | None:
    """Draws throughput and memory against batch size, both logarithmic; ``None`` where no model was measured at two.

    Args:
        found: Rows of ``profile.csv`` under the same settings.
        styles: Of the models that other plots of the folder show too; the others get theirs by how fast they are.
    """
    panels = [(title, axis, lines) for title, axis, source in PANELS if (lines := lines_of(found.rows, source))]
    if not panels:
        return None
    order = _by_speed(panels[0][2], (lines for *_, lines in panels))
    shown = order[:MOST_SHOWN]
    styles = {**model_styles(order), **(styles or {})} if styles and set(order) <= set(styles) else model_styles(order)
    columns = 2 if len(panels) > 1 else 1
    rows = -(-len(panels) // columns)
    figure = new_figure(height_in=max(3.4 if rows == 1 else 5.6, 0.9 + 0.19 * len(shown)))
    for place, (title, axis, lines) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        drawn = {label: lines[label] for label in shown if label in lines}
        _draw(axes, drawn, styles)
        axes.set_title(title)
        axes.set_ylabel(axis)
        if place > len(panels) - columns:
            axes.set_xlabel("batch size (images)")
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    names = [styles[label].name for label in shown if styles[label].name in handles]
    figure.legend([handles[name] for name in names], names, loc="outside right upper")
    left_out = f"the {len(shown)} fastest of {len(order):,} models" if len(shown) < len(order) else ""
    figure.suptitle(
        title_of("Against batch size", *wrap(found.title, _TITLE_WIDTH), left_out), fontsize=10, x=0.01, ha="left"
    )
    return figure


def lines_of(rows: Iterable[dict[str, Any]], source: str) -> Lines:
    """Returns one column by model and batch size, as means where one was measured more than once.

    Args:
        rows: Of ``profile.csv``.
        source: The column.

    Returns:
        Those models that were measured at two batch sizes or more.
    """
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if present(row[source]) and float(row[source]) > 0:
            values[str(row["model"])][int(row["batch_size"])].append(float(row[source]))
    return {
        model: [(size, mean(at_size) or 0.0) for size, at_size in sorted(by_size.items())]
        for model, by_size in values.items()
        if len(by_size) > 1
    }


def _by_speed(first: Lines, panels: Iterable[Lines]) -> list[str]:
    """Returns all models, those with the highest figure of the first panel first."""
    every = dict.fromkeys(label for lines in panels for label in lines)
    return sorted(every, key=lambda label: -first[label][-1][1] if label in first else 0.0)


def _draw(axes: Axes, lines: Lines, styles: dict[str, ModelStyle]) -> None:
    """Draws a panel."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    for label, points in lines.items():
        style = styles[label]
        axes.plot(
            *zip(*points, strict=True),
            color=style.colour,
            marker=style.marker,
            markersize=3.5 if style.muted else 4.5,
            markeredgecolor="white",
            markeredgewidth=0.4,
            linewidth=0.9 if style.muted else 1.4,
            zorder=1.9 if style.muted else 2.1,
            label=style.name,
        )
    sizes = sorted({size for points in lines.values() for size, _ in points})
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(_ticks(sizes))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    scale_axis(axes, [value for points in lines.values() for _, value in points], axis="y", ratio=1.0)
    axes.yaxis.set_minor_formatter(NullFormatter())


def _ticks(sizes: list[int]) -> Iterator[int]:
    """Yields the batch sizes that the axis names: those measured, as far as their numbers do not touch."""
    span = sizes[-1] / sizes[0]
    last = 0.0
    for size in sizes:
        if not last or size / last >= span ** (1 / _MOST_TICKS):
            yield size
            last = size
