"""What the driver and a cluster say to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from resbench.executors.process import Exit
from resbench.inputs import Inputs

Message = tuple[str, dict[str, Any]]
"""A kind and its data, as a job emits them."""

LOOK_AGAIN_S = 1.0
"""How often to look after nodes and attempts where nothing is heard."""
SILENCE_S = 120.0
"""After which an attempt counts as lost that said nothing: a worker that lives gives a sign every few seconds."""


def silence() -> str:
    """Says why such an attempt is lost."""
    return f"nothing was heard of it for {SILENCE_S:.0f} s"


@dataclass(frozen=True)
class Node:
    """A node that can be worked on: its software is the driver's, and it holds the data."""

    node_id: str
    """Of this node in this cluster."""
    name: str
    """What records call it: its host, and the beginning of its id."""
    slots: int
    """How many trials it runs at once."""
    inputs: Inputs
    """Where the trials' data are on it."""
    folder: Path
    """This run's own on it, for checkpoints and logs on their way."""
    checkpoints: frozenset[str] = frozenset()
    """Ids of trials that an earlier driver of this run left unfinished there."""


@dataclass(frozen=True)
class Work:
    """A job for a process of a node."""

    job: Callable[..., None]
    """A function at module level; called with the arguments and ``emit``."""
    arguments: tuple[Any, ...]
    name: str
    """Of its log."""
    folder: Path
    """The run's own on the node."""
    device: str
    """What it computes on, such as ``cuda``: which of a node's devices that is, the cluster decides."""
    devices: int = 1
    """How many of them."""
    threads: int | None = None
    """That torch uses; None: as many as the node was started with, or torch's own choice."""
    limit_s: float | None = None
    """Wall time of its process."""
    memory_limit_mib: int | None = None
    """What it may allocate on the node's host; None: what is there, where it computes on the processor."""
    checkpoint: Path | None = None
    """Of the trial, on the node: removed when the trial has ended by itself."""

    def of(self, job: Callable[..., None], arguments: tuple[Any, ...], *, name: str) -> Work:
        """Returns the same of another job."""
        return replace(self, job=job, arguments=arguments, name=name)


@dataclass(frozen=True)
class Begun:
    """An attempt's process is about to start: its node had room for it."""

    attempt: int


@dataclass(frozen=True)
class Said:
    """What an attempt said since the last time; nothing at all is a sign of life too."""

    attempt: int
    messages: list[Message]
    log: bytes
    """What it printed since."""


@dataclass(frozen=True)
class Ended:
    """An attempt's process ended; all that it said has been handed over."""

    attempt: int
    exit: Exit


@dataclass(frozen=True)
class Lost:
    """Nobody will hear of an attempt again: its worker or its node died, or could not start it."""

    attempt: int
    why: str
    out_of_memory: bool = False
    """Whether it was ended because its node ran out of memory."""


@dataclass(frozen=True)
class Joined:
    """A node is ready to be worked on."""

    node: Node


@dataclass(frozen=True)
class Left:
    """A node is not worked on, or not any more."""

    name: str
    why: str
    node_id: str
    died: bool
    """Whether it was there and may come back; otherwise it is unfit."""


@dataclass(frozen=True)
class Told:
    """What a person must know of a node, such as what it waits for."""

    text: str


Event = Begun | Said | Ended | Lost | Joined | Left | Told


class Cluster(Protocol):
    """What the driver needs of a cluster."""

    def begin(self, attempt: int, node: Node, work: Work) -> None:
        """Starts an attempt on a node; what comes of it is told by :meth:`wait`."""

    def end(self, attempt: int) -> None:
        """Ends an attempt and forgets it: nothing more is told of it."""

    def wait(self, timeout_s: float) -> list[Event]:
        """Returns what has happened, as soon as something has; nothing after the timeout."""

    def preparing(self) -> int:
        """Returns how many nodes are on their way: neither joined nor left."""
