"""What an executor costs a trial: the time from row to row where trials compute nothing, less that of their imports.

A trial that imports what a real one does and says that it ended is run by the executor again and again; the same
imports in a bare process are timed too. What is left is the executor's: pipes, tasks, records on disk, waiting. The
cluster is a node on this machine, started beforehand.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from benchmarks.harness.fake_trials import chatter, empty_trial, fake_trials
from benchmarks.harness.ray_runs import Driving, driving
from benchmarks.harness.rows import Row, Setting, row_of
from resbench.executors import local
from resbench.executors.ray_cluster import attempts, run_job, run_trials
from resbench.executors.ray_cluster.attempts import bare_job
from resbench.executors.ray_cluster.messages import Cluster, Node, Work
from resbench.inputs import Inputs
from resbench.store import Store

IMPORTS = "import resbench.trial"
MESSAGES = 20_000


def overhead(setting: Setting) -> Iterator[Row]:
    """Measures both executors, a bare process beside each trial."""
    repeats = setting.repeats + 1  # the first is dropped
    yield _row("local", "< 1.0", *_run_here(repeats))
    with driving(1) as here:
        spans, bare, node = _run_on_a_cluster(here, repeats)
        yield _row("ray", "< 2.0", spans, bare)
        yield _messages(here, node, repeats)


def _row(name: str, target: str, spans: list[float], bare: list[float]) -> Row:
    """Returns the row of an executor."""
    return row_of(
        f"overhead / {name}",
        "a trial, beyond a bare process with the same imports",
        [span - alone for span, alone in zip(spans, bare, strict=True)][1:],
        unit="s",
        target=target,
        detail=f"trial {statistics.median(spans[1:]):.3g} s, bare process {statistics.median(bare[1:]):.3g} s",
    )


def bare_process_s() -> float:
    """Returns the seconds that a process takes which imports what a trial does."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return time.perf_counter() - began


def _run_here(trials: int) -> tuple[list[float], list[float]]:
    """Returns the seconds of each trial under the local executor, and those of a bare process after each."""
    spans, bare = [], []
    with tempfile.TemporaryDirectory(prefix="resbench-") as folder, mock.patch.object(local, "trial_job", empty_trial):
        store = Store(Path(folder), create=True)
        for trial in fake_trials(trials):
            began = time.perf_counter()
            local.run_trials([trial], Inputs("nothing"), store)
            spans.append(time.perf_counter() - began)
            bare.append(bare_process_s())
    return spans, bare


class _Alternating:
    """A cluster that runs a bare process before it starts a trial, and notes when it was asked and when it started."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.wait, self.end, self.preparing = cluster.wait, cluster.end, cluster.preparing
        self.asked: list[float] = []
        self.started: list[float] = []
        self.bare: list[float] = []

    def begin(self, attempt: int, node: Node, work: Work) -> None:
        self.asked.append(time.perf_counter())
        self.bare.append(bare_process_s())
        self.started.append(time.perf_counter())
        self.cluster.begin(attempt, node, work)


def _run_on_a_cluster(here: Driving, trials: int) -> tuple[list[float], list[float], Node]:
    """Returns the seconds of each trial on a node, from its start until the next may start, and of bare processes.

    Raises:
        RuntimeError: Trials were lost: what was timed is something else.
    """
    store, cluster = Store(here.folder / "out", create=True), _Alternating(here.cluster)
    with mock.patch.object(attempts, "trial_job", empty_trial):
        first = run_trials(fake_trials(trials + 1), store, cluster, conduct=here.conduct)
    if first is None or len(cluster.asked) != trials + 1:
        raise RuntimeError(f"{len(cluster.asked)} attempts at {trials + 1} trials")
    spans = [asked - started for started, asked in zip(cluster.started, cluster.asked[1:], strict=False)]
    return spans, cluster.bare[1:], first.node


def _messages(here: Driving, node: Node, times: int) -> Row:
    """Measures how many messages a second reach the driver from one trial that does nothing else."""
    rates = []
    for _ in range(times):
        began = time.perf_counter()
        work = bare_job(node, fake_trials(1)[0].engine, here.conduct).of(chatter, (MESSAGES,), name="chatter")
        said, _ = run_job(here.cluster, node, work)
        rates.append(len(said) / (time.perf_counter() - began))
    return row_of("overhead / ray messages", f"{MESSAGES:,} of one trial, its process included", rates[1:], unit="1/s")
