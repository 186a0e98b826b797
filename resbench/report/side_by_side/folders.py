"""The results folders that stand side by side: read, or refused with advice, and named by what tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resbench.errors import InputError
from resbench.report.experiments.stored import COLLECTION
from resbench.report.numbers import count
from resbench.store import Results, load_results


@dataclass(frozen=True, eq=False)
class Folder:
    """One results folder."""

    name: str
    """What tables, plots and sentences call it."""
    path: Path
    """As it was given."""
    results: Results


def read_folders(paths: Sequence[Path], names: Sequence[str] | None = None) -> list[Folder]:
    """Reads results folders that are to stand side by side.

    Args:
        paths: Two or more; the first is what the others are held against.
        names: What to call them; by default the last parts of their paths, as many as tell them apart.

    Raises:
        InputError: There are fewer than two, one stands twice, one is a collection or cannot be read, one holds no
            trials, or names are missing or alike.
    """
    if len(paths) < 2:
        raise InputError("side by side needs two results folders or more.")
    whole = [path.resolve() for path in paths]
    for place, path in enumerate(whole):
        if path in whole[:place]:
            raise InputError(f"{str(paths[place])!r} is given twice: give each results folder once.")
    called = short_names(whole) if names is None else _checked(names, len(paths))
    folders = []
    for path, name in zip(paths, called, strict=True):
        if (path / COLLECTION).is_file():
            raise InputError(
                f"{str(path)!r} is a collection of results folders. Give one of those in it, such as "
                f"{_first_inside(path)!r}; `resbench report {path}` makes the collection's own page."
            )
        results = load_results(path)
        if results.trials.empty:
            raise InputError(
                f"{str(path)!r} holds no trials: there is nothing to put side by side. `resbench report {path}` shows "
                "what was profiled there."
            )
        folders.append(Folder(name, path, results))
    return folders


def short_names(paths: Sequence[Path]) -> list[str]:
    """Returns the last parts of paths that differ, as few as tell all of them apart.

    Args:
        paths: Absolute, no two alike.
    """
    parts = 1
    while True:
        found = ["/".join(path.parts[-parts:]) or str(path) for path in paths]
        if len(set(found)) == len(found):
            return found
        parts += 1


def _checked(names: Sequence[str], number: int) -> list[str]:
    """Returns names that a user gave."""
    if len(names) != number or not all(names):
        raise InputError(f"{count(len(names), 'name')} given for {number} results folders: give one for each, as a,b.")
    if len(set(names)) < number:
        raise InputError(f"the names {', '.join(names)} are not all different: give each folder its own.")
    return [*names]


def _first_inside(path: Path) -> str:
    """Returns the first results folder of a collection, or where one would be."""
    inside = sorted(found.parent for found in path.glob("*/records.jsonl"))
    return str(inside[0] if inside else path / "SUITE")
