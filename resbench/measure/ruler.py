"""The ruler: the instruments read quantities that are known, before they read any that are not.

Everything goes through what trials are measured with (:func:`~resbench.measure.latency.time_calls`, the device's marks
and memory window, :mod:`~resbench.measure.flops`), and is compared with something that does not:

* *Sleep.* The timer against another of the host's clocks, of the very same sleeps. The call on which the two are
  nearest counts. On a busy machine a sleep takes longer than was asked for, which both clocks see; and it may look away
  between reading one clock and the other, but not at every call.
* *Queued work* (only where work is queued). The timer against the host's clock, of calls that return before they are
  done. A timer that reads when work was queued, and not when it ran, is off by orders of magnitude here.
* *Allocation.* The memory meter against a block of known size whose every page is written. The tolerance is below the
  4.9 % by which MB and MiB differ.
* *Convolutions.* The FLOP counter against the closed form, exactly.

The timer's own overhead, matmul rate and copy bandwidth have nothing to be compared with; they must be there, and a
reader sees in them how fast the machine was when a suite began.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from resbench.devices import MIB, Device, open_device, resident_mib
from resbench.errors import RulerError
from resbench.measure.floor import Probe, measure_limits
from resbench.measure.flops import count_forward_flops, count_training_flops
from resbench.measure.latency import MIN_CALLS, WARM_UP_CALLS, time_calls
from resbench.precision import apply_precision
from resbench.schema import EngineSettings

SLEEP_S = 0.02
SLEEP_TOLERANCE = 0.02
"""An event in the stream of an idle GPU may be tens of microseconds late: a tenth of this."""
QUEUED_TOLERANCE = 0.2
"""The host's clock also sees the calls before the timed ones, and a GPU's clock may rise meanwhile."""
QUEUED_CALL_S = 0.002
"""At least, so that what the host does around the calls is small beside them."""
BLOCK_MIB = 96
ALLOCATION_TOLERANCE = 0.03
ATTEMPTS = 3
"""Of which the best counts where something else may disturb the reading."""
MATMUL_BUDGET_S = 0.4
"""For all calls of the matmul on a processor, which may have to emulate bf16."""

_INPUT = (3, 32, 30)
_CONVOLUTIONS = ({"out": 16, "kernel": 3, "stride": 1}, {"out": 24, "kernel": 5, "stride": 2})


@dataclass(frozen=True)
class Reading:
    """What an instrument read of something known."""

    name: str
    expected: float | None
    """``None`` where nothing else knows the quantity: then it must be positive."""
    measured: float
    unit: str
    tolerance: float | None
    """Relative; 0: exact."""
    ok: bool

    def __str__(self) -> str:
        """Says it with both numbers."""
        read = f"{self.name}: measured {format_quantity(self.measured, self.unit)}"
        if self.expected is None:
            return f"{read}, expected more than 0"
        within = f"within {self.tolerance:.0%}" if self.tolerance else "exactly"
        return f"{read}, expected {format_quantity(self.expected, self.unit)} {within}"


@dataclass(frozen=True)
class Ruler:
    """All readings on one device."""

    device_name: str
    precision: str
    """Of the matmul."""
    readings: tuple[Reading, ...]

    @property
    def ok(self) -> bool:
        """Whether every reading is."""
        return all(reading.ok for reading in self.readings)

    @property
    def failures(self) -> list[str]:
        """A sentence for each reading that is wrong, with both numbers."""
        return [str(reading) for reading in self.readings if not reading.ok]

    def check(self) -> None:
        """Does nothing where the instruments are right.

        Raises:
            RulerError: They are not; the message says which, and what to do.
        """
        if self.ok:
            return
        wrong = "; ".join(self.failures)
        raise RulerError(
            f"the instruments misread known quantities on {self.device_name}, so nothing is measured: {wrong}. "
            "Leave the machine to this alone and try again with `resbench env`. If that fails too, numbers of this "
            "machine cannot be believed: look for a debugger, a preloaded library or an emulator under this process."
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types, and ``ok``; what is not a number is ``None``."""
        readings = [asdict(reading) for reading in self.readings]
        for reading in readings:
            reading["measured"] = reading["measured"] if math.isfinite(reading["measured"]) else None
        return {"device_name": self.device_name, "precision": self.precision, "ok": self.ok, "readings": readings}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Ruler:
        """Rebuilds a ruler from :meth:`to_dict`; other keys, such as an event's own, are left aside."""
        readings = [
            Reading(**{**reading, "measured": math.nan if reading["measured"] is None else reading["measured"]})
            for reading in data["readings"]
        ]
        return cls(data["device_name"], data["precision"], tuple(readings))


