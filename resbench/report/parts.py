"""What the Markdown pages share: their names, a person's own words beside them, and how a plot stands on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resbench.report.numbers import escape

if TYPE_CHECKING:
    from resbench.report.plots import Plot

PAGE = "README.md"
NOTES = "NOTES.md"
"""A person's own words on the results; the page shows them, and no rebuild touches them."""


def picture(plot: Plot) -> str:
    """Returns a plot as a picture in Markdown that leads to its SVG file."""
    title = escape(plot.title[0].upper() + plot.title[1:])
    return f"[![{title}]({relative(plot)})]({plot.files[1].parent.name}/{plot.files[1].name})"


def relative(plot: Plot) -> str:
    """Returns where a plot's PNG is, as seen from the page."""
    return f"{plot.files[0].parent.name}/{plot.files[0].name}"
