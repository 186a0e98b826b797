"""The processor, and Apple's GPU, which has neither events nor graphs to use."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from resbench.devices.base import MIB, DeviceState, MemoryPeak
from resbench.devices.host import clock_mhz, temperature_c

T = TypeVar("T")


class CpuDevice:
    """The processor: work is done when the call returns, so a mark is the time of day."""

    queue_depth = 0

    def __init__(self) -> None:
        self.torch_device = torch.device("cpu")
        self._process = psutil.Process()
        keep_freed_memory(True)

    @property
    def name(self) -> str:
        """The processor's model name."""
        from resbench.provenance import host_cpu

        return host_cpu()

    def synchronize(self) -> None:
        """Nothing is ever queued."""

    def mark(self) -> float:
        """Returns the monotonic clock in seconds."""
        return time.perf_counter()

    def elapsed_s(self, start: float, end: float) -> float:
        """Returns seconds between two marks."""
        return end - start

    def wait(self, mark: float) -> None:
        """A mark is reached when it is made."""

    def start_memory_window(self) -> None:
        """Lets the kernel count the peak resident set from here on (Linux), with nothing in it that is free."""
        keep_freed_memory(False)
        release_free_memory()
        # proc(5): resets VmHWM. Where that is refused the peak also holds what came before.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def memory_peak(self) -> MemoryPeak:
        """Returns the peak resident set of this process in MiB."""
        peak = MemoryPeak(resident_peak_mib(), None)
        keep_freed_memory(True)
        return peak

    def memory_held_mib(self) -> float:
        """Returns the resident set of this process in MiB: libraries and images are in it."""
        return self._process.memory_info().rss / MIB

    def memory_total_mib(self) -> None:
        """A processor has no memory but the host's."""

    def energy_j(self) -> None:
        """The processor's energy counters need root: not measured."""

    def state(self) -> DeviceState:
        """Returns the processor's clock and temperature where the system tells them."""
        clock, highest = clock_mhz(torch.get_num_threads())
        return DeviceState(clock_mhz=clock, max_clock_mhz=highest, temperature_c=temperature_c())

    def compute_processes(self) -> None:
        """Everything computes on a processor: what others take of it is their load."""

    def aside(self) -> AbstractContextManager[object]:
        """There is one order of work."""
        return contextlib.nullcontext()

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        """Returns the work itself."""
        return work

    def peek(self, values: torch.Tensor) -> Callable[[], list[float] | None]:
        """Reads the numbers now: nothing is on its way."""
        numbers: list[float] = values.tolist()
        return lambda: numbers

    def run_ahead(self, batches: Iterator[T]) -> Iterator[T]:
        """Yields the batches as they are made."""
        return batches


class MpsDevice(CpuDevice):
    """Apple's GPU: work is queued, so marks wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.torch_device = torch.device("mps")

    @property
    def name(self) -> str:
        """The chip's name."""
        return f"Apple GPU of {super().name}"

    def synchronize(self) -> None:
        """Waits for the queue."""
        torch.mps.synchronize()

    def mark(self) -> float:
        """Waits for the queue and returns the monotonic clock."""
        self.synchronize()
        return time.perf_counter()

    def state(self) -> DeviceState:
        """The chip tells nothing without root."""
        return DeviceState()

    def start_memory_window(self) -> None:
        """Frees the cache; MPS keeps no peak, so :meth:`memory_peak` reads the level at the end."""
        gc.collect()
        torch.mps.empty_cache()

    def memory_peak(self) -> MemoryPeak:
        """Returns what is allocated now, and what the driver holds."""
        driver = torch.mps.driver_allocated_memory() / MIB
        return MemoryPeak(torch.mps.current_allocated_memory() / MIB, driver)

    def memory_held_mib(self) -> float:
        """Returns what tensors occupy now."""
        return torch.mps.current_allocated_memory() / MIB


def keep_freed_memory(keep: bool) -> None:
    """Lets the C library keep what is freed for the next step, or give every large block back at once.

    A step frees and allocates all its activations, and memory that went back to the system in between is cleared by
    it, page by page. While memory is measured it goes back: what is free must not count as used.
    """
    # mallopt(3): M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX; its defaults, and without any giving back.
    values = {-1: -1, -2: 64 * MIB, -4: 0} if keep else {-1: 1 << 17, -2: 1 << 17, -3: 1 << 17, -4: 1 << 16}
    for parameter, value in values.items():
        _glibc("mallopt", parameter, value)


def release_free_memory() -> None:
    """Gives memory that Python and the C library keep for reuse back to the system, so that none hides there."""
    gc.collect()
    _glibc("malloc_trim", 0)


def _glibc(name: str, *arguments: int) -> None:
    """Calls a function of the GNU C library, where that is the library: musl and macOS have none of these."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)


def resident_mib() -> float:
    """Returns this process's resident set in MiB, without what is only kept for reuse."""
    release_free_memory()
    return psutil.Process().memory_info().rss / MIB


def resident_peak_mib() -> float:
    """Returns this process's peak resident set in MiB: since the last reset on Linux, else since it began."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024
