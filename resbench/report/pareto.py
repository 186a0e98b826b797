"""Accuracy against a cost, and the Pareto front: the models of which no other is both cheaper and better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resbench.report.groups import Group
from resbench.report.labels import place_labels
from resbench.report.numbers import present
from resbench.report.style import GREY, ModelStyle, new_figure, scale_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Cost:
    """Something that accuracy is paid for with."""

    name: str
    """In file names: ``accuracy_vs_NAME``."""
    words: str
    """In titles: "accuracy against WORDS"."""
    axis: str
    """The axis label, with the unit."""
    source: str
    """The column of ``summary.csv``."""
    scale: float = 1.0
    """What a value of the column is multiplied by to get the axis' unit."""


COSTS = (
    Cost("macs", "MACs", "MACs of one forward pass (millions)", "macs", 1e-6),
    Cost("params", "parameters", "parameters (millions)", "params", 1e-6),
    Cost("train_time", "training time", "train clock: data + step (s)", "train_clock_s_mean"),
    Cost("latency", "latency", "latency of one image, p50 (ms)", "latency_ms_p50_mean"),
    Cost("memory", "training memory", "peak training memory (MiB)", "peak_memory_allocated_mib_mean"),
)


def pareto_front(costs: Sequence[float], accuracies: Sequence[float]) -> list[int]:
    """Returns the indices of the points that no other point dominates, by rising cost.

    A point dominates another when it costs no more, is no less accurate, and is better in one of the two.
    Points that are equal in both do not dominate each other.

    Args:
        costs: One finite number a point; less is better.
        accuracies: One finite number a point; more is better.

    Raises:
        ValueError: The two differ in length.
    """
    order = sorted(
        ((cost, -accuracy, index) for index, (cost, accuracy) in enumerate(zip(costs, accuracies, strict=True)))
    )
    front: list[int] = []
    last: tuple[float, float] | None = None
    for cost, negated, index in order:
        if last is None or negated < last[1] or (cost, negated) == last:
            front.append(index)
            last = (cost, negated)
    return front


def tradeoff_figure(group: Group, cost: Cost, styles: dict[str, ModelStyle]) -> Figure | None:
    """Draws test accuracy against one cost with its Pareto front; ``None`` for fewer than two models.

    Each model is a point, its mean over the seeds; where there are at least two, a bar of one standard
    deviation up and down. Must run inside :func:`~resbench.report.style.plot_settings`.
    """
    rows = [row for row in group.rows if present(row[cost.source]) and present(row["test_accuracy_mean"])]
    if len(rows) < 2:
        return None
    x = [float(row[cost.source]) * cost.scale for row in rows]
    y = [100 * float(row["test_accuracy_mean"]) for row in rows]
    sd = [100 * float(row["test_accuracy_sd"]) if present(row["test_accuracy_sd"]) else 0.0 for row in rows]
    figure = new_figure(height_in=4.6 if len(rows) <= 10 else 6.0)
    axes = figure.add_subplot()
    scale_axis(axes, x)
    for xi, yi, half, row in zip(x, y, sd, rows, strict=True):
        style = styles[row["label"]]
        axes.errorbar(
            xi,
            yi,
            yerr=half or None,
            fmt=style.marker,
            color=style.colour,
            markersize=6,
            markeredgecolor="white",
            markeredgewidth=0.5,
            elinewidth=1,
            capsize=2.5,
            zorder=4,
        )
    _widen(axes, x, y, sd)
    front = pareto_front(x, y)
    edge = axes.get_xlim()[1]
    stairs = [(x[front[0]], y[front[0]])]
    for index in front[1:]:
        stairs += [(x[index], stairs[-1][1]), (x[index], y[index])]
    stairs.append((edge, y[front[-1]]))
    axes.plot(
        *zip(*stairs, strict=True),
        color=GREY,
        linewidth=1.2,
        linestyle=(0, (4, 2)),
        zorder=1,
        label="Pareto front",
        scalex=False,
        scaley=False,
    )
    axes.set_xlabel(cost.axis)
    axes.set_ylabel("test accuracy, last epoch (%)")
    axes.set_title(f"Test accuracy against {cost.words}" + (f"\n{group.title}" if group.title else ""))
    axes.legend(loc="lower right")
    figure.draw_without_rendering()
    place_labels(
        axes,
        list(zip(x, y, strict=True)),
        [styles[row["label"]].name for row in rows],
        [styles[row["label"]].colour for row in rows],
        half_heights=sd,
        avoid=stairs,
        font_size=8 if len(rows) <= 10 else 7,
    )
    return figure


def _widen(axes: Axes, x: Sequence[float], y: Sequence[float], sd: Sequence[float]) -> None:
    """Leaves room around the points for their names."""
    low = min(value - half for value, half in zip(y, sd, strict=True))
    high = max(value + half for value, half in zip(y, sd, strict=True))
    room = 0.15 * (high - low) or 0.5
    axes.set_ylim(low - room, high + room)
    if axes.get_xscale() == "log":
        factor = (max(x) / min(x)) ** 0.12
        axes.set_xlim(min(x) / factor, max(x) * factor)
    else:
        margin = 0.15 * (max(x) - min(x)) or 0.1 * max(x) or 1.0
        axes.set_xlim(min(x) - margin, max(x) + margin)