def calibrate(device: Device, precision: str) -> Ruler:
    """Reads everything that is known; about a second, after torch is there.

    The process is left with the switches of that precision (:func:`resbench.precision.apply_precision`).

    Args:
        device: Whose instruments are tried.
        precision: ``fp32``, ``tf32`` or ``bf16``.
    """
    readings = [read_allocation(device)]  # first: what the others leave behind would be in the way
    readings += [read_sleep(device), *read_convolutions(), read_overhead(device)]
    limits = measure_limits(device, precision, _probe(device, precision), max_seconds=0.0)
    readings += [
        _known_nowhere("matmul rate", limits.matmul_flops / 1e12, "TFLOP/s"),
        _known_nowhere("copy bandwidth", limits.copy_bytes_per_second / 1e9, "GB/s"),
    ]
    if device.queue_depth:  # now that the device is warm
        readings.append(read_queued_work(device))
    return Ruler(device.name, precision, tuple(readings))


def ruler_job(engine: EngineSettings, emit: Callable[[str, dict[str, Any]], None]) -> None:
    """Calibrates in this process and emits the ``ruler``; a job for :func:`resbench.executors.process.run_in_process`.

    Args:
        engine: What a suite measures with; of it, device and precision.
        emit: Gets the kind and the data.
    """
    apply_precision(engine.precision)
    emit("ruler", calibrate(open_device(engine.device), engine.precision).to_dict())


def read_sleep(device: Device) -> Reading:
    """Times sleeps of ``SLEEP_S``; ``expected`` is what the host's other clock says of the same sleep."""
    slept: list[float] = []

    def sleep() -> None:
        device.synchronize()  # the mark before is reached, and not only queued
        began = time.time_ns()
        time.sleep(SLEEP_S)
        slept.append((time.time_ns() - began) / 1e9)

    timed = time_calls(sleep, device, max_seconds=0.0).seconds
    expected, measured = min(zip(slept[WARM_UP_CALLS:], timed, strict=True), key=_distance)
    return _known("sleep", expected * 1e3, measured * 1e3, "ms", SLEEP_TOLERANCE)


def read_queued_work(device: Device) -> Reading:
    """Times matmuls that are queued, call after call; ``expected`` is the host's time over all calls."""
    side = 2048
    left = torch.randn(side, side, device=device.torch_device)
    product = torch.empty_like(left)
    times = 1

    def work() -> None:
        for _ in range(times):
            torch.mm(left, left, out=product)

    def host_s_a_call() -> tuple[float, float]:
        device.synchronize()
        began = time.perf_counter()
        timed = time_calls(work, device, max_seconds=0.0).seconds
        host_s = (time.perf_counter() - began) / (WARM_UP_CALLS + len(timed))
        return host_s, sum(timed) / len(timed)

    work()  # loads what it needs
    once_s, _ = host_s_a_call()
    times = max(1, math.ceil(QUEUED_CALL_S / once_s))
    expected, measured = min((host_s_a_call() for _ in range(ATTEMPTS)), key=_distance)
    return _known("queued work", expected * 1e3, measured * 1e3, "ms", QUEUED_TOLERANCE)


