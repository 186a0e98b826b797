"""The one seam between the suite and a kind of device.

Everything that only CUDA has (streams, events, the caching allocator, NVML) is reached through a
:class:`Device`; the CPU twin answers the same questions, so the tests run the code that a GPU runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch

from resbench.errors import InputError

MIB = 2**20

PRECISIONS = ("auto", "fp32", "tf32", "bf16")

# Dense peak FLOP/s from NVIDIA's datasheets: (bf16, tf32, fp32). Matched against the device's whole name: an NVL
# card or a MIG slice of the same chip has another peak.
_PEAK_FLOPS = {
    r"NVIDIA H200|NVIDIA H100 80GB HBM3": (989e12, 495e12, 67e12),
    r"NVIDIA H100 PCIe": (756e12, 378e12, 51e12),
    r"NVIDIA A100-(SXM4|SXM|PCIE|PCIe)-[48]0GB|NVIDIA A100 80GB PCIe": (312e12, 156e12, 19.5e12),
    r"NVIDIA L40S": (362e12, 183e12, 91.6e12),
    r"NVIDIA A10": (125e12, 62.5e12, 31.2e12),
}


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


class CpuDevice:
    """The processor: work is done when the call returns, so a mark is the time of day."""

    queue_depth = 0

    def __init__(self) -> None:
        self.torch_device = torch.device("cpu")

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
        """Lets the kernel count the peak resident set from here on (Linux)."""
        release_free_memory()
        # proc(5): resets VmHWM. Where that is refused the peak also holds what came before.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def memory_peak(self) -> MemoryPeak:
        """Returns the peak resident set of this process in MiB."""
        return MemoryPeak(resident_peak_mib(), None)

    def energy_j(self) -> None:
        """The processor's energy counters need root: not measured."""


class MpsDevice(CpuDevice):
    """Apple's GPU: work is queued, so marks wait for it."""

    def __init__(self) -> None:
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

    def start_memory_window(self) -> None:
        """Frees the cache; MPS keeps no peak, so :meth:`memory_peak` reads the level at the end."""
        gc.collect()
        torch.mps.empty_cache()

    def memory_peak(self) -> MemoryPeak:
        """Returns what is allocated now, and what the driver holds."""
        driver = torch.mps.driver_allocated_memory() / MIB
        return MemoryPeak(torch.mps.current_allocated_memory() / MIB, driver)


class CudaDevice:
    """An NVIDIA GPU: work is queued on a stream, and a mark is an event in that stream."""

    queue_depth = 8

    def __init__(self, index: int) -> None:
        self.torch_device = torch.device("cuda", index)
        torch.cuda.set_device(self.torch_device)

    @property
    def name(self) -> str:
        """The product's name as the driver has it."""
        return torch.cuda.get_device_name(self.torch_device)

    def synchronize(self) -> None:
        """Waits until the device is idle."""
        torch.cuda.synchronize(self.torch_device)

    def mark(self) -> torch.cuda.Event:
        """Records a timing event on the current stream."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def elapsed_s(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        """Returns seconds between two events that have been reached."""
        return start.elapsed_time(end) / 1000

    def wait(self, mark: torch.cuda.Event) -> None:
        """Waits until the stream has reached the event."""
        mark.synchronize()

    def start_memory_window(self) -> None:
        """Empties the allocator's cache and resets its peaks."""
        gc.collect()
        self.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.torch_device)

    def memory_peak(self) -> MemoryPeak:
        """Returns the caching allocator's peaks."""
        self.synchronize()
        return MemoryPeak(
            torch.cuda.max_memory_allocated(self.torch_device) / MIB,
            torch.cuda.max_memory_reserved(self.torch_device) / MIB,
        )

    def energy_j(self) -> float | None:
        """Returns NVML's running total, which GPUs since Volta keep, in joules."""
        import pynvml

        try:
            pynvml.nvmlInit()
            uuid = f"GPU-{torch.cuda.get_device_properties(self.torch_device).uuid}"
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
        except pynvml.NVMLError:
            return None


def open_device(name: str) -> Device:
    """Makes the seam for a resolved device name (see :func:`resolve_device`)."""
    device = torch.device(name)
    if device.type == "cuda":
        return CudaDevice(device.index or 0)
    return MpsDevice() if device.type == "mps" else CpuDevice()


def resolve_device(name: str) -> str:
    """Turns ``auto`` into a device that is there, and checks any other name.

    Args:
        name: ``auto`` (cuda, then mps, then cpu), ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.

    Raises:
        InputError: It is not a device's name, or there is no such device.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:(0|[1-9]\d*))?", name):
        raise InputError(f"unknown device {name!r}. Accepted: auto, cpu, mps, cuda, cuda:N (such as cuda:1).")
    if name.startswith("cuda"):
        if not cuda:
            raise InputError(
                f"--device {name}: torch sees no CUDA device here. Use --device cpu or auto, "
                "or check the driver with nvidia-smi."
            )
        index = int(name.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            raise InputError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices, from cuda:0.")
    if name == "mps" and not mps:
        raise InputError("--device mps: this torch has no MPS device. Use --device cpu or auto.")
    return name


def resolve_precision(name: str, device: str) -> str:
    """Turns ``auto`` into bf16 on CUDA and fp32 elsewhere, and checks any other name.

    Raises:
        InputError: It is not a precision, or the device does not have it.
    """
    if name not in PRECISIONS:
        raise InputError(f"unknown precision {name!r}. Accepted: {', '.join(PRECISIONS)}.")
    on_cuda = device.startswith("cuda")
    if name == "auto":
        # An emulated bf16 (before Ampere) is slower than fp32.
        return "bf16" if on_cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if name == "tf32" and not on_cuda:
        raise InputError(f"precision tf32 is a CUDA mode and the device is {device}. Use fp32 or bf16.")
    return name


def apply_precision(precision: str) -> None:
    """Sets every switch that changes the arithmetic or cuDNN's choice of kernels, whatever the defaults are."""
    tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.deterministic = False


def peak_flops(device_name: str, precision: str) -> float | None:
    """Returns a device's dense datasheet peak in FLOP/s, or ``None`` for one that is not listed: never a guess."""
    for pattern, (bf16, tf32, fp32) in _PEAK_FLOPS.items():
        if re.fullmatch(pattern, device_name):
            return {"bf16": bf16, "tf32": tf32, "fp32": fp32}[precision]
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Says whether an error means that memory ran out; torch has a class for that on CUDA, on others a message."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(re.search("can't allocate memory|out of memory", str(error)))


def release_free_memory() -> None:
    """Gives memory that Python and the C library keep for reuse back to the system, so that none hides there."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl has none
        if trim is not None:
            trim(0)


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
