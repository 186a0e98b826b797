"""Which plots a results folder gets, and their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from resbench.report.bars import ledger_figure, throughput_figure
from resbench.report.batch_sizes import KIND, batch_size_figure
from resbench.report.curves import CURVES, EpochsByTrial, curves_figure
from resbench.report.groups import Group, slug_of
from resbench.report.numbers import present
from resbench.report.pareto import COSTS, costs_of, tradeoff_figure
from resbench.report.profiles import profile_sets
from resbench.report.style import MOST_COLOURED, ModelStyle, model_styles, plot_settings, save

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FOLDER = "plots"
LONGEST_PREFIX = 100
"""Characters of a title that begin a file's name."""
MOST_PLOTTED = 6
"""Groups that get plots: twenty files each, of which a page shows three. Nobody looks through more."""
_BY = {"epochs": "epoch", "time": "training time", "flops": "training FLOPs"}
"""What the learning curves' x axis is, in words."""


@dataclass(frozen=True)
class Plot:
    """A plot that was written."""

    group: Group | None
    """``None`` for a plot against batch size, which no group of one batch size holds."""
    kind: str
    """What it shows: ``accuracy_vs_macs``, ``learning_curves_time``, ``throughput``, ``batch_size``."""
    title: str
    files: tuple[Path, ...]
    """The PNG, then the SVG."""


def write_plots(
    groups: Sequence[Group], epochs: pd.DataFrame, folder: Path, profile: pd.DataFrame | None = None
) -> list[Plot]:
    """Draws every plot that there is data for, and removes those of an earlier report that were not drawn now.

    Args:
        groups: The folder's trials that are plotted; each group gets its own plots.
        epochs: The columns of ``epochs.csv``.
        folder: The results folder; the files go into its folder ``plots``.
        profile: The columns of ``profile.csv``, for the plots against batch size.

    Returns:
        What was written, group by group, then those against batch size.
    """
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    styles = model_styles(_in_order(groups))
    by_trial = EpochsByTrial(epochs)
    written = []
    with plot_settings():
        for group, prefix in zip(groups, _prefixes([group.slug for group in groups]), strict=True):
            for kind, title, figure in _figures(group, by_trial, styles):
                if figure is not None:
                    name = "-".join(part for part in (prefix, kind) if part)
                    written.append(Plot(group, kind, title, tuple(save(figure, target / name))))
        if profile is not None:
            found = [(one.title, figure) for one in profile_sets(profile) if (figure := batch_size_figure(one, styles))]
            prefixes = _prefixes([slug_of(title) for title, _ in found]) if len(found) > 1 else [""]
            for (title, figure), prefix in zip(found, prefixes, strict=False):
                name = "-".join(part for part in (prefix, KIND) if part)
                words = f"throughput and memory against batch size{f', {title}' if len(found) > 1 else ''}"
                written.append(Plot(None, KIND, words, tuple(save(figure, target / name))))
    _remove_stale(target, {path for plot in written for path in plot.files})
    return written


def _in_order(groups: Sequence[Group]) -> list[str]:
    """Returns all models, those first that shall have a colour of their own.

    Those that every plot of their group shows come first: there are fewer looks than there may be models. Where there
    are more than colours suffice for, these are the most accurate of any group.
    """
    shown = dict.fromkeys(label for group in groups for label in group.shown)
    everyone = list(dict.fromkeys([*shown, *(label for group in groups for label in group.labels)]))
    if len(everyone) <= MOST_COLOURED:
        return everyone
    best: dict[str, int] = {}
    for group in groups:
        known = [row for row in group.rows if present(row["test_accuracy_mean"])]
        known.sort(key=lambda row: -row["test_accuracy_mean"])
        for place, row in enumerate(known):
            best[row["label"]] = min(place, best.get(row["label"], place))
    return sorted(everyone, key=lambda label: best.get(label, len(everyone)))


def _prefixes(slugs: Sequence[str]) -> list[str]:
    """Returns what the names of each group's files begin with: titles cut short, and told apart where they are alike.

    Two titles that differ, in a Chinese name say, may have the same letters a to z.
    """
    prefixes: list[str] = []
    for slug in slugs:
        short = slug[:LONGEST_PREFIX].strip("-")
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
    for cost in costs_of(group):
        title = f"test accuracy against {cost.words}"
        yield f"accuracy_vs_{cost.name}", title, tradeoff_figure(group, cost, styles)
    for name, source, axis in CURVES:
        title = f"learning curves by {_BY[name]}"
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
        KIND,
    )
    for path in folder.iterdir():
        if path.suffix in {".png", ".svg"} and path.stem.endswith(kinds) and path not in written:
            path.unlink()
