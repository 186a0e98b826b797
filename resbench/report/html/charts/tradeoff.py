"""Test accuracy against what it costs, with the Pareto front and the interval of each mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resbench.report.groups import Group
from resbench.report.html.charts.marks import MOST_NAMED, axis, figure, hover, in_focus, out_of_focus
from resbench.report.html.document import Chart, View
from resbench.report.numbers import names, percent, present, probability
from resbench.report.pareto import Cost, Front, costs_of, front_of


def tradeoff_chart(group: Group, looks: dict[str, dict[str, Any]], slug: str) -> Chart | None:
    """Returns the chart, a view a cost; ``None`` where fewer than two models have an accuracy and a cost.

    Args:
        group: Trials that may be compared.
        looks: From :func:`~resbench.report.html.charts.marks.looks`.
        slug: Begins the chart's id.
    """
    fronts = {cost: front_of(group, cost) for cost in costs_of(group)}
    views = [_view(group, cost, front, looks) for cost, front in fronts.items() if len(front.rows) > 1]
    if not views:
        return None
    several = any(present(row["test_accuracy_ci95"]) for row in group.rows)
    words = "Mean of the last epoch. " + (
        "Bars: 95 % interval of the mean (Student's t over the seeds). " if several else "One seed: no interval. "
    )
    words += "Dashed: the Pareto front of these means, on which no other model is both cheaper and more accurate."
    if len(group.labels) > MOST_NAMED:
        words += f" In colour: {MOST_NAMED} models, those of the front before others; point at the rest."
    left_out = dict.fromkeys(label for front in fronts.values() for label in front.left_out)
    if left_out:
        words += f" Without {names(list(left_out))} where batches that ran in parts are not comparable."
    return Chart(f"{slug}-tradeoff", "Test accuracy against what it costs", views, words)


def _view(group: Group, cost: Cost, front: Front, looks: dict[str, dict[str, Any]]) -> View:
    """Returns accuracy against one cost: the front, what is out of focus as one trace, then a trace a model on top."""
    focus = in_focus(group, [front.rows[index]["label"] for index in front.indices])
    quiet = [place for place, row in enumerate(front.rows) if row["label"] not in focus]
    traces = [_stairs(front)]
    if quiet:
        traces.append(_points(cost, front, quiet, out_of_focus({"name": "others", "symbol": "circle"})))
    for place, row in enumerate(front.rows):
        if row["label"] in focus:
            traces.append(_points(cost, front, [place], looks[row["label"]]))
    layout = {"xaxis": axis(cost.axis, front.costs), "yaxis": {"title": {"text": "test accuracy (%)"}}}
    return View(cost.words, traces, layout)


def _points(cost: Cost, front: Front, places: Sequence[int], look: dict[str, Any]) -> dict[str, Any]:
    """Returns some models as points of one look, each with its interval and what a reader who points at it is told."""
    half_widths = [front.rows[place]["test_accuracy_ci95"] for place in places]
    return {
        **look,
        "type": "scatter",
        "mode": "markers",
        "x": [front.costs[place] for place in places],
        "y": [front.accuracies[place] for place in places],
        "bar": [100 * float(half) if present(half) else 0.0 for half in half_widths],
        "hovertext": [_told(cost, front, place) for place in places],
    }


def _told(cost: Cost, front: Front, place: int) -> str:
    """Returns what is known of a model where accuracy stands against one cost."""
    row, p = front.rows[place], front.probabilities[place]
    how_sure = f"on the front of the true means with a probability of {probability(p)}" if p is not None else ""
    half_width = row["test_accuracy_ci95"]
    spread = f" ± {percent(half_width)} (95 % interval, n={row['n']})" if present(half_width) else " (one seed)"
    return hover(
        row["label"],
        f"test accuracy {percent(row['test_accuracy_mean'])} %{spread}",
        f"{cost.axis}: {figure(front.costs[place])}",
        f"tier {row['tier']}" if present(row["tier"]) else "",
        "on the front of the means" if place in front.indices else "",
        "cheapest: on the front by definition" if place == front.certain else how_sure,
    )


def _stairs(front: Front) -> dict[str, Any]:
    """Returns the front as a line that rises where a dearer model is more accurate."""
    x: Sequence[float] = [front.costs[index] for index in front.indices]
    y: Sequence[float] = [front.accuracies[index] for index in front.indices]
    # Beyond the dearest model of the front, no money buys more.
    x, y = [*x, max(front.costs)], [*y, y[-1]]
    return {
        "name": "Pareto front",
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "step": True,
        "colour": "quiet",
        "hoverinfo": "skip",
    }
