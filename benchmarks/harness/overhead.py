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
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.harness.fake_trials import chatter, empty_trial, fake_trials
from benchmarks.harness.ray_runs import Driving, driving
from benchmarks.harness.rows import Row, Setting, row_of
from resbench.executors import local
from resbench.executors.ray_cluster import attempts, run_job, run_trials
from resbench.executors.ray_cluster.attempts import bare_job
from resbench.executors.ray_cluster.messages import Node
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


def _run_on_a_cluster(here: Driving, trials: int) -> tuple[list[float], list[float], Node]:
    """Returns the seconds from row to row on a node, those of as many bare processes, and the node.

    Raises:
        RuntimeError: Trials were lost: what was timed is something else.
    """
    ends: list[float] = []

    def follow(trial: Any, kind: str, data: dict[str, Any]) -> None:
        if kind == "trial":
            ends.append(time.perf_counter())

    store = Store(here.folder / "out", create=True)
    planned = fake_trials(trials + 1)  # the node joins in the time of the first
    with mock.patch.object(attempts, "trial_job", empty_trial):
        first = run_trials(planned, store, here.cluster, on_message=follow, conduct=here.conduct)
    if first is None or len(ends) != len(planned):
        raise RuntimeError(f"{len(ends)} of {len(planned)} trials ended")
    return [later - earlier for earlier, later in pairwise(ends)], [bare_process_s() for _ in ends[1:]], first.node


def _messages(here: Driving, node: Node, times: int) -> Row:
    """Measures how many messages a second reach the driver from one trial that does nothing else."""
    rates = []
    for _ in range(times):
        began = time.perf_counter()
        work = bare_job(node, fake_trials(1)[0].engine, here.conduct).of(chatter, (MESSAGES,), name="chatter")
        said, _ = run_job(here.cluster, node, work)
        rates.append(len(said) / (time.perf_counter() - began))
    return row_of("overhead / ray messages", f"{MESSAGES:,} of one trial, its process included", rates[1:], unit="1/s")
