"""What the harness asks of a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch

MIB = 2**20
T = TypeVar("T")


@dataclass(frozen=True)
class MemoryPeak:
    """A peak in MiB. ``reserved`` is what the allocator holds of the device; ``None`` where there is none."""

    allocated_mib: float
    reserved_mib: float | None


class Device(Protocol):
    """What the harness asks of a device."""

    torch_device: torch.device
    queue_depth: int
    """Steps that may be queued before a loop waits for the oldest: enough that the queue never runs empty, few
    enough that a clock budget knows the time. 0 where work is done when the call returns."""

    @property
    def name(self) -> str:
        """The product's name."""

    def synchronize(self) -> None:
        """Waits until everything that was queued has run."""

    def mark(self) -> Any:
        """Notes this moment in the device's own order of work, without waiting for it."""

    def elapsed_s(self, start: Any, end: Any) -> float:
        """Returns seconds between two marks; on CUDA only valid once ``end`` has been reached."""

    def wait(self, mark: Any) -> None:
        """Waits until a mark has been reached."""

    def start_memory_window(self) -> None:
        """Frees what can be freed and starts to watch the peak."""

    def memory_peak(self) -> MemoryPeak:
        """Returns the peak since :meth:`start_memory_window`."""

    def energy_j(self) -> float | None:
        """Returns a running total of the energy drawn, or ``None`` where the device does not count it."""

    def aside(self) -> AbstractContextManager[object]:
        """Runs what the block queues aside from the main stream, and after what is queued there.

        What is going to be captured must have run so before.
        """

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        """Records work as one unit and returns what replays it: on CUDA a graph, without Python and launches.

        It reads and writes the tensors that it was recorded with, and none that it made outlives a replay.
        """

    def run_ahead(self, batches: Iterator[T]) -> Iterator[T]:
        """Yields the same batches, each made while the device still works on the one before.

        The batches must use two slots in turn.
        """
