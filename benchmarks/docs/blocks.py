"""The generated parts of a document: lines between two comments, of which the first says what stands there.

    <!-- generated: table results/cifar10-jpeg75-cpu "Budget 12800img" -->
    ...
    <!-- end -->

Words in quotes are one argument, as in a shell. A document has no other comments: a marker that is misspelt would look
like one. Nothing inside a code block is a marker.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from resbench.errors import InputError

END = "<!-- end -->"
_BEGINNING = re.compile(r"<!-- generated: (.+) -->")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


@dataclass(frozen=True)
class Block:
    """One generated part."""

    kind: str
    arguments: tuple[str, ...]
    line: int
    """Where its first comment stands, from 1."""
    end: int
    """Where its last comment stands."""
    text: str
    """What stands between the comments now."""

    def __str__(self) -> str:
        """Says what it shows, as its comment does."""
        quoted = (f'"{word}"' if " " in word else word for word in self.arguments)
        return " ".join([self.kind, *quoted])


class DocumentError(InputError):
    """A document that cannot be filled in; the message names the line."""

    def __init__(self, name: str, line: int, message: str) -> None:
        super().__init__(f"{name}, line {line}: {message}")


def find_blocks(text: str, name: str) -> list[Block]:
    """Returns the generated parts of a document, in their order.

    Args:
        text: The document's.
        name: What messages call it.

    Raises:
        DocumentError: A comment is no marker, or a part does not end.
    """
    blocks: list[Block] = []
    lines = text.splitlines()
    fence, number = "", 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if mark := _FENCE.match(line):
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        if fence or not line.startswith("<!--"):
            continue
        beginning = _BEGINNING.fullmatch(line)
        if beginning is None:
            expected = f"{END} stands where nothing began" if line == END else f"{line!r} is no marker of a block"
            raise DocumentError(name, number, f"{expected}. A block begins with <!-- generated: KIND ... -->.")
        body = _until_end(lines[number:])
        if body is None:
            raise DocumentError(name, number, f"this block does not end. Put {END} below it.")
        end = number + len(body) + 1
        blocks.append(Block(*_words(beginning[1], name, number), number, end, "\n".join(body)))
        number = end
    return blocks


def fill(text: str, name: str, make: Callable[[Block], str]) -> tuple[str, list[Block]]:
    """Puts what is made now into every block of a document.

    Args:
        text: The document's.
        name: What messages call it.
        make: Returns what belongs into a block.

    Returns:
        The new text, and the blocks that were not as they are made now.

    Raises:
        DocumentError: As :func:`find_blocks`, or what is made would end the block itself.
    """
    lines = text.splitlines()
    changed: list[Block] = []
    for block in reversed(find_blocks(text, name)):
        made = make(block).strip("\n")
        if any(line.startswith("<!--") for line in made.splitlines()):
            raise DocumentError(name, block.line, f"what is made for {block} has a comment of its own.")
        if made != block.text:
            changed.insert(0, block)
            lines[block.line : block.end - 1] = made.split("\n")
    return "\n".join(lines) + "\n", changed


def _until_end(lines: list[str]) -> list[str] | None:
    """Returns the lines before the end marker, ``None`` where another block begins first or none ends."""
    for number, line in enumerate(lines):
        if line == END:
            return lines[:number]
        if _BEGINNING.fullmatch(line):
            return None
    return None


def _words(text: str, name: str, line: int) -> tuple[str, tuple[str, ...]]:
    """Splits a marker's words into the kind and its arguments."""
    try:
        kind, *arguments = shlex.split(text)
    except ValueError as error:
        raise DocumentError(name, line, f"cannot read {text!r} ({error}).") from error
    return kind, tuple(arguments)