def read_allocation(device: Device) -> Reading:
    """Reads the peak of a block of ``BLOCK_MIB``."""
    write_block(device, MIB)  # the first use of this code is resident from here on

    def attempt() -> tuple[float, float]:
        level_mib = _level_mib(device)
        device.start_memory_window()
        block = write_block(device, BLOCK_MIB * MIB)
        if device.torch_device.type != "mps":  # it keeps no peak: the block must be there when it is asked
            del block
        return float(BLOCK_MIB), device.memory_peak().allocated_mib - level_mib

    best = attempt()
    for _ in range(ATTEMPTS - 1):  # another thread of this process may allocate too
        if _distance(best) <= ALLOCATION_TOLERANCE:
            break
        best = min(best, attempt(), key=_distance)
    return _known("allocation", *best, "MiB", ALLOCATION_TOLERANCE)


def write_block(device: Device, size: int) -> torch.Tensor:
    """Returns a tensor of that many bytes, every page of which has been written to."""
    return torch.ones(size, dtype=torch.uint8, device=device.torch_device)


def read_convolutions() -> list[Reading]:
    """Counts the FLOPs of two convolutions, forward and for training; the first needs no gradient of its input."""
    channels, height, width = _INPUT
    layers, forward = [], []
    for shape in _CONVOLUTIONS:
        out, kernel, stride = shape["out"], shape["kernel"], shape["stride"]
        layers.append(nn.Conv2d(channels, out, kernel, stride, device="meta"))
        height, width = ((side - kernel) // stride + 1 for side in (height, width))
        forward.append(2 * out * height * width * channels * kernel**2)  # a multiply-add is two FLOPs
        channels = out
    network = nn.Sequential(*layers)
    both = sum(forward)
    training = 2 * both + sum(forward[1:])  # forward, gradients of the weights, gradients of inputs but the first
    return [
        _known("convolution, forward", both, count_forward_flops(network, _INPUT), "FLOPs", 0.0),
        _known("convolution, training", training, count_training_flops(network, _INPUT), "FLOPs", 0.0),
    ]


def read_overhead(device: Device) -> Reading:
    """Times nothing: what two marks are apart by themselves."""
    return _known_nowhere("timer overhead", time_calls(lambda: None, device).ms() * 1e3, "us")


def format_quantity(value: float, unit: str) -> str:
    """Writes a number of four digits, or all where FLOPs are counted, and its unit."""
    return f"{value:,.0f} {unit}" if unit == "FLOPs" else f"{value:,.4g} {unit}"


def _level_mib(device: Device) -> float:
    """Returns what is in use before a reading, as :func:`resbench.measure.memory.memory_level` does."""
    if device.torch_device.type == "cpu":
        return resident_mib()
    device.start_memory_window()
    return device.memory_peak().allocated_mib


def _probe(device: Device, precision: str) -> Probe:
    """Returns work that shows a rate in a fraction of a second; :mod:`~resbench.measure.floor` takes its time."""
    if device.torch_device.type != "cpu":
        return Probe(4096, 2**28, calls=5)
    side, copy_bytes = 512, 2**26
    matrix = torch.randn(side, side).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    torch.mm(matrix, matrix)
    began = time.perf_counter()
    torch.mm(matrix, matrix)
    once_s = time.perf_counter() - began
    twice_the_side_s = 8 * once_s * (WARM_UP_CALLS + MIN_CALLS)
    return Probe(2 * side if twice_the_side_s <= MATMUL_BUDGET_S else side, copy_bytes, calls=1)


def _distance(pair: tuple[float, float]) -> float:
    """Returns how far what was measured is from what was expected, relative to that; NaN is infinitely far."""
    expected, measured = pair
    distance = abs(measured / expected - 1)
    return math.inf if math.isnan(distance) else distance


def _known(name: str, expected: float, measured: float, unit: str, tolerance: float) -> Reading:
    """Judges a reading of a quantity that is known."""
    ok = measured == expected if tolerance == 0 else _distance((expected, measured)) <= tolerance
    return Reading(name, float(expected), float(measured), unit, tolerance, ok)


def _known_nowhere(name: str, measured: float, unit: str) -> Reading:
    """Judges a reading that only has to be there."""
    return Reading(name, None, float(measured), unit, None, math.isfinite(measured) and measured > 0)
