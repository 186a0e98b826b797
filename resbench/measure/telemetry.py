"""What device and host say of themselves while something is measured, and whether that casts doubt on the numbers.

A thread of the measuring process asks the device five times a second, less often where asking is expensive: it keeps to
``MAX_SHARE`` of a processor thread, and the report says what it took. It queues nothing on the device. What
casts doubt makes a window ``suspect``, with its reasons in words; nothing is ever dropped for it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

import torch

from resbench.devices import Device, DeviceState
from resbench.devices.host import HostTimes, host_times, is_own, other_load, usable_threads

PERIOD_S = 0.2
"""Between two samples."""
MAX_SHARE = 0.001
"""Of one processor thread, for sampling; where a sample costs more than that allows, samples become rarer."""
PROCESSES_EVERY_S = 2.0
"""Between two questions for the processes on a GPU: the driver goes through all of its clients for the answer."""

SLOWDOWNS = ("hw_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown", "sw_thermal_slowdown")
"""Reasons of a slow clock that a cooler room or a stronger supply would not give: the same trial would be faster on
another day. ``sw_power_cap`` is none of them: a large GPU at full load runs at its power limit, always, and that is
how fast it is. Nor are clocks that somebody has set, which make numbers steadier."""
THROTTLED_SHARE = 0.01
"""Of the samples, from which a slowdown counts: less does not show in a mean, and NVML may report ``hw_slowdown`` for
a moment whenever clocks change."""
CLOCK_FALL = 0.1
"""Relative fall of the clock, median of a window's second half against that of its first, from which speed has drifted.
Medians, because clocks rise and fall for moments with the load; a GPU at its power limit loses a few per cent while
it warms up, and every trial's does."""
MIN_SAMPLES_A_HALF = 5
"""A median of fewer would be a moment's."""
SCALED_DOWN = 0.5
"""Of a processor's highest clock, which one busy thread reaches. All of them together, in wide vector instructions, may
run at two thirds of it; below half it is a governor, a cap or heat."""
OTHER_LOAD = 0.25
"""Of the processor threads that the trial wants: so much taken by others is no longer lost in the noise."""
QUEUING_THREADS = 2
"""Of the processor are wanted by a trial on a GPU: one queues the forward pass, one the backward pass."""
_PATIENCE_S = 2.0
"""How long the end of a window waits for a sample on its way: a driver that hangs must not hang the trial."""

VALID, SUSPECT = "valid", "suspect"


