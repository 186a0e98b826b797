"""How every plot looks and is saved: size, fonts, colours. matplotlib's global settings stay as they are."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from resbench.report.numbers import shorten, significant
from resbench.store import write_atomically
from resbench.untrusted import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 7.2
"""1,080 pixels at ``DPI``: sharp at the 900 or so that a README shows."""
DPI = 150
NAME_WIDTH = 30
"""Characters of a model's name that a plot shows."""
TITLE_WIDTH = 100
"""Characters of a line of a title: more do not fit, and a layout without room collapses."""

# Okabe and Ito, https://jfly.uni-koeln.de/color/; their yellow is left out, for it cannot be read on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", "h", ">")
"""Eleven to seven colours: no two models that share a colour share a marker."""
MOST_COLOURED = 2 * len(COLOURS)
"""Models that all have a colour. Of more, only the first seven: three that share one could not be told apart."""
GREY = "#767676"
GREYS = ("#9A9A9A", "#BDBDBD", "#7A7A7A")
"""Of the models without a colour."""
INK = "#222222"
"""Of text: names are told apart by their place, since half of the colours are too light to read."""

_SETTINGS: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name is no formula, and one with two $ in it need not be valid as one
    "svg.hashsalt": "resbench",
}


@dataclass(frozen=True)
class ModelStyle:
    """How one model is drawn, in every plot of a report."""

    name: str
    colour: str
    marker: str
    muted: bool = False
    """Whether it is one of many and has no colour of its own: it is drawn thinner, behind the others."""


def model_styles(labels: Iterable[str]) -> dict[str, ModelStyle]:
    """Gives every model a colour and a marker, by its place among all models of a report.

    Args:
        labels: Where there are more than :data:`MOST_COLOURED`, the first have a colour and the others are grey.
    """
    distinct = list(dict.fromkeys(labels))
    coloured = len(distinct) if len(distinct) <= MOST_COLOURED else len(COLOURS)
    styles = {}
    for index, label in enumerate(distinct):
        muted = index >= coloured
        colour = GREYS[index % len(GREYS)] if muted else COLOURS[index % len(COLOURS)]
        styles[label] = ModelStyle(_name(label), colour, MARKERS[index % len(MARKERS)], muted)
    return styles


def _name(label: str) -> str:
    """Writes a model's label so that it fits, and so that an SVG file can hold it."""
    return shorten(printable(label), NAME_WIDTH)


@contextmanager
def plot_settings() -> Iterator[None]:
    """Draws and saves with the settings of this module, whatever a caller has set; theirs come back after."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes there; pages and tables have it whole.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        cast("dict[str, Any]", matplotlib.rcParams).update(_SETTINGS)
        yield


def new_figure(height_in: float) -> Figure:
    """Makes a figure of the common width that belongs to no window and to no pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def title_of(*lines: str) -> str:
    """Joins the lines of a plot's title that say something."""
    return "\n".join(shorten(printable(line), TITLE_WIDTH) for line in lines if line)


def legend_beside(axes: Axes) -> None:
    """Puts the legend to the right of the axes and below the height of their title, which may be longer than they."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


def lay_out(figure: Figure) -> None:
    """Finds every part's place once and keeps it; matplotlib would do so again for each file, at half of their cost."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes ``stem.png`` and ``stem.svg``, the same bytes for the same data; returns their paths."""
    lay_out(figure)
    paths = [stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")]
    for path, metadata in zip(paths, ({"Software": None}, {"Date": None}), strict=True):
        write_atomically(path, partial(figure.savefig, dpi=DPI, metadata=metadata))
    return paths


_MOST_PLAIN = 1e4
"""Values that span more than this ratio have powers of ten as ticks: plain numbers would be too long."""


def scale_axis(axes: Axes, values: Iterable[float], *, axis: str = "x", ratio: float = 3.0) -> None:
    """Makes an axis logarithmic where its values span more than ``ratio``; its ticks are plain numbers, if not long."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    known = list(values)
    target = axes.xaxis if axis == "x" else axes.yaxis
    if min(known) > 0 and max(known) / min(known) > ratio:
        (axes.set_xscale if axis == "x" else axes.set_yscale)("log")
        if max(known) / min(known) > _MOST_PLAIN:  # the scale's own ticks, as many as there is room for
            target.set_major_formatter(FuncFormatter(lambda value, _: f"1e{round(math.log10(value))}"))
            return
        subs = (1.0, 2.0, 5.0) if max(known) / min(known) > 8 else (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
        target.set_major_locator(LogLocator(subs=subs))
        target.set_minor_formatter(NullFormatter())
    target.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def plain(value: float) -> str:
    """Writes a tick: at most four significant digits, no zeros behind the last that says something."""
    text = significant(value)
    return text.rstrip("0").rstrip(".") if "." in text else text
