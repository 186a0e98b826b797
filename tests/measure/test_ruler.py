from __future__ import annotations

import json
import math
import sys
from types import SimpleNamespace

import pytest
import torch

from resbench.devices import MIB, CpuDevice, MemoryPeak
from resbench.errors import RulerError
from resbench.measure import ruler as module
from resbench.measure.floor import DeviceLimits
from resbench.measure.ruler import (
    Reading,
    Ruler,
    calibrate,
    read_allocation,
    read_convolutions,
    read_overhead,
    read_queued_work,
    read_sleep,
    ruler_job,
)
from resbench.schema import EngineSettings

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")

SLEEP = Reading("sleep", 20.1, 20.2, "ms", 0.02, ok=True)
BLOCK = Reading("allocation", 96.0, 100.66, "MiB", 0.03, ok=False)
FLOPS = Reading("convolution, forward", 3720960.0, 1860480.0, "FLOPs", 0.0, ok=False)
RATE = Reading("matmul rate", None, math.nan, "TFLOP/s", None, ok=False)


class Clock:
    """The time of a machine that only sleeping and working moves on; stands for the module ``time``."""

    def __init__(self, overshoot_s: float = 0.0) -> None:
        self.now, self.overshoot_s = 1.0e9, overshoot_s

    def time_ns(self) -> int:
        return round(self.now * 1e9)

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self.overshoot_s


class Timer(CpuDevice):
    """A timer that may run too fast or too slow, or look away now and then before it reads."""

    def __init__(self, clock: Clock, *, factor: float = 1.0, looks_away: tuple[float, ...] = (0.0,)) -> None:
        super().__init__()
        self.clock, self.factor, self.looks_away, self.marks = clock, factor, looks_away, 0

    def mark(self) -> float:
        self.clock.now += self.looks_away[self.marks % len(self.looks_away)]
        self.marks += 1
        return self.clock.now * self.factor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(overshoot_s=0.0001)
    monkeypatch.setattr(module, "time", clock)
    return clock


class TestSleep:
    def test_is_read_by_the_timer_as_by_another_clock(self, clock):
        reading = read_sleep(Timer(clock))
        assert reading.ok
        assert reading.expected == pytest.approx(20.1, rel=1e-3)
        assert reading.measured == pytest.approx(20.1, rel=1e-3)

    @pytest.mark.parametrize("factor", [1000, 0.001, 0.9, 1.1, 0.97, 1.03, 0.0, -1.0, math.nan])
    def test_is_misread_by_a_timer_of_another_unit_or_rate(self, clock, factor):
        reading = read_sleep(Timer(clock, factor=factor))
        assert not reading.ok
        assert reading.expected == pytest.approx(20.1, rel=1e-3)

    def test_may_take_much_longer_than_was_asked_for_on_a_busy_machine(self, clock):
        clock.overshoot_s = 0.5
        assert read_sleep(Timer(clock)).ok

    def test_is_believed_of_the_call_that_was_left_alone(self, clock):
        assert read_sleep(Timer(clock, looks_away=(0.05, 0.05, 0.0))).ok
        assert not read_sleep(Timer(clock, looks_away=(0.05,))).ok


class QueueingDevice(CpuDevice):
    """Queues work that takes a while of the clock; a mark may read when it was queued and not when it ran."""

    queue_depth = 8

    def __init__(self, clock: Clock, *, reads_when_queued: bool) -> None:
        super().__init__()
        self.clock, self.reads_when_queued, self.free_at, self.queued = clock, reads_when_queued, 0.0, 0

    def queue(self, seconds: float) -> None:
        self.clock.now += 1e-6
        self.free_at = max(self.free_at, self.clock.now) + seconds
        self.queued += 1

    def synchronize(self) -> None:
        self.clock.now = max(self.clock.now, self.free_at)

    def wait(self, mark: float) -> None:
        self.clock.now = max(self.clock.now, mark)

    def mark(self) -> float:
        return self.clock.now if self.reads_when_queued else max(self.clock.now, self.free_at)


