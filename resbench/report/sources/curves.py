"""Learning curves of an experiment's arms: loss and accuracy by epoch, in training and on the test images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from resbench.report.curves import Curve, curve
from resbench.report.experiments.runs import ArmRun
from resbench.report.style import INK, model_styles, new_figure, scale_axis, title_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

KIND = "learning_curves"
"""What the name of every plot here ends with."""
MOST_DRAWN = 14
"""Arms that a plot shows: two lines each, and no more of them can be told apart."""

_PANELS = (("Loss", "loss", "loss", 1.0), ("Accuracy", "accuracy", "accuracy (%)", 100.0))
"""Title, end of the two columns' names, axis label, and what they are multiplied by."""
_LINES: tuple[tuple[str, Literal["--", "-"]], ...] = (("train", "--"), ("test", "-"))
_LOSSES_APART = 15.0
"""Losses that span more than this ratio are drawn on a logarithmic axis."""
_LEGEND_WIDTH = 100
"""Characters of a legend's line."""
_LONGEST_STEM = 100


def arms_figure(title: str, arms: Sequence[ArmRun]) -> Figure | None:
    """Draws loss and accuracy by epoch, training dashed and test solid, a colour an arm.

    Args:
        title: What the arms are of.
        arms: Those without an evaluation are left out.

    Returns:
        The figure; ``None`` where no arm was evaluated more than once.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    drawn = [(arm.name, arm.epochs) for arm in arms if arm.epochs is not None and len(arm.epochs)]
    if not any(_evaluations(epochs) > 1 for _, epochs in drawn):
        return None
    left_out = f"the first {MOST_DRAWN} of {len(drawn)} arms" if len(drawn) > MOST_DRAWN else ""
    drawn = drawn[:MOST_DRAWN]
    styles = model_styles(name for name, _ in drawn)
    columns = _legend_columns([style.name for style in styles.values()])
    figure = new_figure(height_in=3.2 + 0.17 * -(-(len(drawn) + len(_LINES)) // columns))
    for place, (panel, ending, label, factor) in enumerate(_PANELS):
        axes = figure.add_subplot(1, len(_PANELS), place + 1)
        values: list[float] = []
        for name, epochs in drawn:
            for split, line in _LINES:
                found = curve(epochs, "epoch", of=f"{split}_{ending}", factor=factor)
                if found is None:
                    continue
                values += found.mean
                axes.plot(
                    found.x,
                    found.mean,
                    color=styles[name].colour,
                    linestyle=line,
                    linewidth=1.5 if split == "test" else 1.1,
                    marker=styles[name].marker if split == "test" or len(found.x) == 1 else "",
                    markersize=3.5,
                    markevery=_every(found),
                )
                if split == "test" and found.seeds > 1:
                    axes.fill_between(
                        found.x, found.low, found.high, color=styles[name].colour, alpha=0.15, linewidth=0
                    )
        axes.set_title(panel)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=axes.get_xlim()[1] >= 2))
        if ending == "loss":  # a first evaluation may be a hundred times the last
            scale_axis(axes, [value for value in values if isfinite(value)], axis="y", ratio=_LOSSES_APART)
    handles = [Line2D([], [], color=INK, linestyle=line, linewidth=1.2, label=split) for split, line in _LINES]
    handles += [Line2D([], [], color=s.colour, marker=s.marker, markersize=4, label=s.name) for s in styles.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    several = any(len(set(frame["trial_id"])) > 1 for _, frame in drawn)
    band = "mean over the seeds; band: least and most of the test curve" if several else ""
    data = dict.fromkeys(name for arm in arms for name in arm.distinct("dataset"))
    figure.suptitle(title_of(title, f"run on {', '.join(data)}", left_out, band), fontsize=10, x=0.01, ha="left")
    return figure


def stems(suites: Iterable[str]) -> list[str]:
    """Returns the beginning of each suite's file names: letters, digits and hyphens, each its own."""
    found: list[str] = []
    for name in suites:
        short = re.sub(r"[^0-9a-z]+", "-", name.lower()).strip("-")[:_LONGEST_STEM] or "suite"
        number, stem = 1, short
        while stem in found:
            number += 1
            stem = f"{short}-{number}"
        found.append(stem)
    return found


def remove_stale(folder: Path, written: set[Path]) -> None:
    """Deletes plots that an earlier page had and this one does not; other files stay."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.suffix in {".png", ".svg"} and path.stem.endswith(f"-{KIND}") and path not in written:
            path.unlink()


def _evaluations(epochs: pd.DataFrame) -> int:
    """Returns how often every seed was evaluated."""
    found = curve(epochs, "epoch")
    return len(found.x) if found else 0


def _every(found: Curve) -> int:
    """Returns at which point a curve has a marker: some eight of them."""
    return max(1, len(found.x) // 8)


def _legend_columns(labels: Sequence[str]) -> int:
    """Returns how many columns of a legend fit below the panels."""
    longest = max(len(label) for label in labels)
    return max(1, min(len(labels) + len(_LINES), _LEGEND_WIDTH // (longest + 8)))
