"""A cluster in memory whose nodes do as a test says: every event at a moment that the test chooses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resbench.conduct import Conduct
from resbench.executors.deadline import Deadline
from resbench.executors.process import Exit
from resbench.executors.ray_cluster.driver import run_trials
from resbench.executors.ray_cluster.messages import Begun, Ended, Event, Joined, Left, Lost, Message, Node, Said, Work
from resbench.inputs import Inputs
from resbench.schema import EngineSettings, Trial
from resbench.store import Store, planned_record


def make_trials(count: int, **engine: Any) -> list[Trial]:
    """Plans trials of one network that differ in their seeds."""
    settings = EngineSettings(device="cpu", precision="fp32", **engine)
    return [Trial("cnn", "source", "none", "0" * 64, 10, (3, 8, 8), "common", 8, "1ep", seed, settings)
            for seed in range(count)]  # fmt: skip


def make_node(name: str, slots: int = 1, checkpoints: Iterable[str] = ()) -> Node:
    """A node that is ready; its id is its name."""
    return Node(name, name, slots, Inputs("none"), Path("/nowhere") / name, frozenset(checkpoints))


def row_of(trial: Trial, status: str = "ok") -> dict[str, Any]:
    """The row that a trial writes itself."""
    record = planned_record(trial, source="test")
    record.status, record.phase, record.test_accuracy = status, "done", trial.seed / 100
    record.micro_batch_size = trial.batch_size
    return record.to_dict()


@dataclass
class FakeCluster:
    """Starts attempts and says what a test lets it say.

    Attributes:
        begun: Every attempt that was started: its number, its node's name and its job, in order.
        ended: Attempts that the driver gave up.
        script: Called with this before every wait that would find nothing: adds events, or raises.
        on_way: How many nodes are on their way.
    """

    script: Callable[[FakeCluster], None]
    begun: list[tuple[int, str, Work]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    on_way: int = 0
    waits: int = 0
    over: set[int] = field(default_factory=set)

    def begin(self, attempt: int, node: Node, work: Work) -> None:
        self.begun.append((attempt, node.name, work))

    def end(self, attempt: int) -> None:
        self.ended.append(attempt)

    def preparing(self) -> int:
        return self.on_way

    def wait(self, timeout_s: float) -> list[Event]:
        self.waits += 1
        if not self.events:
            self.script(self)
        happened, self.events = self.events, []
        return happened

    def join(self, *nodes: Node) -> None:
        """Nodes become ready."""
        self.events += [Joined(node) for node in nodes]

    def say(self, attempt: int, *messages: Message, log: bytes = b"") -> None:
        """An attempt says something; the first time it has begun."""
        self.events += [Begun(attempt), Said(attempt, [*messages], log)]

    def finish(self, attempt: int, status: str = "ok") -> None:
        """An attempt at a trial ends as one does that writes its own row."""
        work = next(work for number, _, work in self.begun if number == attempt)
        self.say(attempt, ("phase", {"phase": "train"}), ("trial", row_of(work.arguments[0], status)))
        self.end_with(attempt, Exit(0, ""))

    def end_with(self, attempt: int, exit: Exit) -> None:
        """An attempt's process ends."""
        self.over.add(attempt)
        self.events.append(Ended(attempt, exit))

    def lose(self, attempt: int, why: str = "its worker died", **details: Any) -> None:
        """An attempt's worker dies."""
        self.over.add(attempt)
        self.events.append(Lost(attempt, why, **details))

    def kill(self, name: str) -> None:
        """A node dies with all that runs on it."""
        for attempt, where, _ in self.open():
            if where == name:
                self.lose(attempt, "its node died")
        self.events.append(Left(name, "it died", name, died=True))

    def open(self) -> list[tuple[int, str, Work]]:
        """Attempts that have not been told to be over."""
        return [one for one in self.begun if one[0] not in {*self.ended, *self.over}]


QUIET = Conduct(calibrate=False)


class Scene:
    """A run of a few trials, and what it left."""

    def __init__(self, folder: Path, trials: int = 1, **engine: Any) -> None:
        self.trials = make_trials(trials, **engine)
        self.store = Store(folder / "out", create=True)
        self.said: list[str] = []
        self.notices: list[str] = []
        self.clock = 0.0

    def run(self, cluster: FakeCluster, conduct: Conduct = QUIET, deadline: Deadline | None = None) -> Any:
        return run_trials(
            self.trials,
            self.store,
            cluster,
            conduct=conduct,
            on_message=self.follow,
            say=self.said.append,
            now=lambda: self.clock,
            deadline=deadline,
        )

    def follow(self, trial: Trial, kind: str, data: dict[str, Any]) -> None:
        if kind == "notice":
            self.notices.append(data["text"])

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [event for event in self.store.events() if event["event"] == "trial"]

    def assert_one_ok_row_each(self) -> None:
        assert Counter(row["trial_id"] for row in self.rows) == Counter(trial.trial_id for trial in self.trials)
        assert {row["status"] for row in self.rows} == {"ok"}


def steps(*things: Any) -> Any:
    """A script that does one thing after another, each when the driver has nothing left to hear."""
    left = list(things)

    def script(cluster: FakeCluster) -> None:
        assert left, "the driver waits for what never comes"
        left.pop(0)(cluster)

    return script


def finish_all(cluster: FakeCluster) -> None:
    for attempt, _, _ in cluster.open():
        cluster.finish(attempt)