class TestQueuedWork:
    @pytest.mark.parametrize("seconds", [1e-5, 1e-3, 0.1])
    @pytest.mark.parametrize("reads_when_queued", [False, True])
    def test_is_read_when_it_runs(self, monkeypatch, clock, seconds, reads_when_queued):
        device = QueueingDevice(clock, reads_when_queued=reads_when_queued)
        monkeypatch.setattr(torch, "mm", lambda left, right, out: device.queue(seconds))
        reading = read_queued_work(device)
        assert reading.ok is not reads_when_queued
        assert reading.expected >= 1.5  # enough for what the host does around it not to matter


class Meter(CpuDevice):
    """A memory meter that multiplies what it sees."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def memory_peak(self) -> MemoryPeak:
        return MemoryPeak(super().memory_peak().allocated_mib * self.factor, None)


class Allocator(CpuDevice):
    """Counts from zero, as a GPU's does, what :func:`hold` gives it; ``unit`` is what it calls a MiB."""

    def __init__(self, *, unit: int = MIB, keeps_a_peak: bool = True) -> None:
        super().__init__()
        self.torch_device = torch.device("cuda")
        self.unit, self.keeps_a_peak, self.held, self.highest = unit, keeps_a_peak, 40 * MIB, 0

    def hold(self, device: CpuDevice, size: int) -> SimpleNamespace:
        self.highest = max(self.highest, self.held + size)
        return SimpleNamespace()

    def start_memory_window(self) -> None:
        self.highest = self.held

    def memory_peak(self) -> MemoryPeak:
        return MemoryPeak((self.highest if self.keeps_a_peak else self.held) / self.unit, None)


class TestAllocation:
    @linux_only
    def test_of_pages_that_are_never_written_to_is_none(self, monkeypatch):
        monkeypatch.setattr(module, "write_block", lambda device, size: torch.empty(size, dtype=torch.uint8))
        reading = read_allocation(CpuDevice())
        assert not reading.ok
        assert reading.measured < 10

    @linux_only
    def test_is_misread_by_a_processor_meter_of_another_unit(self):
        assert not read_allocation(Meter(1.1)).ok

    def test_is_counted_from_what_an_allocator_holds_already(self, monkeypatch):
        device = Allocator()
        monkeypatch.setattr(module, "write_block", device.hold)
        assert read_allocation(device) == Reading("allocation", 96.0, 96.0, "MiB", 0.03, ok=True)

    @pytest.mark.parametrize(
        "device",
        [Allocator(unit=10**6), Allocator(unit=1024), Allocator(unit=round(MIB / 1.1)), Allocator(keeps_a_peak=False)],
        ids=["MB", "KiB", "a tenth more", "no peak"],
    )
    def test_is_misread_by_an_allocator_of_another_unit_or_without_a_peak(self, monkeypatch, device):
        monkeypatch.setattr(module, "write_block", device.hold)
        reading = read_allocation(device)
        assert not reading.ok
        assert reading.expected == 96

    def test_is_tried_again_where_something_else_allocates(self, monkeypatch):
        device, levels = Allocator(), iter([0.0, 0.0, 40.0])
        monkeypatch.setattr(module, "write_block", device.hold)
        monkeypatch.setattr(module, "_level_mib", lambda device: next(levels))
        assert read_allocation(device).ok
        assert next(levels, None) is None


