"""Plots of several folders: accuracy by model and folder, and throughput over the first folder's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resbench.report.groups import MOST_SHOWN
from resbench.report.numbers import significant
from resbench.report.side_by_side.gather import ACCURACY, QUANTITIES, Alike, Row, SideBySide, unlike_machines
from resbench.report.style import COLOURS, GREY, MARKERS, ModelStyle, model_styles, new_figure, scale_axis, title_of
from resbench.stats import mean, t_half_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("accuracy_by_folder", "throughput_ratio")
"""How the files' names end."""


def write_plots(found: SideBySide, folder: Path) -> list[list[Path]]:
    """Draws what there is data for, and removes plots of an earlier page that were not drawn now.

    Args:
        found: All folders.
        folder: The files go into it.

    Returns:
        For each set of rows that may be compared the PNG and the SVG of each of its plots, in the order of ``KINDS``.
    """
    from resbench.report.style import plot_settings, save

    folder.mkdir(parents=True, exist_ok=True)
    written: list[list[Path]] = []
    with plot_settings():
        for number, (one, title) in enumerate(zip(found.alike, found.titles, strict=True), start=1):
            figures = zip(KINDS, (accuracy_figure(found, one, title), ratio_figure(found, one, title)), strict=True)
            prefix = f"{number}-" if len(found.alike) > 1 else ""
            written.append([p for kind, figure in figures if figure for p in save(figure, folder / f"{prefix}{kind}")])
    kept = {path for paths in written for path in paths}
    for path in folder.iterdir():
        if path.suffix in {".png", ".svg"} and path.stem.endswith(KINDS) and path not in kept:
            path.unlink()
    return written


def accuracy_figure(found: SideBySide, one: Alike, title: str) -> Figure | None:
    """Draws the mean test accuracy of each model in each folder with its 95 % interval; ``None`` where none is known.

    Args:
        found: All folders.
        one: Rows whose accuracies may be compared.
        title: Of the set.
    """
    rows = _shown([row for row in one.rows if any(cell.values(ACCURACY) for cell in row.cells.values())])
    if not rows:
        return None
    figure = new_figure(height_in=_height(len(rows), len(one.folders)))
    axes = figure.add_subplot()
    several = False
    for turn, place in enumerate(one.folders):
        for position, row in enumerate(rows):
            values = row.cells[place].values(ACCURACY) if place in row.cells else []
            if values:
                half = t_half_width(values)
                several = several or half is not None
                _dot(axes, mean(values) or 0.0, position + _offset(turn, len(one.folders)), place, half)
    words = "bar: 95 % interval of the mean over seeds" if several else "one seed each: no interval"
    _name_rows(axes, rows)
    axes.set_xlabel("test accuracy, last epoch (%)")
    axes.set_title(title_of("Test accuracy by folder", title, _left_out(one), words))
    _legend(axes, found, one.folders)
    return figure


def ratio_figure(found: SideBySide, one: Alike, title: str) -> Figure | None:
    """Draws each folder's throughput over the first folder's, training and inference; ``None`` where none is known.

    Args:
        found: All folders.
        one: Rows that were trained alike.
        title: Of the set.
    """
    first, *others = one.folders
    panels = []
    for words, name in (("Training", "throughput"), ("Inference", "inference")):
        ratios = {
            (index, place): ratio
            for index, row in enumerate(one.rows)
            for place in others
            if (ratio := _ratio(row, first, place, name)) is not None
        }
        if ratios:
            panels.append((words, ratios))
    if not panels:
        return None
    rows = _shown([row for index, row in enumerate(one.rows) if any(index == at for _, r in panels for at, _ in r)])
    figure = new_figure(height_in=_height(len(rows), len(others)))
    for column, (words, ratios) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), column + 1)
        axes.axvline(1.0, color=GREY, linewidth=1.0, zorder=1)
        for (index, place), ratio in ratios.items():
            if one.rows[index] in rows:
                position = rows.index(one.rows[index]) + _offset(others.index(place), len(others))
                _dot(axes, ratio, position, place, None)
                axes.annotate(
                    significant(ratio, 3),
                    (ratio, position),
                    xytext=(6, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},  # above the line at 1
                    zorder=2,
                )
        _name_rows(axes, rows, named=column == 0)
        scale_axis(axes, [1.0, *ratios.values()], ratio=2.5)
        _widen(axes, [1.0, *ratios.values()])
        axes.set_title(f"{words} throughput")
        axes.set_xlabel(f"times that of {model_styles([found.folders[first].name])[found.folders[first].name].name}")
    _legend(figure.axes[-1], found, others)
    pairs = [(row.cells[first], row.cells[place]) for row in rows for place in others if {first, place} <= {*row.cells}]
    unlike = (
        "machines or settings differ: not the networks' difference"
        if any(unlike_machines(*pair) for pair in pairs)
        else "the same machine and settings"
    )
    figure.suptitle(title_of(title, _left_out(one), unlike), fontsize=9, x=0.01, ha="left")
    return figure


