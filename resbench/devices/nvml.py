"""What NVIDIA's management library says of a GPU: of the hardware, not of this process's CUDA context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pynvml

from resbench.devices.base import DeviceState

_REASONS = {
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
    0x200: "board_limit",
    0x400: "reliability",
}
"""Bits of nvml.h's ``nvmlClocksEventReasons``; 0x1, that the GPU is idle, is no reason of a slow one."""


class NvmlGpu:
    """One GPU, or none: then, and wherever a query fails, the answer is ``None``."""

    def __init__(self, handle: Any = None) -> None:
        self._handle = handle

    def state(self) -> DeviceState:
        """Returns the SM clock, temperature, power and what holds the clock down. Never raises."""
        milliwatts = self._ask(pynvml.nvmlDeviceGetPowerUsage)
        return DeviceState(
            clock_mhz=_number(self._ask(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM)),
            temperature_c=_number(self._ask(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU)),
            power_w=None if milliwatts is None else milliwatts / 1000,
            throttle_reasons=self._throttle_reasons(),
        )

    def energy_j(self) -> float | None:
        """Returns the running total since the driver was loaded; GPUs before Volta keep none."""
        millijoules = self._ask(pynvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if millijoules is None else millijoules / 1000

    def compute_processes(self) -> frozenset[int] | None:
        """Returns the ids of the processes with a CUDA context here: those of the host's pid namespace."""
        found = self._ask(pynvml.nvmlDeviceGetComputeRunningProcesses)
        return None if found is None else frozenset(process.pid for process in found)

    def _throttle_reasons(self) -> tuple[str, ...] | None:
        """Names the reasons; a bit that is not known here gets its number."""
        bits = self._ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons)
        if bits is None:  # its name before driver 535
            bits = self._ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons)
        if bits is None:
            return None
        active = [1 << place for place in range(1, bits.bit_length()) if bits & 1 << place]
        return tuple(_REASONS.get(bit, f"reason_{bit:#x}") for bit in active)

    def _ask(self, query: Callable[..., Any], *arguments: Any) -> Any:
        """Returns the answer to one query, ``None`` where there is none: not supported, not allowed, GPU lost."""
        if self._handle is None:
            return None
        try:
            return query(self._handle, *arguments)
        except pynvml.NVMLError:
            return None


def open_gpu(uuid: str) -> NvmlGpu:
    """Finds a GPU, or the MIG instance of one, by its UUID as torch has it: without ``GPU-`` in front.

    Returns:
        One that answers ``None`` to everything, where there is no NVML or it does not know the GPU.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return NvmlGpu()
    for kind in ("GPU", "MIG"):
        try:
            return NvmlGpu(pynvml.nvmlDeviceGetHandleByUUID(f"{kind}-{uuid}"))
        except pynvml.NVMLError:
            continue
    return NvmlGpu()


def _number(value: int | None) -> float | None:
    """Returns a float."""
    return None if value is None else float(value)
