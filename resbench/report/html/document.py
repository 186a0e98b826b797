"""What a page is made of: sections of words, tables and charts, as plain data that knows nothing of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from resbench.report.tables import Table


@dataclass(frozen=True)
class View:
    """One way to see a chart; a reader chooses among them."""

    name: str
    """On its button: ``MACs``, ``by epoch``."""
    traces: list[dict[str, Any]]
    """As Plotly takes them, without colours: ``colour`` is an index into the page's palette, ``fade`` an opacity."""
    layout: dict[str, Any]
    """As Plotly takes it: axes and their titles; fonts, colours and margins are the page's."""


@dataclass(frozen=True)
class Chart:
    """A chart of one or more views."""

    slug: str
    """Its id in the page, the same in every rebuild."""
    title: str
    views: list[View]
    words: str = ""
    """What bars, bands and lines mean."""
    height: int = 420
    """In pixels."""
    kind: Literal["chart"] = "chart"


@dataclass(frozen=True)
class Words:
    """Paragraphs."""

    lines: Sequence[str]
    style: Literal["plain", "headline", "list", "strong", "warning"] = "plain"
    kind: Literal["words"] = "words"


@dataclass(frozen=True)
class Markdown:
    """A person's own words, which may have headings, links and lists; HTML in them is shown and not obeyed."""

    text: str
    kind: Literal["markdown"] = "markdown"


@dataclass(frozen=True)
class Figures:
    """A table of figures."""

    slug: str
    caption: str
    table: Table
    help: dict[str, str] = field(default_factory=dict)
    """What a heading means, shown where a reader points at it."""
    interactive: bool = False
    """Whether it can be sorted and filtered."""
    marks: Literal["best", "differs"] = "best"
    """What it means that a cell is marked."""
    kind: Literal["figures"] = "figures"


@dataclass(frozen=True)
class Charts:
    """Charts side by side where there is room."""

    charts: Sequence[Chart]
    kind: Literal["charts"] = "charts"


Block = Words | Markdown | Figures | Charts


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    slug: str
    title: str
    blocks: Sequence[Block]
    folded: bool = False
    """Whether it is closed until a reader opens it."""
    short: str = ""
    """What links to it are called, where the title is long."""


@dataclass(frozen=True)
class Document:
    """A page."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    footer: str
    files: Sequence[str] = ()
    """Names of files beside the page that it links to."""

    @property
    def charts(self) -> list[Chart]:
        """All charts, in the order in which they stand on the page."""
        return [
            chart
            for section in self.sections
            for block in section.blocks
            if isinstance(block, Charts)
            for chart in block.charts
        ]
