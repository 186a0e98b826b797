"""The page of several results folders side by side: what its ``README.md`` says, to be sorted and pointed at."""

from __future__ import annotations

from pathlib import Path

from resbench.report.html.charts.by_folder import folders_chart
from resbench.report.html.document import Block, Charts, Document, Figures, Section, Words
from resbench.report.html.headings import HEADINGS
from resbench.report.html.render import render
from resbench.report.html.surroundings import HTML_PAGE
from resbench.report.numbers import names
from resbench.report.parts import PAGE
from resbench.report.side_by_side.accuracy import accuracy_table
from resbench.report.side_by_side.gather import SideBySide
from resbench.report.side_by_side.page import (
    ACCURACY_TITLE,
    BESIDE_TITLE,
    LONG,
    METHOD,
    SPEED_TITLE,
)
from resbench.report.side_by_side.sentences import sentences
from resbench.report.side_by_side.speed import speed_table
from resbench.report.side_by_side.tables import beside_table, folder_table
from resbench.store import write_atomically


def write_side_by_side_html(found: SideBySide, out: Path) -> Path:
    """Writes ``report.html`` beside the Markdown page.

    Args:
        found: All folders.
        out: The folder of the page, which exists.

    Returns:
        The page.
    """
    text = render(side_by_side_document(found))
    page = out / HTML_PAGE
    write_atomically(page, lambda path: path.write_text(text, encoding="utf-8"))
    return page


def side_by_side_document(found: SideBySide) -> Document:
    """Returns what the page says.

    Args:
        found: All folders.
    """
    called = names([folder.name for folder in found.folders], len(found.folders))
    opening: list[Block] = [
        Words(list(sentences(found))),
        Figures("folders", "The folders", folder_table(found.folders), HEADINGS, marks="differs"),
    ]
    sections = [Section("summary", "", opening)]
    for number, (one, title) in enumerate(zip(found.alike, found.titles, strict=True), start=1):
        slug = f"set-{number}"
        blocks: list[Block] = []
        tables = ((ACCURACY_TITLE, accuracy_table(found, one, title)), (SPEED_TITLE, speed_table(found, one, title)))
        for index, (about, table) in enumerate(tables):
            if table is not None:
                blocks += [Words([about], "strong"), Figures(f"{slug}-{index}", about, table, HEADINGS, True)]
        chart = folders_chart(found, one, f"{slug}-folders")
        blocks += [Charts([chart])] if chart else []
        heading = title or "Compared"
        sections.append(Section(slug, heading[0].upper() + heading[1:], blocks))
    beside = beside_table(found)
    if beside is not None:
        table_block = Figures("not-compared", BESIDE_TITLE, beside, HEADINGS, True)
        sections.append(Section("beside", BESIDE_TITLE, [table_block], short="Not compared"))
    sections.append(Section("method", "How the numbers were made", [Words(METHOD, "list")], short="Method"))
    footer = f"Derived from the records of {called} alone. It asks nothing of any server."
    return Document("Side by side", called, sections, footer, [PAGE, LONG])
