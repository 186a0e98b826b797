"""Names and paths that come from outside (files, folders, suites, records): made safe to show and to look up."""

from __future__ import annotations

from pathlib import Path

from resbench.errors import InputError


def printable(text: str) -> str:
    r"""Returns text with every character that does not print as its escape: ``\x1b``, ``\u202e``, ``\n``.

    What is left cannot command a terminal, turn the order of a line around, break a table or an SVG file, or fail to
    be written as UTF-8. A character counts as printable where :meth:`str.isprintable` says so, as in ``repr``.
    """
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


def user_path(given: str | Path) -> Path:
    """Returns a path that a user gave, with ``~`` and ``~name`` expanded.

    Raises:
        InputError: There is no user of that name, or there is a NUL in the path.
    """
    if "\0" in str(given):
        raise InputError(f"the path {str(given)!r} has a NUL character, which no path can have: remove it.")
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"cannot expand the path {str(given)!r}: this machine knows no home folder of that user. "
            f"Give the whole path, or './{given}' for a file of that name."
        ) from error
