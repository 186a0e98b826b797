"""Which files a user's code is made of, and one digest of them all: what makes an edited network another one.

The files are found without running anything: a module, and whatever of the same folder or package it imports,
anywhere in its text and at any depth. Libraries are none of them.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DIGITS = 12
"""Hexadecimal digits of a digest that are shown and recorded."""


@dataclass(frozen=True)
class SourceRoot:
    """Where the absolute imports of a user's code are looked up."""

    folder: Path
    """Holds the module, or the package that it is part of."""
    package: str | None = None
    """The package's name. Where there is none, all that lies in the folder is the user's."""

    def files_of(self, dotted: str) -> list[Path]:
        """Returns the files that an import runs, a package's ``__init__.py`` included; none where it is a library's."""
        names = dotted.split(".")
        if self.package is not None and names[0] != self.package:
            return []
        found, place = [], self.folder
        for name in names:
            module, package = place / f"{name}.py", place / name / "__init__.py"
            if package.is_file():
                found.append(package)
            elif module.is_file():
                return [*found, module]
            place /= name
        return found


def root_of(file: Path, module: str) -> SourceRoot:
    """Returns where the imports of a module are looked up.

    Args:
        file: The module's.
        module: Its dotted name.
    """
    names = module.split(".")
    inside = names if file.name == "__init__.py" else names[:-1]
    if not inside:  # what is installed beside a module is not its author's
        return SourceRoot(file.parent, module if is_installed(file) else None)
    return SourceRoot(file.parents[len(inside)], inside[0])


def is_installed(file: str | Path) -> bool:
    """Says whether a file is Python's own or that of an installed package."""
    parts = Path(file).parts
    return bool({"site-packages", "dist-packages"} & {*parts}) or Path(file).is_relative_to(Path(os.__file__).parent)


def source_files(file: Path, module: str) -> list[Path]:
    """Returns a module's file and those of its own folder or package that it imports, and so on.

    Args:
        file: The module's.
        module: Its dotted name; ``__main__`` for a script.

    Returns:
        Each file once, the module's first. What cannot be parsed imports nothing.
    """
    return list(source_modules(file, module))


def source_modules(file: Path, module: str) -> dict[Path, str]:
    """Returns :func:`source_files` with the dotted name that each is imported by."""
    root = root_of(file, module)
    dotted_of = {file: module}
    waiting = [file]
    while waiting:
        this = waiting.pop()
        for name in _imported(this, dotted_of[this]):
            for found in root.files_of(name):
                if found not in dotted_of:
                    inside = found.parent if found.name == "__init__.py" else found.with_suffix("")
                    dotted_of[found] = ".".join(inside.relative_to(root.folder).parts)
                    waiting.append(found)
    return dotted_of


def source_digest(file: Path, module: str) -> str:
    """Returns the sha256 of all of a module's source files, in hexadecimal.

    Their names within the folder or package count, where that lies does not; nor does how lines end.
    """
    root = root_of(file, module).folder
    digest = hashlib.sha256()
    for path in sorted(source_files(file, module)):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _imported(file: Path, module: str) -> Iterator[str]:
    """Yields the dotted names that a file imports, or may: in ``from a import b``, ``b`` can be a module or a name."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = module.split(".")
            above = names[: len(names) - node.level + (file.name == "__init__.py")] if node.level else []
            base = ".".join((*above, *filter(None, [node.module])))
            if base:
                yield base
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)
