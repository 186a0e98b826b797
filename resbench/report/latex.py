r"""Tables as LaTeX, for a paper: floats in the style of ``booktabs``, in which every text is escaped."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from textwrap import wrap

from resbench.report.tables import Cell, Table
from resbench.untrusted import printable

TEXT_WIDTH = 80
"""Characters of a line of an article at ten points; a table that takes more is scaled down to the line."""


def latex(table: Table, caption: str, label: str) -> str:
    r"""Renders a table as a LaTeX float in the style of ``booktabs``, best values in bold, notes in small type below.

    Headers break into lines that are no longer than the column needs. A table that is wider than a line of text is
    scaled to it; its first line says which packages it needs.

    Args:
        table: What to render.
        caption: A sentence above the table; it is escaped.
        label: What ``\ref`` finds it by; only letters, digits, ``:`` and ``-`` are kept.
    """
    longest = [max(map(len, (row[index].text for row in table.rows)), default=0) for index in range(len(table.headers))]
    headers = [
        wrap(header, max(width, *map(len, header.split() or [""])), break_long_words=False) or [""]
        for header, width in zip(table.headers, longest, strict=True)
    ]
    widths = [max(width, *map(len, lines)) for width, lines in zip(longest, headers, strict=True)]
    is_wide = sum(widths) + 2 * len(widths) > TEXT_WIDTH
    aligns = ["l" if index in table.text_columns else "r" for index in range(len(table.headers))]
    rows = [" & ".join(_cell(cell) for cell in row) + r" \\" for row in table.rows]
    tabular = [
        rf"\begin{{tabular}}{{{''.join(aligns)}}}",
        r"  \toprule",
        f"  {' & '.join(_header(lines, align) for lines, align in zip(headers, aligns, strict=True))} \\\\",
        r"  \midrule",
        *(f"  {row}" for row in rows),
        r"  \bottomrule",
        r"\end{tabular}",
    ]
    if is_wide:
        tabular = [r"\resizebox{\linewidth}{!}{%", *tabular[:-1], tabular[-1] + "}"]
    notes = [rf"{escape_latex(note)}\par" for note in table.notes]
    below = [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize", *(f"  {note}" for note in notes)]
    lines = [
        r"\centering",
        rf"\caption{{{escape_latex(caption)}}}",
        rf"\label{{{re.sub('[^0-9A-Za-z:-]+', '-', label).strip('-')}}}",
        r"\par\smallskip",
        *tabular,
        *([*below, r"\end{minipage}"] if notes else []),
    ]
    needs = r"% needs \usepackage{booktabs}"
    if is_wide:
        needs += r" and \usepackage{graphicx}, which scales the table to the line; --columns makes it narrower"
    return "\n".join([needs, r"\begin{table}[tbp]", *(f"  {line}" for line in lines), r"\end{table}"])


def _header(lines: Sequence[str], align: str) -> str:
    """Writes a header of one or more lines, each at the column's side."""
    escaped = r"\\".join(escape_latex(line) for line in lines)
    return escaped if len(lines) == 1 else rf"\begin{{tabular}}[b]{{@{{}}{align}@{{}}}}{escaped}\end{{tabular}}"


def _cell(cell: Cell) -> str:
    """Writes a cell, in bold where it is the best of its column."""
    text = escape_latex(_MINUS.sub("\N{MINUS SIGN}", cell.text))
    return rf"\textbf{{{text}}}" if cell.best else text


_SPECIAL = {
    **{mark: rf"\{mark}" for mark in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # at the beginning of a row it would be an argument of the line break before it
    "]": "{]}",
    "*": "{*}",  # likewise
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MINUS SIGN}": "$-$",
    "→": r"$\rightarrow$",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "§": r"\S{}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "µ": r"$\mu$",
    "μ": r"$\mu$",
    "²": "$^2$",
    "\xa0": "~",
}
_MARKS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip
"""The accents that LaTeX's own fonts have, by their combining character."""
_LIGATURE = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=`)(?=`)|(?<=,)(?=,)|(?<=[?!])(?=`)")
_MINUS = re.compile(r"(?<![0-9A-Za-z.])-(?=[0-9])")


def escape_latex(text: str) -> str:
    r"""Makes text from a user or a file safe inside LaTeX, on one line; any engine compiles what comes out.

    Letters with an accent become that accent's command. A character that LaTeX's own fonts lack becomes its code point,
    such as ``U+4E2D``: pdfLaTeX stops at it otherwise.
    """
    line = unicodedata.normalize("NFC", printable(" ".join(text.split())).replace(" -> ", " → "))
    apart = _LIGATURE.split(line)  # marks that would become one: -- a dash, ?` a turned question mark
    return "{}".join("".join(map(_character, part)) for part in apart).replace(r" \%", r"~\%")


def _character(mark: str) -> str:
    """Writes one character."""
    if mark in _SPECIAL:
        return _SPECIAL[mark]
    if mark.isascii():
        return mark
    base, *accents = list(unicodedata.normalize("NFD", mark))
    if base.isascii() and base.isalpha() and len(accents) == 1 and accents[0] in _MARKS:
        return rf"\{_MARKS[accents[0]]}{{{base}}}"
    return f"U+{ord(mark):04X}"
