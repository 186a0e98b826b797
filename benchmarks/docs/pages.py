"""The committed results: which they are, and their pages made anew from their records."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import typer

from benchmarks.harness.table import CSV, Rows
from resbench.cli import app
from resbench.errors import InputError
from resbench.report.experiments.stored import COLLECTION
from resbench.store import RECORDS

INDEX = Path("results") / "README.md"
"""The list of what is committed; it links to the page of each folder."""
_LINK = re.compile(r"\]\((\w[\w.-]*)/README\.md\)")


def committed_folders(root: Path) -> list[Path]:
    """Returns the results folders that the index names, in its order.

    Args:
        root: Of the repository.

    Raises:
        InputError: There is no index, it names no folder, or one that holds no records; the message names the line.
    """
    path = root / INDEX
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}. Run this in the repository's root.") from error
    folders = []
    for number, line in enumerate(lines, start=1):
        for name in _LINK.findall(line):
            folder = path.parent / name
            if not any((folder / file).is_file() for file in (RECORDS, COLLECTION, CSV)):
                raise InputError(
                    f"{INDEX}, line {number}: {name} holds no results ({RECORDS}, {COLLECTION} or {CSV}). "
                    "Remove the line, or bring the folder back."
                )
            folders.append(folder)
    if not folders:
        raise InputError(f"{INDEX} names no results. Each folder has a link to its page there.")
    return folders


def rebuild(folder: Path) -> None:
    """Makes the pages, tables and plots of a results folder anew, as `resbench report` and the harness do.

    Raises:
        InputError: They cannot be made; what is wrong has been said.
    """
    if (folder / CSV).is_file():
        Rows(folder).write_page()
        return
    with contextlib.redirect_stdout(io.StringIO()):  # the table that it prints
        code = typer.main.get_command(app).main(["report", str(folder)], "resbench", standalone_mode=False)
    if code:
        raise InputError(f"`resbench report {folder}` ended with exit code {code}.")
