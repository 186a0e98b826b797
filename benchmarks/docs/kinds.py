"""What a block of a document can show, by the word that its comment begins with."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from benchmarks.docs.blocks import Block, DocumentError
from benchmarks.docs.columns import columns
from benchmarks.docs.excerpts import harness, headline, plot, table
from benchmarks.docs.listings import commands, networks
from resbench.errors import InputError

KINDS: dict[str, Callable[..., str]] = {
    kind.__name__: kind for kind in (table, headline, plot, harness, networks, commands, columns)
}
"""Each takes the repository's root and the words behind its name, and returns Markdown."""


def make_block(root: Path, name: str, block: Block) -> str:
    """Returns what belongs into a block.

    Args:
        root: Of the repository.
        name: What messages call the document.
        block: What is asked for.

    Raises:
        DocumentError: The kind is not known, its arguments are not what it takes, or it cannot be made.
    """
    kind = KINDS.get(block.kind)
    if kind is None:
        raise DocumentError(name, block.line, f"unknown block {block.kind!r}. Known: {', '.join(KINDS)}.")
    try:
        inspect.signature(kind).bind(root, *block.arguments)
    except TypeError as error:
        usage = " ".join(parameter.upper() for parameter in [*inspect.signature(kind).parameters][1:])
        given = " ".join(block.arguments) or "nothing"
        message = f"{block.kind} takes {usage or 'no words'}, and {given} was given."
        raise DocumentError(name, block.line, message) from error
    try:
        return kind(root, *block.arguments)
    except InputError as error:
        raise DocumentError(name, block.line, str(error)) from error
