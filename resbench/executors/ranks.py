"""Several processes that run one job, as torchrun starts them: what they say is one job's, and so is their end.

The process that runs the job starts one for each device and waits. The first of them speaks for all. Where one ends
otherwise than well, all are ended, and this process ends as that one did: whoever watches it sees one job.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from resbench.executors.child import end_with_parent, share_memory_limit
from resbench.ranks import joined
from resbench.recorder import Emit
from resbench.schema import EngineSettings

FAILED = frozenset({"crashed", "oom"})
"""How a trial ends on one rank without the others knowing."""

Job = Callable[..., None]
"""A function at module level; called with the arguments, ``emit`` and ``ranks``."""


def run_ranks(job: Job, arguments: tuple[Any, ...], engine: EngineSettings, emit: Emit) -> None:
    """Runs ``job(*arguments, emit, ranks)`` in as many processes as the engine has devices, and hands on what it emits.

    Args:
        job: Emits, where it is a trial's, a ``trial`` event at its end.
        arguments: Picklable.
        engine: Says which devices, and how many.
        emit: Told of everything that the first rank emits. A ``trial`` event comes when all have ended: that of the
            rank that failed first, if one did.

    Raises:
        RuntimeError: A rank ended without a word.
    """
    size = engine.devices
    pipes = [multiprocessing.get_context("spawn").Pipe(duplex=False) for _ in range(size)]
    heard = _Heard([near for near, _ in pipes], emit)
    far_ends = [far for _, far in pipes]
    failed: ChildFailedError | None = None
    with tempfile.TemporaryDirectory(prefix="resbench-") as scratch:
        try:
            _launcher(size, scratch)(job, arguments, engine, far_ends)
        except ChildFailedError as error:
            failed = error
        finally:
            for far in far_ends:
                far.close()
            heard.everything()
    if failed is None:
        row = heard.rows.get(0)
        if row is not None:
            emit("trial", row)
        return
    _end_as_they_did(heard, failed, size, emit)


def _launcher(size: int, scratch: str) -> Callable[..., Any]:
    """Returns what torchrun does with one machine and no restarts."""
    return elastic_launch(
        LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=size,
            run_id=f"resbench-{os.getpid()}",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            start_method="spawn",
            logs_specs=DefaultLogsSpecs(log_dir=scratch),
            signals_to_handle="SIGTERM",  # the others are the parent's to handle
        ),
        _rank_main,
    )


def _rank_main(job: Job, arguments: tuple[Any, ...], engine: EngineSettings, pipes: Sequence[Connection]) -> None:
    """Runs in each rank's process; one that has failed ends at once, and does not wait for the others."""
    rank = int(os.environ["RANK"])
    end_with_parent()
    share_memory_limit(engine.devices)
    pipe = pipes[rank]
    for other in pipes:
        if other is not pipe:
            other.close()
    failed = False

    def emit(kind: str, data: dict[str, Any]) -> None:
        nonlocal failed
        failed = failed or (kind == "trial" and data["status"] in FAILED)
        if rank == 0 or kind == "trial":
            pipe.send((time.monotonic(), kind, data))

    emit("rank", {})
    with joined(engine) as ranks:
        job(*arguments, emit, ranks)
        if failed:  # to take leave of ranks that wait for this one would take as long as they wait
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)
    pipe.close()


class _Heard:
    """What the ranks say, and who they are.

    Args:
        pipes: From each rank.
        emit: Told of what the first one says, but for the last word.

    Attributes:
        rows: The last word of each rank, its ``trial`` event, by rank.
        first_row: Whose came first.
        processes: Theirs, in no order; known as soon as one has said a word.
    """

    def __init__(self, pipes: Sequence[Connection], emit: Emit) -> None:
        self.pipes, self.emit = [*pipes], emit
        self.rows: dict[int, dict[str, Any]] = {}
        self.first_row: int | None = None
        self.processes: list[Any] = []
        self._times: dict[int, float] = {}
        self._thread = threading.Thread(target=self._listen, name="what ranks say", daemon=True)
        self._thread.start()

    def everything(self) -> None:
        """Waits until all has been heard; the ranks have ended."""
        self._thread.join()
        self.first_row = min(self._times, key=lambda rank: self._times[rank], default=None)

    def _listen(self) -> None:
        listening = dict(enumerate(self.pipes))
        while listening:
            ready = wait([*listening.values()])
            for rank, pipe in [(rank, pipe) for rank, pipe in listening.items() if pipe in ready]:
                try:
                    at_s, kind, data = pipe.recv()
                except (EOFError, OSError):
                    del listening[rank]
                    continue
                if kind == "rank":
                    self.processes = self.processes or multiprocessing.active_children()
                elif kind == "trial":
                    self.rows[rank], self._times[rank] = data, at_s
                else:
                    self.emit(kind, data)


def _end_as_they_did(heard: _Heard, error: ChildFailedError, size: int, emit: Emit) -> None:
    """Ends the job as the rank did that failed first; the others failed for want of it, or were ended.

    Raises:
        RuntimeError: It said nothing.
    """
    signals = {-process.exitcode for process in heard.processes if (process.exitcode or 0) < 0} - {signal.SIGTERM}
    if signals:
        number = signals.pop()
        print(f"one of {size} ranks; the others were ended", flush=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    if heard.first_row is not None:
        first = heard.rows[heard.first_row]
        row = heard.rows.get(0, first)
        where = "" if heard.first_row == 0 else f"rank {heard.first_row} of {size}: "
        emit("trial", {**row, "status": first["status"], "error": f"{where}{first['error']}"})
        return
    rank, failure = error.get_first_failure()
    raise RuntimeError(f"rank {rank} of {size} ended with exit code {failure.exitcode}") from error