def _ratio(row: Row, first: int, place: int, name: str) -> float | None:
    """Returns a folder's figure over the first folder's."""
    values = [
        mean(row.cells[where].values(QUANTITIES[name])) if where in row.cells else None for where in (first, place)
    ]
    return values[1] / values[0] if values[0] and values[1] else None


def _dot(axes: Axes, x: float, y: float, place: int, half: float | None) -> None:
    """Draws one figure of one folder."""
    axes.errorbar(
        x,
        y,
        xerr=half,
        fmt=MARKERS[place % len(MARKERS)],
        color=COLOURS[place % len(COLOURS)],
        markersize=5.5,
        markeredgecolor="white",
        markeredgewidth=0.5,
        elinewidth=1.2,
        capsize=2,
        zorder=3,
    )


def _offset(turn: int, turns: int) -> float:
    """Returns how far below the middle of its row a folder's figure stands, in rows: the first on top."""
    return 0.7 * ((turn + 0.5) / turns - 0.5)


def _height(rows: int, folders: int) -> float:
    """Returns a figure's height in inches that gives every figure of a row the same room."""
    return 1.5 + rows * (0.18 + 0.13 * folders)


def _name_rows(axes: Axes, rows: Sequence[Row], *, named: bool = True) -> None:
    """Writes the models' names beside their rows, the first on top, with a line between two rows."""
    styles = model_styles(row.label for row in rows)
    axes.set_yticks(range(len(rows)), [styles[row.label].name if named else "" for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")
    for position in range(1, len(rows)):
        axes.axhline(position - 0.5, color="#E6E6E6", linewidth=0.7, zorder=0)


def _widen(axes: Axes, values: Sequence[float]) -> None:
    """Leaves room beside the outermost dots, more to the right, where their figures stand."""
    low, high = min(values), max(values)
    if axes.get_xscale() == "log":
        factor = (high / low) ** 0.08
        axes.set_xlim(low / factor, high * factor**3)
    else:
        margin = 0.08 * (high - low) or 0.1
        axes.set_xlim(low - margin, high + 3 * margin)


def _legend(axes: Axes, found: SideBySide, places: Sequence[int]) -> None:
    """Names the folders to the right."""
    from matplotlib.lines import Line2D

    styles = model_styles(folder.name for folder in found.folders)
    handles = [_handle(Line2D, place, styles[found.folders[place].name]) for place in places]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


def _handle(line: type, place: int, style: ModelStyle) -> object:
    """Returns a folder's sample for the legend."""
    marker, colour = MARKERS[place % len(MARKERS)], COLOURS[place % len(COLOURS)]
    return line([], [], color=colour, marker=marker, markersize=5.5, linestyle="", label=style.name)


def _shown(rows: list[Row]) -> list[Row]:
    """Returns the rows that a plot has room for, in their order: the most accurate of many."""

    def accuracy(row: Row) -> float:
        return max((mean(cell.values(ACCURACY)) or 0.0 for cell in row.cells.values()), default=0.0)

    kept = {id(row) for row in sorted(rows, key=lambda row: -accuracy(row))[:MOST_SHOWN]}
    return [row for row in rows if id(row) in kept]


def _left_out(one: Alike) -> str:
    """Says which models a plot leaves out."""
    return f"the {MOST_SHOWN} most accurate of {len(one.rows):,} models" if len(one.rows) > MOST_SHOWN else ""
