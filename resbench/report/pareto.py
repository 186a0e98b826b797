"""Accuracy against a cost, and the Pareto front: the models of which no other is both cheaper and better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resbench.report.groups import MOST_SHOWN, Group
from resbench.report.labels import place_labels
from resbench.report.numbers import present
from resbench.report.style import GREY, ModelStyle, lay_out, new_figure, scale_axis, title_of

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
    deviation up and down. Where there are more than have room for a name, those of the front and the most accurate
    keep theirs and the others are grey dots. Must run inside :func:`~resbench.report.style.plot_settings`.
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
    front = pareto_front(x, y)
    named = _named(front, y)
    dots = [(x[index], y[index]) for index in sorted({*range(len(rows))} - {*named})]
    if dots:
        axes.plot(*zip(*dots, strict=True), ".", color=GREY, markersize=4, zorder=3)
    for index in named:
        style = styles[rows[index]["label"]]
        axes.errorbar(
            x[index],
            y[index],
            yerr=sd[index] or None,
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
    caption = f"named: {len(named)} of {len(rows):,} models, those of the front before others" if dots else ""
    axes.set_title(title_of(f"Test accuracy against {cost.words}", group.title, caption))
    axes.legend(loc="lower right")
    lay_out(figure)
    place_labels(
        axes,
        [(x[index], y[index]) for index in named],
        [styles[rows[index]["label"]].name for index in named],
        [styles[rows[index]["label"]].colour for index in named],
        half_heights=[sd[index] for index in named],
        avoid=stairs,
        dots=dots,
        font_size=8 if len(rows) <= 10 else 7,
    )
    return figure


def _named(front: Sequence[int], accuracies: Sequence[float]) -> list[int]:
    """Returns the indices of the points that get a name, ascending: those of the front, then the most accurate.

    A front of more points than have room is named at even distances, its ends included.
    """
    if len(front) > MOST_SHOWN:
        return sorted(front[round(step * (len(front) - 1) / (MOST_SHOWN - 1))] for step in range(MOST_SHOWN))
    on_front = set(front)
    ranked = sorted(range(len(accuracies)), key=lambda index: (index not in on_front, -accuracies[index]))
    return sorted(ranked[:MOST_SHOWN])


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
