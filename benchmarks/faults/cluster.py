"""Faults of a cluster: a worker, a node and the driver are killed, and the records equal those of one machine."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from pathlib import Path

import psutil

from benchmarks.faults.loopback import Loopback, LoopbackNode, loopback
from benchmarks.faults.runs import Run, Workplace
from benchmarks.faults.same import differences
from resbench.console import complain, say
from resbench.store import RECORDS, load_results

TRIALS = 24
AFTER_WORKER, AFTER_NODE, AFTER_DRIVER = 4, 9, 6
"""Rows that are recorded before each is killed."""
PATIENCE_S = 1200.0
"""After which a run counts as hung."""
MIDDLE_S = (2.5, 5.0)
"""The age of a trial's process in which it is surely neither about to begin nor to end."""
GONE_S = 30.0
"""How long what a dead driver started may live."""


def cluster_faults(scratch: Path, *, epochs: int) -> bool:
    """Runs a small suite on one machine and, with faults, on a cluster of two nodes; returns whether nothing differs.

    Args:
        scratch: For everything.
        epochs: Each trial trains for so long.
    """
    place = Workplace(scratch, ("cnn",), epochs, seeds=TRIALS, patience_s=PATIENCE_S)
    place.prepare()
    clean = place.start(scratch / "clean")
    if clean.wait() != 0:
        complain(f"the undisturbed run failed:\n{clean.said()}", label="error")
        return False
    say(f"undisturbed, on one machine: {TRIALS} trials in {time.monotonic() - clean.started:.1f} s")
    with loopback(scratch / "nodes", 1, 1) as cluster:
        found = [_check(clean.out, *kill_worker_and_node(place, cluster))]
        cluster.start_node()
        found.append(_check(clean.out, *kill_driver(place, cluster)))
    return all(found)


def kill_worker_and_node(place: Workplace, cluster: Loopback) -> tuple[Run, str, list[str]]:
    """Kills one of Ray's workers and later all of a node while trials run; returns what happened and what is wrong."""
    head, other = cluster.nodes[0], cluster.nodes[-1]
    run = _start(place, cluster, "faults")
    run.wait_for(lambda: _ended(run.out) >= AFTER_WORKER and _in_the_middle(head))
    workers = head.workers()[:1]
    for worker in workers:
        worker.kill()
    run.wait_for(lambda: _ended(run.out) >= AFTER_NODE and _in_the_middle(other))
    rows, processes = _ended(run.out), other.kill()
    killed_at = time.monotonic()
    run.wait_for(lambda: "is gone" in run.said())
    noticed_s = time.monotonic() - killed_at
    code = run.wait()
    lost = [note for notes in load_results(run.out).trials["notes"].dropna() for note in str(notes).split(";")]
    lost = [note for note in lost if "was lost on" in note]
    happened = (
        f"a worker and, after {rows} rows, a node of {processes} processes killed; noticed after {noticed_s:.1f} s; "
        f"{len(lost)} attempts lost and run again; {time.monotonic() - run.started:.1f} s in all"
    )
    wrong = [] if code == 0 else [f"exit code {code}: {run.said()[-800:]}"]
    if not workers or len(lost) < 2:
        wrong.append(f"{len(workers)} workers were killed and {len(lost)} attempts were lost: nothing was tested")
    return run, happened, wrong


def kill_driver(place: Workplace, cluster: Loopback) -> tuple[Run, str, list[str]]:
    """Kills the driver while trials run, and starts the same command again."""
    first = _start(place, cluster, "driver")
    first.wait_for(lambda: _ended(first.out) >= AFTER_DRIVER and all(node.trials() for node in cluster.nodes[::2]))
    below = [process for node in cluster.nodes for process in node.trials()]
    first.process.kill()
    first.wait()
    killed_at, rows = time.monotonic(), _ended(first.out)
    _, alive = psutil.wait_procs(below, timeout=GONE_S)
    gone_s = time.monotonic() - killed_at
    again = _start(place, cluster, "driver")
    code = again.wait()
    resumed = int((load_results(again.out).trials["resumed"] > 0).sum())
    happened = (
        f"after {rows} rows; its {len(below)} trials ended within {gone_s:.1f} s; {resumed} went on from a checkpoint"
    )
    wrong = [] if code == 0 else [f"exit code {code}: {again.said()[-800:]}"]
    if alive or not below:
        wrong.append(f"{len(alive)} of {len(below)} trials outlived their driver")
    if f"{rows} of {TRIALS} trials ended well" not in again.said():
        wrong.append(f"the second driver did not take up where the first ended: {again.said()[:300]}")
    return again, happened, wrong


def _in_the_middle(node: LoopbackNode) -> bool:
    """Returns whether a trial is under way on a node."""
    ages = []
    for process in node.trials():
        with contextlib.suppress(psutil.Error):
            ages.append(time.time() - process.create_time())
    return any(MIDDLE_S[0] < age < MIDDLE_S[1] for age in ages)


def _start(place: Workplace, cluster: Loopback, name: str) -> Run:
    flags = ("--executor", "ray", "--ray-address", cluster.address)
    return place.start(place.scratch / name, *flags, more=cluster.key)


def _check(clean: Path, run: Run, happened: str, wrong: list[str]) -> bool:
    """Holds a run's records against the undisturbed ones, and says what came of it."""
    if not wrong:
        wrong = [*differences(clean, run.out, elsewhere=True), *_rows_amiss(run.out)]
    say(f"{happened}: {'the same records' if not wrong else 'WRONG'}")
    for text in wrong:
        complain(f"  {text}", label="failed")
    return not wrong


def _rows_amiss(out: Path) -> list[str]:
    """Says which trials have more than one row, or a row that names no node."""
    rows = [event for event in _events(out) if event["event"] == "trial"]
    often = [trial for trial, times in Counter(row["trial_id"] for row in rows).items() if times > 1]
    nowhere = [row["trial_id"] for row in rows if not row["node"]]
    return [
        *(f"{trial} has more than one row" for trial in often),
        *(f"the row of {trial} names no node" for trial in nowhere),
    ]


def _ended(out: Path) -> int:
    """Returns how many rows are recorded."""
    return sum(event["event"] == "trial" for event in _events(out))


def _events(out: Path) -> list[dict[str, object]]:
    """Reads what is recorded so far; a line that is being written is left out."""
    try:
        lines = (out / RECORDS).read_text(errors="replace").splitlines(keepends=True)
    except OSError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]