class TestConvolutions:
    def test_are_counted_exactly(self):
        forward, training = read_convolutions()
        # 3x32x30 -> 16x30x28 -> 24x13x12 (3x3 stride 1, then 5x5 stride 2, without padding)
        first, second = 2 * 16 * 30 * 28 * 3 * 9, 2 * 24 * 13 * 12 * 16 * 25
        assert (forward.ok, forward.expected, forward.measured) == (True, first + second, first + second)
        assert (training.ok, training.expected) == (True, 2 * first + 3 * second)

    @pytest.mark.parametrize(("counter", "wrong"), [("count_forward_flops", 0), ("count_training_flops", 1)])
    @pytest.mark.parametrize("spoil", [lambda flops: flops // 2, lambda flops: flops + 2, lambda flops: 0])
    def test_are_misread_by_a_counter_that_is_off(self, monkeypatch, counter, wrong, spoil):
        count = getattr(module, counter)
        monkeypatch.setattr(module, counter, lambda model, shape: spoil(count(model, shape)))
        assert [reading.ok for reading in read_convolutions()] == [wrong != 0, wrong != 1]


class TestRates:
    @pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
    def test_must_be_there(self, monkeypatch, wrong):
        monkeypatch.setattr(module, "measure_limits", lambda *arguments, **options: DeviceLimits(wrong, 1e10))
        for name in ("read_allocation", "read_sleep"):
            monkeypatch.setattr(module, name, lambda device: SLEEP)
        ruler = calibrate(CpuDevice(), "fp32")
        assert [reading.name for reading in ruler.readings if not reading.ok] == ["matmul rate"]

    def test_of_the_timer_must_be_there(self, clock):
        assert not read_overhead(Timer(clock)).ok  # a clock that stands still
        reading = read_overhead(Timer(clock, looks_away=(1e-6,)))
        assert (reading.ok, reading.unit, reading.expected) == (True, "us", None)
        assert reading.measured == pytest.approx(1, rel=0.2)

    @pytest.mark.parametrize(("seconds", "side"), [(0.0001, 1024), (0.2, 512)])
    def test_of_a_slow_processor_are_read_of_less_work(self, monkeypatch, clock, seconds, side):
        monkeypatch.setattr(torch, "mm", lambda left, right: clock.sleep(seconds))
        assert module._probe(CpuDevice(), "bf16").matmul_side == side


def test_all_instruments_of_this_processor_are_right():
    emitted = []
    ruler_job(EngineSettings(device="cpu", precision="fp32"), lambda kind, data: emitted.append((kind, data)))
    ((kind, data),) = emitted
    ruler = Ruler.from_dict(data)
    assert kind == "ruler"
    assert (ruler.ok, ruler.failures) == (True, [])
    assert ruler.device_name == CpuDevice().name
    assert ruler.precision == "fp32"
    assert {reading.name: reading.expected is not None for reading in ruler.readings} == {
        "allocation": True,
        "sleep": True,
        "convolution, forward": True,
        "convolution, training": True,
        "timer overhead": False,
        "matmul rate": False,
        "copy bandwidth": False,
    }
    ruler.check()


class TestRuler:
    def test_survives_json_beside_an_events_own_keys(self):
        ruler = Ruler("a processor", "bf16", (SLEEP, FLOPS))
        event = {"schema_version": 2, "event": "ruler", **ruler.to_dict()}
        assert Ruler.from_dict(json.loads(json.dumps(event, allow_nan=False))) == ruler
        assert event["ok"] is False

    def test_writes_what_is_no_number_as_none(self):
        data = Ruler("a processor", "fp32", (RATE,)).to_dict()
        assert data["readings"][0]["measured"] is None
        (reading,) = Ruler.from_dict(data).readings
        assert math.isnan(reading.measured)
        assert not reading.ok

    def test_says_what_is_wrong_with_both_numbers_and_what_to_do(self):
        ruler = Ruler("a processor", "fp32", (SLEEP, BLOCK, FLOPS, RATE))
        assert ruler.failures == [
            "allocation: measured 100.7 MiB, expected 96 MiB within 3%",
            "convolution, forward: measured 1,860,480 FLOPs, expected 3,720,960 FLOPs exactly",
            "matmul rate: measured nan TFLOP/s, expected more than 0",
        ]
        with pytest.raises(
            RulerError, match=r"on a processor, so nothing is measured: allocation.*resbench env"
        ) as raised:
            ruler.check()
        assert raised.value.exit_code == 3

    def test_that_is_right_raises_nothing(self):
        ruler = Ruler("a processor", "fp32", (SLEEP,))
        ruler.check()
        assert ruler.ok
