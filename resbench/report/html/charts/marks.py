"""What the charts share: a model's look in all of them, axes that read as plain numbers, hover texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from resbench.report.groups import Group
from resbench.report.html.render import chart_text
from resbench.report.numbers import present, shorten, significant

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "pentagon", "star", "hexagon")
"""Ten, to the page's seven colours: 70 models differ in one or the other."""
COLOURS = 7
"""How many the page's palette has, see ``--series-0`` and so on in ``assets/page.css``."""
MOST_NAMED = 10
"""Models that a chart gives a colour and a place in its legend."""
_NAME_WIDTH = 26
_LOG_RATIO = 3.0
"""Values that span more are shown on a logarithmic axis, as in the plots of ``style.py``."""


def looks(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Gives every model a colour and a symbol, by its place among all models of a page.

    Args:
        labels: Of all groups; one that comes again keeps its look.

    Returns:
        For each label what its traces have in common.
    """
    return {
        label: {
            "name": short_name(label),
            "legendgroup": chart_text(label),
            "colour": index % COLOURS,
            "symbol": SYMBOLS[index % len(SYMBOLS)],
        }
        for index, label in enumerate(dict.fromkeys(labels))
    }


def short_name(label: str) -> str:
    """Writes a model's name so that a legend and an axis have room for it; hover texts have it whole."""
    return chart_text(shorten(label, _NAME_WIDTH))


def in_focus(group: Group, first: Iterable[str] = ()) -> set[str]:
    """Returns the labels that have a colour and a name in a legend; of many, others are grey and tell on hover.

    Args:
        group: Trials that may be compared.
        first: Labels that come before others, such as those of a Pareto front.
    """
    if len(group.labels) <= MOST_NAMED:
        return set(group.labels)
    known = [row for row in group.rows if present(row["test_accuracy_mean"])]
    ranked = [row["label"] for row in sorted(known, key=lambda row: -row["test_accuracy_mean"])]
    return set(list(dict.fromkeys([*first, *ranked]))[:MOST_NAMED])


def out_of_focus(look: dict[str, Any]) -> dict[str, Any]:
    """Returns the look of a model that is not among those: grey, and in no legend."""
    return {**look, "colour": "line", "showlegend": False}


def axis(title: str, values: Sequence[float], *, may_be_log: bool = True) -> dict[str, Any]:
    """Returns an axis for some values: logarithmic where they span a wide range, with ticks that are plain numbers.

    Args:
        title: With the unit.
        values: All that are shown on it.
        may_be_log: Whether it may be logarithmic.
    """
    plain = {"title": {"text": chart_text(title)}}
    if not may_be_log or not values or min(values) <= 0 or max(values) / min(values) <= _LOG_RATIO:
        return plain
    return {**plain, "type": "log", **ticks(min(values), max(values))}


def ticks(low: float, high: float) -> dict[str, Any]:
    """Returns ticks at 1, 2 and 5 of every power of ten around a range; over a wide one at the powers alone.

    Args:
        low: The least value; positive.
        high: The greatest.
    """
    steps = (1, 2, 5) if high / low < 1e3 else (1,)
    # A reader may zoom out: ticks go on beyond the range.
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    values = [step * 10.0**power for power in powers for step in steps]
    texts = [tick_text(value) for value in values]
    return {"tickmode": "array", "tickvals": values, "ticktext": texts}


def tick_text(value: float) -> str:
    """Writes a tick: ``0.5``, ``200``, ``20k``, ``5M``."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:g}"


def hover(title: str, *lines: str) -> str:
    """Returns what is shown where a reader points at something: its name in bold, then a line each.

    Args:
        title: Of a record; made safe.
        lines: Made safe; empty ones are left out.
    """
    return "<br>".join([f"<b>{chart_text(title)}</b>", *(chart_text(line) for line in lines if line)])


def figure(value: float | None, unit: str = "") -> str:
    """Writes a figure and its unit for a hover text."""
    return f"{significant(value)} {unit}".strip()
