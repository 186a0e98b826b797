"""On a node: one job in a process of its own, and what it says on its way to the driver.

This is a Ray task, a generator whose every item is a few messages. The job's process is started as on any machine, with
its limits, and ends with this one, however that ends: nothing is left on a node whose driver is gone. Torch is imported
in the job's process alone.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from resbench.executors.child import available_memory_mib
from resbench.executors.process import Exit, run_in_process
from resbench.executors.ray_cluster.messages import Message, Work
from resbench.locks import device_locks

SIGN_OF_LIFE_S = 5.0
"""How often the driver hears of a job that says nothing."""
GATHER_S = 0.1
"""How long messages are gathered that come close together."""
THREADS = "OMP_NUM_THREADS"
MOST_LOG = 8 * 2**20
"""Bytes of what an attempt prints that reach the driver."""


@dataclass(frozen=True)
class Batch:
    """What a job said since the last one."""

    messages: list[Message] = field(default_factory=list)
    log: bytes = b""
    exit: Exit | None = None
    """How its process ended; nothing comes after that."""


def run_work(work: Work) -> Iterator[Batch]:
    """Runs a job and yields what it says; the first item says that it is about to begin.

    Raises:
        OSError: The log cannot be written on this node.
    """
    yield Batch()
    parent = psutil.Process(os.getppid())  # Ray's, with what the node was started with
    _set_threads(work.threads, parent)
    take_priority_of(parent)
    _forget_main_module()
    log = _Log(work.folder / "logs" / f"{work.name}.log")
    said: queue.SimpleQueue[Message | Exit | BaseException] = queue.SimpleQueue()
    # Its own thread, so that this one can say that it lives.
    threading.Thread(target=_run, args=(work, log.path, said), daemon=True).start()
    ended: Exit | None = None
    while ended is None:
        messages, ended = _gather(said)
        yield Batch(messages, log.more(), ended)
    log.path.unlink(missing_ok=True)


def _run(work: Work, log: Path, said: queue.SimpleQueue[Message | Exit | BaseException]) -> None:
    """Runs the job's process and puts what it says and how it ends into the queue."""

    def hand_on(kind: str, data: dict[str, object]) -> None:
        if kind == "trial" and work.checkpoint is not None:
            work.checkpoint.unlink(missing_ok=True)  # what has ended does not go on: another attempt begins anew
        said.put((kind, data))

    def wait_for_device(text: str) -> None:
        said.put(("notice", {"text": text}))

    try:
        limit = work.memory_limit_mib
        if limit is None and work.device == "cpu":
            limit = available_memory_mib()
        with _own_devices(work, wait_for_device):
            ended = run_in_process(
                work.job,
                work.arguments,
                log=log,
                on_message=hand_on,
                limit_s=work.limit_s,
                memory_limit_mib=limit,
                processes=work.devices,
            )
        said.put(ended)
    except BaseException as error:
        said.put(error)


def _own_devices(work: Work, on_wait: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
    """Holds the GPUs that Ray gave the job, while it runs; the node's keeper holds the processor."""
    if not work.device.startswith("cuda"):
        return contextlib.nullcontext()
    return device_locks(work.device, work.devices, on_wait=on_wait)


def _gather(said: queue.SimpleQueue[Message | Exit | BaseException]) -> tuple[list[Message], Exit | None]:
    """Returns messages that came close together, and how the process ended where it has.

    Raises:
        BaseException: What kept the job from running.
    """
    messages: list[Message] = []
    until = time.monotonic() + SIGN_OF_LIFE_S
    while (left := until - time.monotonic()) > 0:
        try:
            thing = said.get(timeout=left)
        except queue.Empty:
            break
        if isinstance(thing, BaseException):
            raise thing
        if isinstance(thing, Exit):
            return messages, thing
        if not messages:
            until = time.monotonic() + GATHER_S
        messages.append(thing)
    return messages, None


class _Log:
    """What a job prints, as it grows."""

    def __init__(self, path: Path) -> None:
        self.path, self._read = path, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of an attempt that was cut short here

    def more(self) -> bytes:
        """Returns what was printed since the last time, as long as it is not too much."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                found = file.read(MOST_LOG)
        except OSError:
            return b""
        before, self._read = self._read, self._read + len(found)
        if before >= MOST_LOG:
            return b""
        left_out = b"\n[the rest stayed on its node]\n" if self._read > MOST_LOG else b""
        return found[: MOST_LOG - before] + left_out


def take_priority_of(parent: psutil.Process) -> bool:
    """Takes back the low priority that Ray gives its workers, under which others' work would count as the trial's time.

    Args:
        parent: What the node runs its workers from.

    Returns:
        Whether this process has the priority now that the node was started with; only root may take it.
    """
    with contextlib.suppress(psutil.Error, OSError):
        wanted = parent.nice()
        if os.getpriority(os.PRIO_PROCESS, 0) > wanted:
            os.setpriority(os.PRIO_PROCESS, 0, wanted)
    return os.getpriority(os.PRIO_PROCESS, 0) <= parent.nice()


def _set_threads(threads: int | None, parent: psutil.Process) -> None:
    """Says how many threads torch uses in processes that are started from here.

    Ray sets the variable to the processors of the task. Where nothing is asked for, the node's own environment counts,
    which is that of the process above: as it does under the local executor.
    """
    given = str(threads) if threads else None
    if given is None:
        with contextlib.suppress(psutil.Error):
            given = parent.environ().get(THREADS)
    if given is None:
        os.environ.pop(THREADS, None)
    else:
        os.environ[THREADS] = given


def _forget_main_module() -> None:
    """Keeps a spawned process from running this one's main module again, which is Ray's and takes a second."""
    main = sys.modules["__main__"]
    if Path(getattr(main, "__file__", None) or "").name == "default_worker.py":
        main.__file__ = None
