"""Where and on what everything is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Where and on what everything is run.

    Attributes:
        out: The results folder: a collection's, with a folder or file for each other piece.
        dataset: As ``resbench bench --dataset`` takes it.
        device: ``cuda``, ``cuda:N`` or ``cpu``.
        scratch: Where images are written again.
        tiny: Everything at its smallest, to see that it runs.
    """

    out: Path
    dataset: str
    device: str
    scratch: Path
    tiny: bool = False

    @property
    def on_cuda(self) -> bool:
        return self.device.startswith("cuda")


@dataclass(frozen=True)
class Command:
    """One command line.

    Attributes:
        name: What it is called in the list of what is done; one of a kind.
        arguments: What follows ``python -m``.
        ends_itself: Whether it takes ``--stop-after`` and goes on where it stopped. Another is ended when the time is
            up, and run from its start the next time.
        needs_s: Seconds below which it is not begun.
        output: A file that gets what it prints, instead of the terminal.
        makes: What others need of it and no results folder keeps: where that is gone, it is run again.
    """

    name: str
    arguments: tuple[str, ...]
    ends_itself: bool = False
    needs_s: float = 60.0
    output: Path | None = None
    makes: Path | None = None
