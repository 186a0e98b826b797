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


@dataclass(frozen=True)
class DeviceState:
    """What a device says of itself at one moment; ``None`` where it does not tell."""

    clock_mhz: float | None = None
    """A GPU's SM clock; the mean of as many processor threads as torch uses, the fastest of them."""
    max_clock_mhz: float | None = None
    """What the processor can reach. A GPU's is left out: how fast it may run is its power limit's to say."""
    temperature_c: float | None = None
    power_w: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    """Why the clock is not higher: NVML's reasons, such as ``sw_power_cap``. To be idle is none."""


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

    def memory_held_mib(self) -> float:
        """Returns what this process holds of the device now, in MiB, what is only kept for reuse included.

        It waits for nothing that is queued and takes some microseconds, so that a training loop can ask.
        """

    def memory_total_mib(self) -> float | None:
        """Returns how much memory the device has, in MiB, or ``None`` where it shares the host's."""

    def energy_j(self) -> float | None:
        """Returns a running total of the energy drawn, or ``None`` where the device does not count it."""

    def state(self) -> DeviceState:
        """Returns clock, temperature and power of this moment.

        It never raises, queues nothing and does not wait for what is queued. The first call must be made where the
        device is used; later ones may come from any thread.
        """

    def compute_processes(self) -> frozenset[int] | None:
        """Returns the ids of all processes that compute on the device, or ``None`` where it does not tell.

        In a container they may be the ids that the host has for them. It is as free to be called as :meth:`state`.
        """

    def aside(self) -> AbstractContextManager[object]:
        """Runs what the block queues aside from the main stream, and after what is queued there.

        What is going to be captured must have run so before.
        """

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        """Records work as one unit and returns what replays it: on CUDA a graph, without Python and launches.

        It reads and writes the tensors that it was recorded with, and none that it made outlives a replay.
        """

    def peek(self, values: torch.Tensor) -> Callable[[], list[float] | None]:
        """Begins to copy a few numbers to the host, in the order of what is queued, and waits for nothing.

        Returns:
            What gives the numbers once they are there, and None before.
        """

    def run_ahead(self, batches: Iterator[T]) -> Iterator[T]:
        """Yields the same batches, each made while the device still works on the one before.

        The batches must use two slots in turn.
        """
