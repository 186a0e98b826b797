"""Libraries whose networks are looked up when they are asked for: ``timm:resnet50`` is resnet50 of the library timm.

One dict of them, by the prefix that ends in a colon. What a library holds is its own to say; nothing of it is imported
before one of its networks, or their names, are asked for.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from natsort import natsorted

from resbench.errors import DuplicateModelError, InputError, did_you_mean, nearest
from resbench.origins import Origin, origin_of

if TYPE_CHECKING:
    from resbench.registry import ModelEntry

Lookup = Callable[[str], "ModelEntry"]
"""From the name that a network has in its library to its entry; raises `InputError` where there is none of that name.

It builds nothing: listing a library looks up all of it."""

Names = Callable[[], Iterable[str]]
"""All names that a library's lookup takes, in any order."""


@dataclass(frozen=True)
class Library:
    """Where networks with a prefix come from."""

    entry: Lookup
    names: Names
    origin: Origin | None = None
    """Where it was registered, if not by resbench; its networks come from there."""


_LIBRARIES: dict[str, Library] = {}


def register_library(prefix: str, *, names: Names) -> Callable[[Lookup], Lookup]:
    """Registers the function it decorates: it answers for every name that begins with ``prefix`` and a colon.

    ::

        @register_library("zoo", names=lambda: ["ape", "bear"])
        def zoo_entry(name):
            return ModelEntry(f"zoo:{name}", ...)

    Args:
        prefix: The library's name, such as ``timm``.
        names: Says all names within the library, for wildcards and for who misspelt one.

    Returns:
        The decorator. It takes a function from a name within the library to its entry.

    Raises:
        DuplicateModelError: The prefix is taken.
        InputError: The prefix has a colon or a wildcard, or is empty.
    """

    def register(entry: Lookup) -> Lookup:
        origin = origin_of(sys._getframe(1))
        importlib.import_module("resbench.models")  # those of the project are the first, whoever asks first
        if prefix in _LIBRARIES:
            raise DuplicateModelError(f"library {prefix!r} is already registered: choose another prefix.")
        if not prefix.isidentifier():
            raise InputError(f"the library prefix {prefix!r} cannot be used: give letters, digits and underscores.")
        _LIBRARIES[prefix] = Library(entry, names, origin)
        return entry

    return register


def split_name(name: str) -> tuple[str, str]:
    """Splits ``LIBRARY:NAME``; what does not begin with a registered library's prefix is all name."""
    prefix, _, name_there = name.partition(":")
    return (prefix, name_there) if name_there and prefix in _LIBRARIES else ("", name)


def library_prefixes() -> list[str]:
    """The registered libraries, in alphabetical order."""
    return sorted(_LIBRARIES)


def library_entry(prefix: str, name: str) -> ModelEntry:
    """The entry of a library's network.

    Raises:
        InputError: There is none of this name, or the library is not installed.
    """
    library = _LIBRARIES[prefix]
    return replace(library.entry(name), origin=library.origin)


def library_models(prefix: str, pattern: str = "*") -> list[str]:
    """Whole names (``LIBRARY:NAME``) of a library's networks that match a wildcard pattern, in natural order.

    Raises:
        InputError: The library is not installed.
    """
    return natsorted(f"{prefix}:{name}" for name in _LIBRARIES[prefix].names() if fnmatchcase(name, pattern))


def no_match(pattern: str, own: Sequence[str]) -> InputError:
    """Builds the error for a pattern that no network matches.

    Args:
        pattern: As it was given.
        own: The registry's networks.
    """
    prefix, wanted = split_name(pattern)
    literal = "".join(mark for mark in wanted if mark not in "*?[]")
    if prefix:
        there = list(_LIBRARIES[prefix].names())
        close, showing = [f"{prefix}:{name}" for name in nearest(literal, there)], f"resbench list '{prefix}:*'"
    else:
        there = list(own)
        close, showing = nearest(literal, there), "resbench list"
    message = f"no model matches {pattern!r}.{did_you_mean(close)} `{showing}` shows all {len(there):,}."
    if not prefix:
        asked = wanted.partition(":")[2] or wanted
        asking = " or ".join(repr(f"{library}:{asked}") for library in library_prefixes())
        message += f" A library's networks are asked for by its name: {asking}."
    return InputError(message)
