"""Which plots a results folder gets, and their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from resbench.report.bars import ledger_figure, throughput_figure
from resbench.report.curves import CURVES, EpochsByTrial, curves_figure
from resbench.report.groups import Group
from resbench.report.pareto import COSTS, tradeoff_figure
from resbench.report.style import ModelStyle, model_styles, plot_settings, save

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FOLDER = "plots"
LONGEST_PREFIX = 100
"""Characters of a title that begin a file's name."""
MOST_PLOTTED = 6
"""Groups that get plots: eighteen files each, of which a page shows three. Nobody looks through more."""


@dataclass(frozen=True)
class Plot:
    """A plot that was written."""

    group: Group
    kind: str
    """What it shows: ``accuracy_vs_macs``, ``learning_curves_time``, ``throughput``, ``time_ledger``."""
    title: str
    files: tuple[Path, ...]
    """The PNG, then the SVG."""


def write_plots(groups: Sequence[Group], epochs: pd.DataFrame, folder: Path) -> list[Plot]:
    """Draws every plot that there is data for, and removes those of an earlier report that were not drawn now.

    Args:
        groups: The folder's trials that are plotted; each group gets its own plots.
        epochs: The columns of ``epochs.csv``.
        folder: The results folder; the files go into its folder ``plots``.

    Returns:
        What was written, group by group.
    """
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    # Those that every plot of their group shows come first: there are fewer looks than there may be models.
    shown = [label for group in groups for label in group.shown]
    styles = model_styles([*shown, *(label for group in groups for label in group.labels)])
    by_trial = EpochsByTrial(epochs)
    written = []
    with plot_settings():
        for group, prefix in zip(groups, _prefixes(groups), strict=True):
            for kind, title, figure in _figures(group, by_trial, styles):
                if figure is not None:
                    name = "-".join(part for part in (prefix, kind) if part)
                    written.append(Plot(group, kind, title, tuple(save(figure, target / name))))
    _remove_stale(target, {path for plot in written for path in plot.files})
    return written


def _prefixes(groups: Sequence[Group]) -> list[str]:
    """Returns what the names of each group's files begin with: titles cut short, and told apart where they are alike.

    Two titles that differ, in a Chinese name say, may have the same letters a to z.
    """
    prefixes: list[str] = []
    for group in groups:
        short = group.slug[:LONGEST_PREFIX].strip("-")
        counted = (f"{short}-{number}".strip("-") for number in count(2))
        prefixes.append(next(prefix for prefix in chain([short], counted) if prefix not in prefixes))
    return prefixes


def plotted_groups(groups: Sequence[Group], most: int = MOST_PLOTTED) -> list[Group]:
    """Returns the groups that get plots, in their order: where there are many, those that compare the most models.

    Args:
        groups: All of a folder.
        most: How many to plot.
    """
    ranked = sorted(range(len(groups)), key=lambda index: -len(groups[index].rows))
    return [groups[index] for index in sorted(ranked[:most])]


def _figures(
    group: Group, epochs: EpochsByTrial, styles: dict[str, ModelStyle]
) -> Iterator[tuple[str, str, Figure | None]]:
    """Draws one group's plots: (kind, title, figure or ``None``) each."""
    for cost in COSTS:
        title = f"test accuracy against {cost.words}"
        yield f"accuracy_vs_{cost.name}", title, tradeoff_figure(group, cost, styles)
    for name, source, axis in CURVES:
        title = f"learning curves by {'epoch' if name == 'epochs' else 'training time'}"
        yield f"learning_curves_{name}", title, curves_figure(group, epochs, source, axis, styles)
    yield "throughput", "training and inference throughput", throughput_figure(group, styles)
    yield "time_ledger", "where the time went", ledger_figure(group, styles)


def _remove_stale(folder: Path, written: set[Path]) -> None:
    """Deletes plots that an earlier report wrote and this one did not; other files stay."""
    kinds = (
        *(f"accuracy_vs_{cost.name}" for cost in COSTS),
        *(f"learning_curves_{name}" for name, _, _ in CURVES),
        "throughput",
        "time_ledger",
    )
    for path in folder.iterdir():
        if path.suffix in {".png", ".svg"} and path.stem.endswith(kinds) and path not in written:
            path.unlink()
