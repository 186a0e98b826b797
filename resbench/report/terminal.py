"""Any table in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resbench.report.tables import Table

if TYPE_CHECKING:
    from rich.console import Group


def rich_of(table: Table, title: str) -> Group:
    """Renders a table with its title above and its notes below; a long cell breaks, none is cut.

    Args:
        table: What to show.
        title: What it is about.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    rendered = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, header in enumerate(table.headers):
        rendered.add_column(Text(header), justify="left" if index in table.text_columns else "right", overflow="fold")
    for row in table.rows:
        rendered.add_row(*(Text(cell.text, style="bold" if cell.best else "") for cell in row))
    heading = ", ".join(part for part in (title, table.title) if part)
    return Group(Text(heading, style="bold"), rendered, *(Text(note, style="dim") for note in table.notes), Text(""))
