"""Accuracy against a cost, and the Pareto front: the models of which no other is both cheaper and better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resbench.report.groups import MOST_SHOWN, Group
from resbench.report.labels import place_labels
from resbench.report.numbers import names, present, probability
from resbench.report.style import GREY, ModelStyle, lay_out, new_figure, scale_axis, title_of
from resbench.stats.fronts import front_probabilities, pareto_front

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
    """The column of ``summary.csv``; less its ``_mean`` that of ``trials.csv``."""
    scale: float = 1.0
    """What a value of the column is multiplied by to get the axis' unit."""
    needs_whole_batches: bool = False
    """Whether a model whose batches ran in parts cannot be compared in it."""


COSTS = (
    Cost("macs", "MACs", "MACs of one forward pass (millions)", "macs", 1e-6),
    Cost("params", "parameters", "parameters (millions)", "params", 1e-6),
    Cost("train_time", "training time", "train clock: data + step (s)", "train_clock_s_mean", needs_whole_batches=True),
    Cost("latency", "latency", "latency of one image, p50 (ms)", "latency_ms_p50_mean"),
    Cost(
        "memory",
        "training memory",
        "peak training memory (MiB)",
        "peak_memory_allocated_mib_mean",
        needs_whole_batches=True,
    ),
)


def costs_of(group: Group) -> list[Cost]:
    """Returns what the models of a group differ in the cost of: not their training time, where a budget fixed that."""
    return [cost for cost in COSTS if not (cost.name == "train_time" and group.equal_time)]


@dataclass(frozen=True, eq=False)
class Front:
    """The models of a group that stand in one plot of accuracy against a cost, and the front of them."""

    rows: list[dict[str, Any]]
    """Those with a test accuracy and that cost, in the table's order."""
    costs: list[float]
    """In the unit of the axis."""
    accuracies: list[float]
    """In percent."""
    indices: list[int]
    """Of the rows on the front of the means, by rising cost."""
    probabilities: list[float | None]
    """How probable it is that each is on the front of true means; ``None`` for a model without a tier."""
    left_out: list[str]
    """The labels of models whose cost cannot be compared, for their batches ran in parts."""
    certain: int | None
    """The row that is on the front by definition, whatever it reaches: the cheapest, where no cost varies over seeds;
    ``None`` where there is none, or it has no tier."""

    def place(self, index: int) -> str:
        """Says how probable it is that a row is on the front of true means."""
        return "cheapest" if index == self.certain else probability(self.probabilities[index])


def front_of(group: Group, cost: Cost) -> Front:
    """Finds the Pareto front of a group and how probable a place on it is."""
    import numpy as np

    known = [row for row in group.rows if present(row[cost.source]) and present(row["test_accuracy_mean"])]
    apart = group.in_parts if cost.needs_whole_batches else {}
    rows = [row for row in known if row["label"] not in apart]
    costs = [float(row[cost.source]) * cost.scale for row in rows]
    accuracies = [100 * float(row["test_accuracy_mean"]) for row in rows]
    probabilities: list[float | None] = [None] * len(rows)
    certain = None
    if any(present(row["tier"]) for row in rows):
        labels = [row["label"] for row in rows]
        column = cost.source.removesuffix("_mean")
        by_seed = group.by_seed(labels, column)
        found = front_probabilities(group.by_seed(labels, "test_accuracy"), by_seed)
        probabilities = [
            float(p) if present(row["tier"]) and not np.isnan(p) else None for row, p in zip(rows, found, strict=True)
        ]
        cheapest = costs.index(min(costs))
        is_fixed = all(len({*values[~np.isnan(values)].tolist()}) < 2 for values in by_seed)
        if is_fixed and costs.count(costs[cheapest]) == 1 and probabilities[cheapest] is not None:
            certain = cheapest
    left_out = [row["label"] for row in known if row["label"] in apart]
    return Front(rows, costs, accuracies, pareto_front(costs, accuracies), probabilities, left_out, certain)


def tradeoff_figure(group: Group, cost: Cost, styles: dict[str, ModelStyle]) -> Figure | None:
    """Draws test accuracy against one cost with its Pareto front; ``None`` for fewer than two models.

    Each model is a point, its mean over the seeds; where there are at least two, a bar of one standard deviation up
    and down. Where there are more than have room for a name, those of the front and the most accurate keep theirs and
    the others are grey dots. Beside a name on the front stands how probable its place there is. Must run inside
    :func:`~resbench.report.style.plot_settings`.
    """
    found = front_of(group, cost)
    rows, x, y, front = found.rows, found.costs, found.accuracies, found.indices
    if len(rows) < 2:
        return None
    sd = [100 * float(row["test_accuracy_sd"]) if present(row["test_accuracy_sd"]) else 0.0 for row in rows]
    figure = new_figure(height_in=4.6 if len(rows) <= 10 else 6.0)
    axes = figure.add_subplot()
    scale_axis(axes, x)
    named, told = _named(front, y), _told(found)
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
        label="Pareto front"
        + (" (and how probable a place on it is)" if told else "")
        + ("\ncheapest: on the front by definition" if found.certain is not None else ""),
        scalex=False,
        scaley=False,
    )
    axes.set_xlabel(cost.axis)
    axes.set_ylabel("test accuracy, last epoch (%)")
    caption = f"named: {len(named)} of {len(rows):,} models, those of the front before others" if dots else ""
    without = f"without {names(found.left_out)}: batches ran in parts" if found.left_out else ""
    bars = "bars: one standard deviation over the seeds, up and down" if any(sd) else ""
    axes.set_title(title_of(f"Test accuracy against {cost.words}", group.title, bars, caption, without))
    axes.legend(loc="lower right")
    lay_out(figure)
    place_labels(
        axes,
        [(x[index], y[index]) for index in named],
        [styles[rows[index]["label"]].name + (f" ({found.place(index)})" if index in told else "") for index in named],
        [styles[rows[index]["label"]].colour for index in named],
        half_heights=[sd[index] for index in named],
        avoid=stairs,
        dots=dots,
        font_size=8 if len(rows) <= 10 else 7,
    )
    return figure


def _told(found: Front) -> set[int]:
    """Returns the indices of the points beside which a probability has a place: on the front; of few, off it too."""
    few = len(found.rows) <= 10
    return {
        index
        for index, p in enumerate(found.probabilities)
        if p is not None and (index in found.indices or (few and p >= 0.01))
    }


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
