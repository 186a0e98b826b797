"""What surrounds the results on every page: a person's own words, the files beside it, where it comes from."""

from __future__ import annotations

from pathlib import Path

from resbench.report.html.document import Block, Markdown
from resbench.report.parts import NOTES

HTML_PAGE = "report.html"

FOOTER = "Derived from `records.jsonl` alone; `resbench report` rebuilds it. It asks nothing of any server."
_FILES = ("README.md", "trials.csv", "epochs.csv", "profile.csv", "summary.csv", "pairwise.csv", "records.jsonl")


def own_words(folder: Path) -> list[Block]:
    """Returns what a person wrote about the results in ``NOTES.md``, or nothing.

    Args:
        folder: The results folder.
    """
    notes = folder / NOTES
    return [Markdown(notes.read_text(encoding="utf-8"))] if notes.is_file() else []


def files_beside(folder: Path) -> list[str]:
    """Returns the files of a results folder that a page links to.

    Args:
        folder: The results folder.
    """
    return [name for name in _FILES if (folder / name).is_file()]
