"""Learning curves: test accuracy by epoch, by seconds of the train clock and by training FLOPs, with bands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from resbench.report.curves import Curve, EpochsByTrial, curve
from resbench.report.groups import Group
from resbench.report.html.charts.marks import MOST_NAMED, axis, figure, hover, in_focus, out_of_focus
from resbench.report.html.document import Chart, View

_BY = (
    ("by epoch", "epoch", "epoch (passes over the training set)", "epochs"),
    ("by time", "train_clock_s", "train clock: data + step (s)", "s of training"),
    ("by FLOPs", "train_flops_spent", "training FLOPs", "training FLOPs"),
)
"""Name, column of ``epochs.csv``, axis and unit of each view."""


def curves_chart(group: Group, epochs: EpochsByTrial, looks: dict[str, dict[str, Any]], slug: str) -> Chart | None:
    """Returns the chart; ``None`` where no trial that ended ``ok`` was evaluated more than once.

    Args:
        group: Trials that may be compared.
        epochs: Of the whole folder.
        looks: From :func:`~resbench.report.html.charts.marks.looks`.
        slug: Begins the chart's id.
    """
    views = []
    several = False
    for name, source, title, unit in _BY:
        found = {label: curve(epochs.of(group.ok(label, "trial_id")), source) for label in group.shown}
        known = {label: one for label, one in found.items() if one is not None}
        if not any(len(one.x) > 1 for one in known.values()):
            continue
        several = several or any(one.seeds > 1 for one in known.values())
        focus = in_focus(group)
        traces = [
            trace
            for label, one in sorted(known.items(), key=lambda item: item[0] in focus)
            for trace in _traces(label, one, looks[label] if label in focus else out_of_focus(looks[label]), unit)
        ]
        layout = {
            "xaxis": {
                **axis(title, [], may_be_log=False),
                "rangemode": "tozero",
                **_whole_epochs(source, known.values()),
            },
            "yaxis": {"title": {"text": "test accuracy (%)"}},
        }
        views.append(View(name, traces, layout))
    if not views:
        return None
    words = "Mean over the seeds; band: the least and the most of them." if several else "One seed each: no band."
    words += f" {group.caption[0].upper()}{group.caption[1:]}." if group.caption else ""
    if len(group.labels) > MOST_NAMED:
        words += f" In colour: the {MOST_NAMED} most accurate; point at the rest."
    return Chart(f"{slug}-curves", "Learning curves", views, words)


def _whole_epochs(source: str, curves: Iterable[Curve]) -> dict[str, Any]:
    """Puts ticks at whole epochs where there are few."""
    return {"dtick": 1} if source == "epoch" and max(one.x[-1] for one in curves) <= 10 else {}


def _traces(label: str, data: Curve, look: dict[str, Any], unit: str) -> list[dict[str, Any]]:
    """Returns a model's band and the line in it."""
    texts = [
        hover(
            label,
            f"test accuracy {mean:.2f} %" + (f" ({low:.2f} to {high:.2f})" if data.seeds > 1 else ""),
            f"after {figure(x)} {unit}",
        )
        for x, mean, low, high in zip(data.x, data.mean, data.low, data.high, strict=True)
    ]
    line = {
        **look,
        "type": "scatter",
        "mode": "lines+markers" if len(data.x) <= 40 else "lines",
        "x": data.x,
        "y": data.mean,
        "hovertext": texts,
    }
    if data.seeds < 2:
        return [line]
    band = {
        **look,
        "type": "scatter",
        "mode": "lines",
        "x": [*data.x, *reversed(data.x)],
        "y": [*data.high, *reversed(data.low)],
        "band": True,
        "showlegend": False,
        "hoverinfo": "skip",
    }
    return [band, line]
