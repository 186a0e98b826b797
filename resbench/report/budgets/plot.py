"""A slope chart: the accuracy of each network from setting to setting. Lines that cross change places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from resbench.report.budgets.settings import Setting, networks
from resbench.report.groups import MOST_SHOWN
from resbench.report.numbers import shorten
from resbench.report.style import legend_beside, model_styles, new_figure, title_of
from resbench.stats import t_half_width
from resbench.untrusted import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "accuracy_by_setting"
"""The name of its files."""
MOST_SETTINGS = 10
"""Settings that it shows: the names of more do not fit below it."""
_TICK_WIDTH = 96
"""Characters that fit below the axes, all settings together."""
_ROOM = 0.35
"""How far the axis reaches above and below the means, as a share of what they span; longer bars are cut."""
_LEAST_ROOM = 1.5
"""Points; where networks lie close together."""
_APART = 0.035
"""How far networks stand side by side within a setting, in settings: bars on one place could not be told apart."""


def slope_figure(settings: Sequence[Setting]) -> Figure | None:
    """Draws the mean test accuracy of each network in each setting, with its 95 % interval, joined by a line.

    Args:
        settings: In the order in which they stand side by side.

    Returns:
        The figure; ``None`` where there are fewer than two settings, or every network is near chance.
    """
    if len(settings) < 2 or not any(setting.ordered for setting in settings[:MOST_SETTINGS]):
        return None
    shown = settings[:MOST_SETTINGS]
    every = networks(shown)
    labels = every[:MOST_SHOWN]
    styles = model_styles(labels)
    figure = new_figure(height_in=max(3.8, 1.2 + 0.19 * len(labels)))
    axes = figure.add_subplot()
    means = [100 * (setting.mean(label) or 0.0) for setting in shown for label in setting.ordered]
    room = max(_ROOM * (max(means) - min(means)), _LEAST_ROOM)
    low, high = max(0.0, min(means) - room), min(100.0, max(means) + room)
    has_bars = is_single = is_cut = is_hollow = False
    for turn, label in enumerate(labels):
        style = styles[label]
        offset = _APART * (turn - (len(labels) - 1) / 2) * min(1.0, 12 / len(labels))
        y = [100 * (setting.mean(label) or 0.0) if label in setting.ordered else math.nan for setting in shown]
        axes.plot(
            [place + offset for place in range(len(shown))],
            y,
            color=style.colour,
            linewidth=0.9 if style.muted else 1.4,
            zorder=1 if style.muted else 2,
        )
        for place, (setting, mean) in enumerate(zip(shown, y, strict=True)):
            is_guess = label in setting.guessing
            if not is_guess and math.isnan(mean):
                continue
            half = 0.0 if is_guess else 100 * (t_half_width(setting.accuracies(label)) or 0.0)
            has_bars, is_hollow = has_bars or half > 0, is_hollow or is_guess
            is_single = is_single or (not is_guess and len(setting.accuracies(label)) == 1)
            is_cut = is_cut or (half > 0 and (mean - half < low or mean + half > high))
            axes.errorbar(
                place + offset,
                max(low, 100 * (setting.mean(label) or 0.0)) if is_guess else mean,
                yerr=half or None,
                fmt=style.marker,
                color=style.colour,
                markerfacecolor="white" if is_guess else style.colour,
                markeredgecolor=style.colour if is_guess else "white",
                markeredgewidth=1.0 if is_guess else 0.5,
                markersize=4 if style.muted else 6,
                elinewidth=1.0,
                capsize=2,
                zorder=3,
                clip_on=not is_guess,
            )
        axes.plot([], [], color=style.colour, marker=style.marker, markersize=5, linewidth=1.4, label=style.name)
    axes.set_ylim(low, high)
    axes.set_xlim(-0.3, len(shown) - 0.7)
    width = _TICK_WIDTH // len(shown) - 2
    axes.set_xticks(range(len(shown)), [_tick(setting, width) for setting in shown])
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("test accuracy, last epoch (%)")
    legend_beside(axes)
    words = "one seed each: no interval"
    if has_bars:
        words = "bars: 95 % intervals of the mean over seeds" + ("; without a bar: one seed" if is_single else "")
    axes.set_title(
        title_of(
            "Test accuracy by setting: lines that cross change places",
            f"{words}; cut at the edge" if is_cut else words,
            "hollow: near chance, at the foot where that is below the axis" if is_hollow else "",
            _left_out(len(settings), len(every)),
        )
    )
    return figure


def _tick(setting: Setting, width: int) -> str:
    """Writes a setting's name and its budget so that they fit below the axis."""
    name = shorten(printable(setting.name), 2 * width)
    return f"{fill(name, width)}\n{shorten(printable(setting.budget), width)}"


def _left_out(settings: int, labels: int) -> str:
    """Says what the plot has no room for."""
    parts = [
        f"the first {most} of {number:,} {noun}"
        for number, most, noun in ((labels, MOST_SHOWN, "networks"), (settings, MOST_SETTINGS, "settings"))
        if number > most
    ]
    return ", ".join(parts)
