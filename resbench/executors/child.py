"""What a spawned process does before and around its job: its log, its limits, and that it never outlives its parent.

Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import multiprocessing
import os
import re
import resource
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

GATE = "gate"
"""The kind of the message with which a job waits for the others."""
ATTEMPT = "==== attempt of "
"""How each attempt's part of a log begins."""
FIRST_TO_GO = 500
"""Added to the kernel's score of whom to end where memory runs out: the trial, not the run that records it."""


def child_main(
    job: Callable[..., None], arguments: tuple[Any, ...], pipe: Connection, log: Path, memory_limit_mib: int | None
) -> None:
    """Runs in the spawned process: what it prints goes to the log, what it emits to the parent.

    Args:
        job: Called with the arguments and ``emit``.
        arguments: Of the job.
        pipe: To the parent.
        log: What is printed is added to it.
        memory_limit_mib: Memory that the process may allocate on the host, beyond which it gets no more.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setpgid(0, 0)  # what it starts is ended together with it
    with log.open("ab", buffering=0) as file:
        file.write(f"{ATTEMPT}{datetime.now(UTC).isoformat(timespec='seconds')}\n".encode())
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a process that is killed loses what it has not flushed
    faulthandler.enable()
    end_with_parent()
    with contextlib.suppress(OSError):  # Linux has it
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO))
    if memory_limit_mib is not None:
        limit_memory(memory_limit_mib)

    def emit(kind: str, data: dict[str, Any]) -> None:
        pipe.send((kind, data))
        if kind == GATE:
            pipe.recv()

    job(*arguments, emit)
    pipe.close()


def end_with_parent() -> None:
    """Ends this process and what it has started as soon as its parent is gone, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def limit_memory(limit_mib: int) -> None:
    """Refuses allocations on the host beyond a limit, so that they fail as errors and nothing is killed (Linux).

    Args:
        limit_mib: For what this process writes to, beyond what it has already.
    """
    if sys.platform != "linux":  # elsewhere the kernel counts other things, or nothing, under this limit
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = _held() + limit_mib * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def share_memory_limit(size: int) -> None:
    """Leaves this process its part of the limit that it has from its parent, where that has one.

    Args:
        size: How many processes share it.
    """
    soft = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if soft != resource.RLIM_INFINITY:
        limit_memory(max(0, soft - _held()) // size // 2**20)


def _held() -> int:
    """Returns the bytes that count under a limit of memory and are taken already (Linux)."""
    found = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def available_memory_mib() -> int:
    """Returns how much host memory may still be taken here, as the system and this process's container say."""
    import psutil

    available = psutil.virtual_memory().available
    v2, v1 = ("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")
    for most, used in (v2, v1):  # of control groups
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: there is no limit
            folder = Path("/sys/fs/cgroup")
            available = min(available, int((folder / most).read_text()) - int((folder / used).read_text()))
    return int(max(0, available) // 2**20)


def out_of_memory_kills() -> int:
    """Returns how many processes the kernel has ended for want of memory so far; 0 where it does not say."""
    with contextlib.suppress(OSError):
        found = re.search(r"^oom_kill (\d+)", Path("/proc/vmstat").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def last_line(log: Path) -> str:
    """Returns the last line of a log's last attempt that is not empty, faulthandler's dump of the stack aside."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ""
    attempt = text.rpartition(ATTEMPT)[2].partition("\n")[2]
    lines = re.split(r"^Fatal Python error: ", attempt, flags=re.MULTILINE)[0].strip().splitlines()
    return lines[-1].strip() if lines else ""
