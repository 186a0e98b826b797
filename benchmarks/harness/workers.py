"""How a suite's wall time falls with the number of workers: the whole command, on a cluster of one and of two nodes.

Each node has one processor of this machine and runs one trial at a time; the cluster is there beforehand. The same
suite under the local executor stands beside them. Each run has a folder of its own.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.loopback import ROOT, Loopback, loopback
from benchmarks.harness.growth import draw_images
from benchmarks.harness.rows import Row, Setting, row_of

TRIALS = 8
STEPS = 1500
"""Of ``cnn`` on 8x8 pixels: some seconds."""
WORKERS = (1, 2)
MAX_REPEATS = 3
"""A round takes minutes."""
NAME, SHARE = "workers / wall", "workers / one over two"


def workers(setting: Setting) -> Iterator[Row]:
    """Measures the suite on each cluster in turn, round by round, and drops the first round."""
    with tempfile.TemporaryDirectory(prefix="resbench-", ignore_cleanup_errors=True) as scratch:
        place = Path(scratch)
        suite = write_suite(place)
        rounds = [
            [_run(suite, place, f"{number}-{count}", count) for count in (0, *WORKERS)]
            for number in range(min(setting.repeats, MAX_REPEATS) + 1)
        ][1:]
    columns = dict(zip((0, *WORKERS), zip(*rounds, strict=True), strict=True))
    yield _row("no cluster", columns[0])
    for count in WORKERS:
        yield _row(f"{count} worker{'' if count == 1 else 's'}", columns[count])
    one, two = (columns[count] for count in WORKERS)
    yield row_of(
        SHARE,
        f"suite of {TRIALS} trials on two cores",
        [a / b for a, b in zip(one, two, strict=True)],
        target=">= 1.6",
        detail=f"1 worker {statistics.median(one):.3g} s, 2 workers {statistics.median(two):.3g} s",
    )


def _row(what: str, seconds: tuple[float, ...]) -> Row:
    return row_of(NAME, f"{what}, suite of {TRIALS} trials", list(seconds), unit="s")


def write_suite(place: Path) -> Path:
    """Draws the images and writes the suite; returns its file."""
    images = draw_images(place / "images")
    path = place / "workers.toml"
    path.write_text(
        f"models = ['cnn']\ndataset = 'folder:{images}'\nbudget = '{STEPS}steps'\nbatch_size = 8\nseeds = {TRIALS}\n"
        "[engine]\ndevice = 'cpu'\nprecision = 'fp32'\n[run]\ncalibrate = false\nestimate = false\n"
    )
    return path


def _run(suite: Path, place: Path, name: str, count: int) -> float:
    """Returns the wall seconds of the command on so many nodes, or on none."""
    if not count:
        return _time(suite, place / name, {})
    with loopback(place / f"nodes-{name}", *[1] * count) as nodes:
        return _time(suite, place / name, nodes.key, *_flags(nodes))


def _flags(nodes: Loopback) -> tuple[str, ...]:
    return ("--executor", "ray", "--ray-address", nodes.address)


def _time(suite: Path, out: Path, more: dict[str, str], *flags: str) -> float:
    """Returns the wall seconds of a run.

    Raises:
        RuntimeError: It failed: what was timed is something else.
    """
    environment = {
        **os.environ,
        **more,
        "OMP_NUM_THREADS": "1",
        "RESBENCH_CACHE": str(suite.parent / "cache"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "resbench", "bench", str(suite), "--out", str(out), *flags]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"resbench ended with exit code {done.returncode}: {done.stderr[-500:]}")
    return seconds
