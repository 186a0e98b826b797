"""Requests to end: Ctrl-C, SIGTERM and a closed terminal all arrive as one exception, and can be held back.

Python hands signals to the main thread alone; in any other nothing here does anything.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

REQUESTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InterruptedBySignal(KeyboardInterrupt):
    """Somebody asked this process to end by another way than Ctrl-C; the message is the signal's name."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raises :class:`InterruptedBySignal` where SIGTERM or SIGHUP comes inside the block.

    A signal that is ignored (``nohup``) stays so.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise InterruptedBySignal(signal.Signals(number).name)

    wanted = (number for number in REQUESTS[1:] if signal.getsignal(number) is not signal.SIG_IGN)
    with _handling(dict.fromkeys(wanted, interrupt)):
        yield


@contextlib.contextmanager
def ignoring_interrupts(*only: signal.Signals) -> Iterator[None]:
    """Ignores requests to end inside the block, all of them or some."""
    with _handling(dict.fromkeys(only or REQUESTS, signal.SIG_IGN)):
        yield


@contextlib.contextmanager
def deferring_interrupts() -> Iterator[None]:
    """Holds every request to end back until the end of the block."""
    held: list[int] = []
    with _handling(dict.fromkeys(REQUESTS, lambda number, frame: held.append(number))):
        yield
    if held:
        signal.raise_signal(held[0])


@contextlib.contextmanager
def _handling(handlers: dict[signal.Signals, Any]) -> Iterator[None]:
    """Sets signal handlers for the block, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
