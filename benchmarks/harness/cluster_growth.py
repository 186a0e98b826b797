"""What a driver costs as its cluster grows, by simulation: the real driver, store and view on a cluster in memory.

10,000 trials on 200 workers, and a tenth and a hundredth of that. Each trial says what a small real one does; one
attempt in a hundred is lost, and a node in ten dies and comes back. Each size is a process of its own, once, and waits
for the disk as a real run does: once for all that was heard at a time.

What limits the next factor of ten (100,000 trials on 2,000 workers) is the driver's one thread: an event costs some
0.4 ms (its JSON, a write, the view), so about 2,400 a second are stored on two cores of a Xeon. 2,000 workers whose
trials take ten minutes and say thirty things say 100 a second; at half a minute a trial they would say as many as can
be stored. Next come the view's sums over all trials, once a row, which grow with the square of their number. Memory
does not limit it (5 MiB for 1,000 trials more), nor does Ray: one trial alone gets 11,000 messages a second through
(``overhead / ray messages``). The figures are those of ``results/harness-cpu``.
"""

from __future__ import annotations

import io
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.harness.growth import peak_mib
from benchmarks.harness.rows import Row, Setting, row_of
from benchmarks.harness.stored import stored_trials, trial_events
from resbench.conduct import Conduct
from resbench.executors.process import Exit
from resbench.executors.ray_cluster.driver import run_trials
from resbench.executors.ray_cluster.messages import Begun, Ended, Event, Joined, Left, Lost, Node, Said, Work
from resbench.inputs import Inputs
from resbench.live.view import RunView
from resbench.store import Store

SIZES = {100: 2, 1_000: 20, 10_000: 200}
"""Trials, and the workers that run them."""
SLOTS = 4
"""Of a node."""
LOST_ONE_IN, NODES_DIE_ONE_IN = 100, 10


@dataclass(frozen=True)
class Costs:
    """What one process spent on one size."""

    trials: int
    workers: int
    start_mib: float
    """Peak resident set with everything imported."""
    peak_mib: float
    wall_s: float
    events: int
    """On disk at the end."""
    lost: int
    """Attempts that were lost and run again."""
    missing: int
    """Trials without a row, or with more than one."""


def cluster_growth(setting: Setting) -> Iterator[Row]:
    """Measures every size."""
    yield from rows_of([[measure_alone(size) for size in SIZES]])


