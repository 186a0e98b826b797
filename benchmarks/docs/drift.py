"""The documents and the committed results' pages made anew, and what of them was not as it is made now."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.docs.blocks import fill
from benchmarks.docs.kinds import make_block
from benchmarks.docs.listings import MAKEFILE
from benchmarks.docs.pages import INDEX, committed_folders, rebuild
from resbench.errors import InputError
from resbench.store import write_atomically

DOCUMENTS = ("README.md", "METHOD.md")
PICTURES = {".png", ".svg"}
"""Drawn by other versions of matplotlib they have other bytes: only whether they are there is compared."""

NOT_ALWAYS_COMMITTED = "report.html"
"""A page of more than a megabyte: git ignores it where nobody is sent to it, so that it may be missing."""


def update(root: Path) -> list[str]:
    """Rebuilds the committed results' pages, then the generated parts of the documents.

    Args:
        root: Of the repository.

    Returns:
        The parts of the documents that were not as they are made now, with their lines.

    Raises:
        InputError: Records cannot be read, or a document cannot be filled in.
    """
    for folder in committed_folders(root):
        rebuild(folder)
    changed = []
    for name in DOCUMENTS:
        path = root / name
        try:
            old = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot read {name}: {error.strerror}.") from error
        new, blocks = fill(old, name, partial(make_block, root, name))
        if new != old:
            write_atomically(path, partial(Path.write_text, data=new, encoding="utf-8"))
        changed += [f"{name}, line {block.line}: {block}" for block in blocks]
    return changed


def find_drift(root: Path) -> list[str]:
    """Says what :func:`update` would change, and changes nothing.

    Args:
        root: Of the repository.

    Returns:
        A line for each part of a document, and for each file of the results.

    Raises:
        InputError: As :func:`update`.
    """
    with tempfile.TemporaryDirectory(prefix="resbench-docs-") as scratch:
        copy = Path(scratch)
        for file in (*DOCUMENTS, MAKEFILE, INDEX):
            target = copy / file
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(root / file, target)
        folders = [folder.relative_to(root) for folder in committed_folders(root)]
        for folder in folders:
            shutil.copytree(root / folder, copy / folder)
        parts = update(copy)
        return [*parts, *(line for folder in folders for line in _differing(root, copy, folder))]


def _differing(root: Path, copy: Path, folder: Path) -> list[str]:
    """Names the files of a results folder that are not as they were made in a copy of it."""
    before, after = (
        {path.relative_to(place): path for path in (place / folder).rglob("*") if path.is_file()}
        for place in (root, copy)
    )
    missing = after.keys() - before.keys()
    lines = [f"{name}: it is missing" for name in missing if name.name != NOT_ALWAYS_COMMITTED]
    lines += [f"{name}: nothing makes it any more" for name in before.keys() - after.keys()]
    for name in before.keys() & after.keys():
        if name.suffix not in PICTURES and before[name].read_bytes() != after[name].read_bytes():
            lines.append(f"{name}: not what its records say")
    return sorted(lines)
