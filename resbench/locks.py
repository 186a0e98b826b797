"""Locks between processes: one run a results folder, one suite a device.

A lock is the kernel's own (``flock``) and goes with the process that holds it, however that ends. The file beside it
says who that is; it stays behind and means nothing without the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from resbench.data.cache import cache_root
from resbench.errors import InputError

FOLDER_LOCK = ".lock"


class LockedError(InputError):
    """Another process holds what this one needs."""


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Holds a results folder for this process inside the block.

    Raises:
        LockedError: Another process holds it; the message names it.
        OSError: The lock's file cannot be written.
    """
    with (folder / FOLDER_LOCK).open("ab+") as file:
        if not _take(file, wait=False):
            raise LockedError(
                f"the results folder {str(folder)!r} is in use by {_holder(file)}. Wait for it, or give another "
                "folder with --out."
            )
        _sign(file)
        yield


@contextlib.contextmanager
def device_locks(
    device: str, devices: int = 1, *, on_wait: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """Holds every device of a trial for this process inside the block, see :func:`device_lock`.

    Args:
        device: As the trial's engine settings have it.
        devices: How many train it. Several GPUs are taken in one order, in whichever order this process numbers
            them, so that no two processes wait for each other.
        on_wait: Told whom it waits for, where it has to.
    """
    names = [f"cuda:{index}" for index in range(devices)] if device == "cuda" and devices > 1 else [device]
    with contextlib.ExitStack() as held:
        for name in sorted(names, key=_physical):
            held.enter_context(device_lock(name, on_wait=on_wait))
        yield


@contextlib.contextmanager
def device_lock(device: str, *, on_wait: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Holds a device for this process inside the block, and waits where another one does.

    Two measurements at once on one device would spoil each other. Folders and users that share a cache folder
    share the locks; machines that share one do not, for each has its own devices.

    Args:
        device: A torch device, such as ``cuda:1``.
        on_wait: Told whom it waits for, where it has to.
    """
    folder = cache_root() / "locks" / host_name()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{_physical(device)}.lock").open("ab+") as file:
        if not _take(file, wait=False):
            on_wait(f"waiting for the device {device}, which is in use by {_holder(file)}")
            _take(file, wait=True)
        _sign(file)
        yield


def host_name() -> str:
    """Names this machine as a folder can be called."""
    return re.sub(r"[^0-9A-Za-z.-]", "_", platform.node()).strip(".") or "localhost"


def _take(file: BinaryIO, *, wait: bool) -> bool:
    """Takes the lock; returns whether it was free, unless it waits."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _sign(file: BinaryIO) -> None:
    """Writes who holds the lock."""
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}).encode())
    file.flush()


def _holder(file: BinaryIO) -> str:
    """Says who holds the lock, as far as it has written that yet."""
    file.seek(0)
    try:
        who = json.loads(file.read())
        return f"process {int(who['pid'])}, started {who['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _physical(device: str) -> str:
    """Names a device as every process knows it, whatever ``CUDA_VISIBLE_DEVICES`` hides from this one."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return kind
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    number = int(index or 0)
    name = visible[number] if number < len(visible) else str(number)
    return f"cuda-{re.sub(r'[^0-9A-Za-z-]', '_', name)}"