@dataclass(frozen=True)
class WindowReport:
    """What was seen during one measured window; ``None`` where neither device nor host told."""

    name: str
    seconds: float
    samples: int
    clock_mhz_mean: float | None
    clock_mhz_min: float | None
    clock_mhz_max: float | None
    temperature_c_max: float | None
    power_w_mean: float | None
    throttle_reasons: list[str] | None
    """Each that was seen, in the device's own terms, the harmless ones too."""
    other_processes: int | None
    """Most at once on the same GPU, this run's own not counted."""
    other_load: float | None
    """Mean number of processor threads that other processes, or the machine's other tenants, kept busy."""
    sampling_s: float
    """Processor time that watching took, in this process."""
    verdict: str
    """``valid`` or ``suspect``."""
    reasons: list[str]
    """Why it is suspect; for a valid window, what a reader must know all the same."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        return asdict(self)


class Telemetry:
    """Watches a device and its host during windows.

    Args:
        device: The one that is measured on.
        period_s: Seconds between two samples.
        together: Trials of this run that share the device. Only needed in a container, where the driver gives processes
            other ids than they have there, so that a run's own cannot be told from strangers but by their number.
    """

    def __init__(self, device: Device, *, period_s: float = PERIOD_S, together: int = 1) -> None:
        self.device, self.period_s, self.together = device, period_s, together

    def window(self, name: str) -> Window:
        """Returns what watches a ``with`` block; its report is there when the block has ended, however it did."""
        return Window(self, name)


class Window:
    """One measured window: samples at both ends, and in between from a thread."""

    def __init__(self, telemetry: Telemetry, name: str) -> None:
        self.name = name
        self._device, self._period_s, self._together = telemetry.device, telemetry.period_s, telemetry.together
        self._states: list[DeviceState] = []
        self._other_processes: list[int] = []
        self._asked_for_processes_at = -PROCESSES_EVERY_S
        self._strangers: dict[int, bool] = {}
        self._sampling_s = self._seconds = 0.0
        self._host: list[HostTimes] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"telemetry of {name}", daemon=True)

    def __enter__(self) -> Window:
        began = time.thread_time()
        self._sample(processes=True)
        self._read_host()
        self._sampling_s = time.thread_time() - began
        self._began_at = time.perf_counter()
        with contextlib.suppress(RuntimeError):  # no more threads to be had: then both ends must do
            self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._seconds = time.perf_counter() - self._began_at
        self._over.set()
        began = time.thread_time()
        self._read_host()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE_S)
        if not self._thread.is_alive():
            self._sample(processes=True)
        self._sampling_s += time.thread_time() - began

    def report(self) -> WindowReport:
        """Returns what was seen.

        Raises:
            RuntimeError: The window has not ended.
        """
        if not self._over.is_set():
            raise RuntimeError(f"the window {self.name!r} has not ended: ask for its report behind the with block")
        states = list(self._states)
        clocks = _told(state.clock_mhz for state in states)
        temperatures, powers = _told(state.temperature_c for state in states), _told(state.power_w for state in states)
        reasons = [state.throttle_reasons for state in states if state.throttle_reasons is not None]
        load = other_load(*self._host) if len(self._host) == 2 else None
        doubts = [*_doubts_of_device(states), *_doubts_of_gpu_processes(self._other_processes)]
        if load is not None:
            doubts += self._doubts_of_load(load)
        silent = self._device.torch_device.type == "cuda" and not clocks and not reasons
        return WindowReport(
            name=self.name,
            seconds=self._seconds,
            samples=len(states),
            clock_mhz_mean=fmean(clocks) if clocks else None,
            clock_mhz_min=min(clocks, default=None),
            clock_mhz_max=max(clocks, default=None),
            temperature_c_max=max(temperatures, default=None),
            power_w_mean=fmean(powers) if powers else None,
            throttle_reasons=sorted({reason for seen in reasons for reason in seen}) if reasons else None,
            other_processes=max(self._other_processes, default=None),
            other_load=load,
            sampling_s=self._sampling_s,
            verdict=SUSPECT if doubts else VALID,
            reasons=[*doubts, "no telemetry: NVML tells nothing of this GPU"] if silent else doubts,
        )

    def _run(self) -> None:
        """Samples until the window is over, as often as the thread's own processor time allows."""
        pause_s, until_now_s = self._period_s, time.thread_time()
        while not self._over.wait(pause_s):
            self._sample(processes=time.perf_counter() - self._asked_for_processes_at >= PROCESSES_EVERY_S)
            spent_s = time.thread_time() - until_now_s
            until_now_s += spent_s
            self._sampling_s += spent_s
            pause_s = max(self._period_s, spent_s / MAX_SHARE)

    def _sample(self, *, processes: bool) -> None:
        """Asks the device. Nothing that goes wrong reaches the trial."""
        with contextlib.suppress(Exception):  # a driver fails in as many ways as there are: this moment is not known
            self._states.append(self._device.state())
            if processes:
                self._asked_for_processes_at = time.perf_counter()
                self._count_processes(self._device.compute_processes())

    def _count_processes(self, listed: frozenset[int] | None) -> None:
        """Notes how many of the processes on the device are not this run's."""
        if not listed:  # this process is on the device: a list without anybody is none
            return
        for pid in listed - self._strangers.keys():
            self._strangers[pid] = not is_own(pid)
        strangers = sum(self._strangers[pid] for pid in listed)
        foreign_ids = strangers == len(listed)
        self._other_processes.append(max(0, strangers - self._together) if foreign_ids else strangers)

    def _read_host(self) -> None:
        """Reads the host's totals, which both ends of the window suffice for."""
        with contextlib.suppress(Exception):  # as in _sample
            self._host.append(host_times())

    def _doubts_of_load(self, load: float) -> list[str]:
        """Says where others left the trial less of the processor than it wants.

        On a machine with more processor threads than the trial may use or wants, others may have the rest.
        """
        on_gpu = self._device.torch_device.type != "cpu"
        wanted = min(usable_threads(), QUEUING_THREADS if on_gpu else torch.get_num_threads())
        threads = self._host[-1].threads
        if threads - load >= (1 - OTHER_LOAD) * wanted:
            return []
        return [f"other processes kept {load:.1f} of {threads} processor threads busy; the trial wants {wanted:g}"]


def _doubts_of_device(states: Sequence[DeviceState]) -> list[str]:
    """Says what the device's own words cast doubt on: slowdowns, a falling clock, a low one."""
    doubts = []
    told = [state.throttle_reasons for state in states if state.throttle_reasons is not None]
    for reason in SLOWDOWNS:
        seen = sum(reason in reasons for reasons in told)
        if told and seen / len(told) > THROTTLED_SHARE:
            doubts.append(f"the GPU slowed itself down: {reason} in {seen} of {len(told)} samples")
    clocks = _told(state.clock_mhz for state in states)
    half = len(clocks) // 2
    if half >= MIN_SAMPLES_A_HALF:
        first, second = median(clocks[:half]), median(clocks[-half:])
        if second < (1 - CLOCK_FALL) * first:
            doubts.append(f"the clock fell by {1 - second / first:.0%}: from {first:.0f} to {second:.0f} MHz")
    highest = max(_told(state.max_clock_mhz for state in states), default=None)
    if clocks and highest and fmean(clocks) < SCALED_DOWN * highest:
        doubts.append(f"the processor ran at {fmean(clocks):.0f} MHz of {highest:.0f}: a governor, a cap or heat")
    return doubts


def _doubts_of_gpu_processes(counts: Sequence[int]) -> list[str]:
    """Says whether others computed on the same GPU."""
    seen = sum(count > 0 for count in counts)
    if not seen:
        return []
    most = max(counts)
    noun = "other process" if most == 1 else "other processes"
    return [f"{most} {noun} on the same GPU, in {seen} of {len(counts)} looks"]


def _told(values: Any) -> list[float]:
    """Returns those that are known."""
    return [value for value in values if value is not None]
