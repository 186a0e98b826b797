"""What is measured of nodes and not of trials: their instruments before the first, one of them again after the last."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from resbench.errors import RulerError
from resbench.executors.followed import OnMessage
from resbench.executors.process import Exit
from resbench.executors.ray_cluster.crew import Crew
from resbench.executors.ray_cluster.messages import (
    LOOK_AGAIN_S,
    SILENCE_S,
    Cluster,
    Ended,
    Lost,
    Message,
    Node,
    Said,
    Work,
    silence,
)
from resbench.schema import EngineSettings, Trial


class Ruling:
    """The instruments of a node, tested as they are on any machine.

    Attributes:
        event: The data of a ``ruler`` event, with the node's name; None where nothing was read.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.event: dict[str, Any] | None = None

    def work(self, job: Work, engine: EngineSettings) -> Work:
        """Returns the test as a job.

        Args:
            job: What a trial there gets.
            engine: What is going to be measured with.
        """
        from resbench.measure.ruler import ruler_job

        return job.of(ruler_job, (engine,), name="ruler")

    def take(self, messages: list[Message]) -> None:
        """Takes in what the job says."""
        for kind, data in messages:
            if kind == "ruler":
                self.event = {**data, "node": self.node.name}

    def fault(self, ended: Exit | Lost) -> str | None:
        """Returns what is wrong with the node's instruments, None where they are right.

        Args:
            ended: How the job ended.
        """
        from resbench.measure.ruler import Ruler

        if self.event is None:
            return f"its instruments could not be tested: {ended.why if isinstance(ended, Lost) else ended}"
        try:
            Ruler.from_dict({name: value for name, value in self.event.items() if name != "node"}).check()
        except RulerError as error:
            return str(error)
        return None


class Firsts:
    """Hands messages on, and keeps of each node the first trial whose speed can be measured again as it was.

    Args:
        on_message: Told of everything.
    """

    def __init__(self, on_message: OnMessage) -> None:
        self.on_message = on_message
        self._first: dict[str, tuple[Trial, dict[str, Any]]] = {}

    def __call__(self, trial: Trial, kind: str, data: dict[str, Any]) -> None:
        """Follows one message of a trial."""
        if kind == "trial" and data["status"] == "ok" and data.get("micro_batch_size") == trial.batch_size:
            self._first.setdefault(data.get("node") or "", (trial, data))
        self.on_message(trial, kind, data)

    def choose(self, crew: Crew) -> First | None:
        """Returns the first of them whose node is still at work."""
        for name, (trial, row) in self._first.items():
            if (node := crew.named(name)) is not None:
                return First(trial, row, node)
        return None


@dataclass(frozen=True)
class First:
    """A trial that can be measured again where it ran."""

    trial: Trial
    row: dict[str, Any]
    node: Node


def run_job(cluster: Cluster, node: Node, work: Work, *, number: int = 0) -> tuple[list[Message], Exit | Lost]:
    """Runs one job on a node on which nothing else runs, and waits for its end.

    Args:
        cluster: Where that is.
        node: Which one.
        work: The job.
        number: Of the attempt, one that no other has.

    Returns:
        What it said, and how it ended.
    """
    said: list[Message] = []
    heard_at = time.monotonic()
    cluster.begin(number, node, work)
    while time.monotonic() - heard_at < SILENCE_S:
        for event in cluster.wait(LOOK_AGAIN_S):
            if getattr(event, "attempt", None) != number:
                continue
            heard_at = time.monotonic()
            if isinstance(event, Said):
                said += event.messages
            elif isinstance(event, Ended):
                return said, event.exit
            elif isinstance(event, Lost):
                return said, event
    cluster.end(number)
    return said, Lost(number, silence())
