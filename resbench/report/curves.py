"""Learning curves: test accuracy by epoch and by seconds of the train clock."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resbench.report.groups import Group
from resbench.report.style import ModelStyle, legend_beside, new_figure, title_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

CURVES = (
    ("epochs", "epoch", "epoch (passes over the training set)"),
    ("time", "train_clock_s", "train clock: data + step (s)"),
    ("flops", "train_flops_spent", "training FLOPs spent"),
)
"""Name in ``learning_curves_NAME``, column of ``epochs.csv`` and axis label of the three plots."""


_SOURCES = ("epoch", "train_clock_s", "train_flops_spent")
"""Columns of ``epochs.csv`` that a curve can be drawn over."""


@dataclass(frozen=True)
class Curve:
    """A figure over a training, test accuracy in percent unless said, as mean, least and most over the seeds."""

    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    seeds: int


class EpochsByTrial:
    """The evaluations of a folder, found by trial: no plot searches all of them.

    Args:
        epochs: The columns of ``epochs.csv``.
    """

    def __init__(self, epochs: pd.DataFrame) -> None:
        self._epochs = epochs[["trial_id", "test_accuracy", *_SOURCES]]
        self._places: dict[str, list[int]] = {}
        for place, trial_id in enumerate(epochs["trial_id"]):
            self._places.setdefault(trial_id, []).append(place)

    def of(self, trial_ids: Iterable[str]) -> pd.DataFrame:
        """Returns the rows of some trials, in the order of the file."""
        return self._epochs.iloc[sorted(place for each in trial_ids for place in self._places.get(each, ()))]


def curve(epochs: pd.DataFrame, source: str, *, of: str = "test_accuracy", factor: float = 100.0) -> Curve | None:
    """Averages the seeds of one model evaluation by evaluation; stops where the first seed stops.

    Args:
        epochs: Rows of ``epochs.csv`` of the trials of one model.
        source: The column that becomes x; its mean over the seeds is taken.
        of: The column that becomes y.
        factor: What it is multiplied by: accuracies are shown in percent.

    Returns:
        The curve, or None if there is no evaluation, or one whose x is not known.
    """
    if not epochs[source].notna().all():
        return None
    trials: dict[str, list[tuple[float, float]]] = {}
    for trial_id, at, value in zip(epochs["trial_id"], epochs[source], epochs[of], strict=True):
        trials.setdefault(trial_id, []).append((float(at), factor * float(value)))
    if not trials:
        return None
    x, mean, low, high = [], [], [], []
    for evaluation in zip(*trials.values(), strict=False):
        ats, values = zip(*evaluation, strict=True)
        x.append(sum(ats) / len(ats))
        mean.append(sum(values) / len(values))
        low.append(min(values))
        high.append(max(values))
    return Curve(x, mean, low, high, len(trials))


def curves_figure(
    group: Group, epochs: EpochsByTrial, source: str, axis: str, styles: dict[str, ModelStyle]
) -> Figure | None:
    """Draws the models' learning curves; ``None`` where no ``ok`` trial was evaluated more than once.

    Args:
        group: The trials to draw; those that did not end ``ok`` are left out.
        epochs: Of the whole folder.
        source: The column on the x axis.
        axis: The label of the x axis.
        styles: Of each model.
    """
    curves = {}
    for label in group.shown:
        found = curve(epochs.of(group.ok(label, "trial_id")), source)
        if found:
            curves[label] = found
    if not any(len(data.x) > 1 for data in curves.values()) or not any(data.x[-1] for data in curves.values()):
        return None
    unit, in_unit = _unit(source, max(data.x[-1] for data in curves.values()))
    figure = new_figure(height_in=max(4.2, 0.9 + 0.19 * len(curves)))
    axes = figure.add_subplot()
    # The legend lists the models in the order in which their curves end, best first.
    for label, data in sorted(curves.items(), key=lambda item: -item[1].mean[-1]):
        style = styles[label]
        x = [at / unit for at in data.x]
        axes.plot(
            x,
            data.mean,
            color=style.colour,
            marker=style.marker,
            markersize=3.5 if style.muted else 4.5,
            markeredgecolor="white",
            markeredgewidth=0.4,
            markevery=max(1, len(x) // 8),
            linewidth=0.9 if style.muted else 1.4,
            zorder=1.9 if style.muted else 2.1,
            label=style.name,
        )
        if data.seeds > 1 and not style.muted:  # twenty bands would be one grey area
            axes.fill_between(x, data.low, data.high, color=style.colour, alpha=0.15, linewidth=0)
    axes.set_xlabel(f"{axis}{in_unit}")
    axes.set_ylabel("test accuracy (%)")
    coloured = any(styles[label].muted for label in curves)
    axes.set_title(title_of("Learning curves", group.title, group.caption, _band(curves.values(), coloured)))
    axes.set_xlim(left=0)
    legend_beside(axes)
    return figure


def _band(curves: Iterable[Curve], only_coloured: bool) -> str:
    """Says what the bands are, where there are any."""
    if not any(data.seeds > 1 for data in curves):
        return ""
    return "band: min to max over seeds" + (", of models in colour" if only_coloured else "")


def _unit(source: str, longest: float) -> tuple[float, str]:
    """Returns what to divide an axis by, and how its label says so: FLOPs are counted in thousands of thousands."""
    if source != "train_flops_spent":
        return 1.0, ""
    exponent = 3 * (math.floor(math.log10(longest)) // 3)
    return 10.0**exponent, f" (1e{exponent})" if exponent else ""
