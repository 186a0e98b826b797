"""Tables as Markdown, for a page or a pull request."""

from __future__ import annotations

from resbench.report.numbers import escape
from resbench.report.tables import Cell, Table


def markdown(table: Table) -> str:
    """Renders a table as Markdown, best values in bold, its notes as lines below; the title is left out."""
    from tabulate import tabulate

    def text(cell: Cell) -> str:
        return f"**{escape(cell.text)}**" if cell.best else escape(cell.text)

    align = ["left" if index in table.text_columns else "right" for index in range(len(table.headers))]
    body = tabulate(
        [[text(cell) for cell in row] for row in table.rows],
        headers=[escape(header) for header in table.headers],
        tablefmt="pipe",
        colalign=align,
        disable_numparse=True,
    )
    return "\n\n".join([body, *(escape(note) for note in table.notes)])