def measure_alone(size: int) -> Costs:
    """Calls :func:`measure` in a new interpreter."""
    command = [sys.executable, "-m", "benchmarks.harness.cluster_growth", str(size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Costs(**json.loads(done.stdout))


def rows_of(rounds: list[list[Costs]]) -> Iterator[Row]:
    """Yields the rows of rounds that each measured the same sizes, ascending.

    Raises:
        RuntimeError: A trial was lost, or has more than one row.
    """
    if any(costs.missing for one in rounds for costs in one):
        raise RuntimeError(f"trials without exactly one row: {rounds}")
    middle, most = ([one[place] for one in rounds] for place in (-2, -1))
    last = most[0]
    subject = f"{last.trials:,} simulated trials on {last.workers} workers"
    yield row_of(
        "cluster / driver memory",
        f"{subject}: peak resident set",
        [costs.peak_mib for costs in most],
        unit="MiB",
        target="< 1024",
        detail=f"{statistics.median(costs.start_mib for costs in most):.3g} MiB with everything imported; "
        f"{last.lost} attempts lost and run again, none of the rows",
    )
    events_a_second = statistics.median(costs.events / costs.wall_s for costs in most)
    yield row_of(
        "cluster / driver time",
        f"{subject}: from the first trial to the last row",
        [costs.wall_s for costs in most],
        unit="s",
        detail=f"{last.events:,} events, {events_a_second:,.0f} a second",
    )
    yield row_of(
        "cluster / driver time a trial",
        f"{subject} over {middle[0].trials:,} on {middle[0].workers}",
        [(a.wall_s / a.trials) / (b.wall_s / b.trials) for a, b in zip(most, middle, strict=True)],
        target="< 1.5",
        detail=", ".join(
            f"{1e3 * statistics.median(costs.wall_s / costs.trials for costs in column):.3g} ms at {column[0].trials:,}"
            for column in zip(*rounds, strict=True)
        ),
    )


def measure(size: int, workers: int) -> Costs:
    """Runs so many trials on so many simulated workers."""
    import resbench.cli.suites  # noqa: F401  # a real driver has torch

    trials = stored_trials(size)
    places = {trial.trial_id: place for place, trial in enumerate(trials)}
    start_mib = peak_mib()
    with tempfile.TemporaryDirectory(prefix="resbench-") as folder:
        store = Store(Path(folder), create=True)
        store.append("suite", {"suite": {"name": "growth"}, "trials": [trial.to_dict() for trial in trials]})
        cluster = Simulated(workers // SLOTS or 1, min(workers, SLOTS), places)
        view = RunView(Console(file=io.StringIO()), trials, side_by_side=True)
        view_file = view._lines.console.file
        began = time.perf_counter()
        with view:

            def follow(trial: Any, kind: str, data: dict[str, Any]) -> None:
                view(trial, kind, data)
                view_file.seek(0)
                view_file.truncate()

            run_trials(trials, store, cluster, on_message=follow, conduct=Conduct(calibrate=False, retries=10))
        wall_s = time.perf_counter() - began
        rows, events = Counter[str](), 0
        for event in store.read():
            events += 1
            if event["event"] == "trial":
                rows[event["trial_id"]] += 1
    missing = sum(rows[trial.trial_id] != 1 for trial in trials)
    return Costs(size, workers, start_mib, peak_mib(), wall_s, events, cluster.lost, missing)


class Simulated:
    """A cluster in memory; its trials say one thing a turn, all of them side by side.

    Args:
        nodes: How many.
        slots: Of each.
        places: Of the trials, by id.
    """

    def __init__(self, nodes: int, slots: int, places: dict[str, int]) -> None:
        self.random, self.places, self.slots = random.Random(0), places, slots
        self.flying: dict[int, tuple[Node, deque[Event]]] = {}
        self.news: list[Event] = [Joined(self._node(number)) for number in range(nodes)]
        self.doomed = set(range(0, nodes, NODES_DIE_ONE_IN)) if nodes > 1 else set()
        self.turns = self.lost = 0

    def _node(self, number: int) -> Node:
        return Node(f"{number}", f"node{number}", self.slots, Inputs("nothing"), Path("/nowhere"))

    def begin(self, attempt: int, node: Node, work: Work) -> None:
        """Starts a trial, or one that is going to be lost."""
        trial = work.arguments[0]
        said = trial_events(trial, self.places[trial.trial_id])
        progress = {"fraction": 0.5, "images_per_second": 1.0, "seconds_left": 1.0, "memory_mib": 1.0}
        events: list[Event] = [
            Begun(attempt),
            *(Said(attempt, [("phase", {"phase": phase})], b"") for phase in ("data", "profile", "build")),
            Said(attempt, [("training", {"trial_id": trial.trial_id, "steps": 0})], b""),
            *(Said(attempt, [("progress", progress), (kind, data)], b"a line\n") for kind, data in said),
        ]
        if self.random.randrange(LOST_ONE_IN) == 0:
            events[self.random.randrange(1, len(events)) :] = [Lost(attempt, "its worker died")]
        else:
            events.append(Ended(attempt, Exit(0, "")))
        self.flying[attempt] = node, deque(events)

    def end(self, attempt: int) -> None:
        """Forgets an attempt."""
        self.flying.pop(attempt, None)

    def preparing(self) -> int:
        """Returns how many nodes are on their way."""
        return 0

    def wait(self, timeout_s: float) -> list[Event]:
        """Lets every trial say one thing."""
        happened, self.news = self.news, []
        self.turns += 1
        if self.turns == 10:
            happened += self._die()
        for attempt, (_, events) in [*self.flying.items()]:
            happened.append(events.popleft())
            if not events:
                del self.flying[attempt]
        self.lost += sum(isinstance(event, Lost) for event in happened)
        return happened

    def _die(self) -> Iterator[Event]:
        """Takes nodes away with all that runs on them; they come back as new ones."""
        for number in self.doomed:
            for attempt, (node, _) in [*self.flying.items()]:
                if node.node_id == f"{number}":
                    del self.flying[attempt]
                    yield Lost(attempt, "its node died")
            yield Left(f"node{number}", "it died", f"{number}", died=True)
            self.news.append(Joined(replace(self._node(number), node_id=f"again {number}")))


if __name__ == "__main__":
    wanted = int(sys.argv[1])
    print(json.dumps(asdict(measure(wanted, SIZES[wanted]))))
