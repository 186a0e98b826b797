"""Several processes that run one job, as torchrun starts them: what they say is one job's, and so is their end.

The process that runs the job starts one for each device and waits. The first of them speaks for all. Where one ends
otherwise than well, all are ended, and this process ends as that one did: whoever watches it sees one job.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from resbench.errors import in_one_line
from resbench.executors.child import end_with_parent, share_memory_limit
from resbench.ranks import joined
from resbench.recorder import Emit
from resbench.schema import EngineSettings

FAILED = frozenset({"crashed", "oom"})
"""How a trial ends on one rank without the others knowing."""

BEGUN, RAISED = "rank begun", "rank raised"
LAST_WORDS = frozenset({"trial", RAISED})

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
        RuntimeError: A rank ended without a record, and by no signal.
    """
    logging.disable(logging.ERROR)  # torchrun's own words of what is told better here
    size = engine.devices
    pipes = [multiprocessing.get_context("spawn").Pipe(duplex=False) for _ in range(size)]
    heard = _Heard([near for near, _ in pipes], emit)
    far_ends = [far for _, far in pipes]
    failed, asked_to_end = "", False
    with tempfile.TemporaryDirectory(prefix="resbench-") as scratch:
        try:
            _launcher(size, scratch)(job, arguments, engine, far_ends)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            failed = f"rank {rank} of {size} ended with exit code {failure.exitcode}"
        except SignalException:
            asked_to_end = True
        finally:
            for far in far_ends:
                far.close()
            heard.everything()
    if asked_to_end:
        _die_of(signal.SIGTERM)
    if failed:
        _end_as_they_did(heard, failed, size, emit)
    elif 0 in heard.rows:
        emit("trial", heard.rows[0])


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
    """Runs in each rank's process; one that has failed ends at once, and does not take leave of the others."""
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
        if rank == 0 or kind in {*LAST_WORDS, BEGUN}:
            pipe.send((time.monotonic(), kind, data))

    emit(BEGUN, {})
    try:
        with joined(engine) as ranks:
            job(*arguments, emit, ranks)
            if failed:
                _leave()
    except Exception as error:
        traceback.print_exc()
        emit(RAISED, {"error": in_one_line(error)})
        _leave()
    pipe.close()


def _leave() -> None:
    """Ends this process without a word to the others, which may be waiting for it for as long as they wait."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


class _Heard:
    """What the ranks say, and who they are.

    Args:
        pipes: From each rank.
        emit: Told of what the first one says, but for the last word.

    Attributes:
        rows: The ``trial`` event of each rank that has sent one.
        errors: What was raised, by rank, where a job did not end with an event.
        processes: Theirs, in no order; known as soon as one has begun.
    """

    def __init__(self, pipes: Sequence[Connection], emit: Emit) -> None:
        self.pipes, self.emit = [*pipes], emit
        self.rows: dict[int, dict[str, Any]] = {}
        self.errors: dict[int, str] = {}
        self.processes: list[Any] = []
        self._ended_at_s: dict[int, float] = {}
        self._thread = threading.Thread(target=self._listen, name="what ranks say", daemon=True)
        self._thread.start()

    def everything(self) -> None:
        """Waits until all has been heard; the ranks have ended."""
        self._thread.join()

    @property
    def first(self) -> int | None:
        """Which rank's last word came first."""
        return min(self._ended_at_s, key=lambda rank: self._ended_at_s[rank], default=None)

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
                if kind in LAST_WORDS:
                    self._ended_at_s[rank] = at_s
                if kind == BEGUN:
                    self.processes = self.processes or multiprocessing.active_children()
                elif kind == "trial":
                    self.rows[rank] = data
                elif kind == RAISED:
                    self.errors[rank] = data["error"]
                else:
                    self.emit(kind, data)


def _end_as_they_did(heard: _Heard, failed: str, size: int, emit: Emit) -> None:
    """Ends the job as the rank did that failed first; the others failed for want of it, or were ended.

    Args:
        heard: All that they have said.
        failed: What torchrun says. It tells of one rank only, which may be one that another one's death brought down.
        size: How many there were.
        emit: Told of the record.

    Raises:
        RuntimeError: It left no record.
    """
    out_of_memory = [rank for rank, row in heard.rows.items() if row["status"] == "oom"]
    deadly = {-process.exitcode for process in heard.processes if (process.exitcode or 0) < 0} - {signal.SIGTERM}
    if deadly and not out_of_memory:  # where one has no memory left, another may die of that in a less orderly way
        print(f"one of {size} ranks; the others were ended", flush=True)
        _die_of(deadly.pop())
    rank = out_of_memory[0] if deadly and out_of_memory else heard.first
    if rank in heard.rows:
        first = heard.rows[rank]
        where = f"rank {rank} of {size}: " if rank else ""
        emit("trial", {**heard.rows.get(0, first), "status": first["status"], "error": f"{where}{first['error']}"})
        return
    if rank in heard.errors:
        raise RuntimeError(f"rank {rank} of {size}: {heard.errors[rank]}")
    raise RuntimeError(failed)


def _die_of(number: int) -> None:
    """Ends this process by a signal, so that whoever watches it sees how a rank has ended."""
    gc.collect()  # torchrun's semaphores, which Python would report as left behind
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
