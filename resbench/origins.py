"""Where networks come from that are none of resbench's own, and what went wrong where their code was imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType


@dataclass(frozen=True)
class Origin:
    """Where a network was registered that is none of resbench's own."""

    file: Path
    """As Python knows it: no such file exists for what was typed into a session."""
    line: int
    module: str
    """Its dotted name; ``__main__`` for a script or a session."""

    def __str__(self) -> str:
        """Says it as compilers do: ``my_nets.py:12``."""
        return f"{self.file.name}:{self.line}"


@dataclass(frozen=True)
class Fault:
    """What went wrong where a user's code was imported; the rest of it is there all the same."""

    where: str
    """File and line."""
    message: str

    def __str__(self) -> str:
        """Says both."""
        return f"{self.where}: {self.message}"


_PACKAGE = Path(__file__).resolve().parent
_FAULTS: list[Fault] = []
_BEING_IMPORTED: list[str] = []
"""A user's code that resbench is importing now, outermost first."""


def origin_of(frame: FrameType) -> Origin | None:
    """Returns where code runs that registers something; None where that is resbench itself."""
    file = Path(frame.f_code.co_filename)
    if file.resolve().is_relative_to(_PACKAGE):
        return None
    return Origin(file, frame.f_lineno, frame.f_globals.get("__name__", "__main__"))


@contextmanager
def importing(what: str) -> Iterator[None]:
    """Lets what is registered wrongly inside the block be noted as a fault, in the place of raising it.

    Args:
        what: Whose code is imported there.
    """
    _BEING_IMPORTED.append(what)
    try:
        yield
    finally:
        _BEING_IMPORTED.pop()


def is_importing() -> bool:
    """Returns whether resbench is importing a user's code now."""
    return bool(_BEING_IMPORTED)


def note_fault(fault: Fault) -> None:
    """Notes what went wrong where a user's code was imported."""
    _FAULTS.append(fault)


def collected_faults() -> list[Fault]:
    """Returns what was noted in this process, in that order."""
    return [*_FAULTS]
