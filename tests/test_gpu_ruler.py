"""Ruler and telemetry on a machine with CUDA: the instruments are right, and a broken one is found out."""

from __future__ import annotations

import os
import time

import pytest
import torch

from resbench.devices import MIB, CudaDevice, MemoryPeak
from resbench.machine import calibrate_machine
from resbench.measure.ruler import calibrate, read_allocation, read_queued_work, read_sleep
from resbench.measure.telemetry import Telemetry
from resbench.schema import EngineSettings

pytestmark = pytest.mark.gpu


def spin(device: CudaDevice, samples: int) -> int:
    """Keeps the GPU busy until so many samples could be taken; returns how many matrix products that were."""
    matrix = torch.randn(4096, 4096, device=device.torch_device, dtype=torch.bfloat16)
    done, until = 0, time.perf_counter() + 0.05 * samples
    while time.perf_counter() < until:
        for _ in range(20):
            torch.mm(matrix, matrix)
        device.synchronize()
        done += 20
    return done


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_all_instruments_are_right(precision):
    ruler = calibrate(CudaDevice(0), precision)
    assert (ruler.ok, ruler.failures) == (True, [])
    assert {"allocation", "sleep", "queued work", "matmul rate"} <= {reading.name for reading in ruler.readings}


def test_all_instruments_are_right_in_a_process_of_their_own():
    ruler = calibrate_machine(EngineSettings(device="cuda", precision="bf16"))
    assert (ruler.ok, ruler.failures) == (True, [])
    assert ruler.device_name == torch.cuda.get_device_name(0)


def test_an_allocation_is_read_to_the_byte():
    reading = read_allocation(CudaDevice(0))
    assert reading.measured == reading.expected


class HostTimer(CudaDevice):
    """Reads the host's clock, which says when work was queued."""

    def mark(self) -> float:
        return time.perf_counter()

    def elapsed_s(self, start: float, end: float) -> float:
        return end - start

    def wait(self, mark: float) -> None:
        """It has passed already."""


class FastTimer(CudaDevice):
    """Is a tenth too slow."""

    def elapsed_s(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return 0.9 * super().elapsed_s(start, end)


class MegabyteMeter(CudaDevice):
    """Takes 10**6 bytes for a MiB."""

    def memory_peak(self) -> MemoryPeak:
        peak = super().memory_peak()
        return MemoryPeak(peak.allocated_mib * MIB / 10**6, peak.reserved_mib)


def test_a_broken_instrument_is_found_out():
    assert read_queued_work(CudaDevice(0)).ok
    assert not read_queued_work(HostTimer(0)).ok
    assert read_sleep(CudaDevice(0)).ok
    assert not read_sleep(FastTimer(0)).ok
    assert not read_allocation(MegabyteMeter(0)).ok


def test_the_gpu_says_how_it_is():
    state = CudaDevice(0).state()
    if state.clock_mhz is None:
        pytest.skip("NVML tells nothing here")
    assert 100 < state.clock_mhz < 5000
    assert state.temperature_c is None or 0 < state.temperature_c < 120
    assert state.power_w is None or 1 < state.power_w < 3000


def test_a_busy_window_is_sampled_while_the_gpu_works():
    device = CudaDevice(0)
    with Telemetry(device, period_s=0.05).window("train") as window:
        assert spin(device, samples=40) > 0
    report = window.report()
    if report.clock_mhz_mean is None:
        assert report.reasons == ["no telemetry: NVML tells nothing of this GPU"]
        return
    assert report.samples > 2
    assert report.clock_mhz_min <= report.clock_mhz_mean <= report.clock_mhz_max
    assert report.throttle_reasons is None or "gpu_idle" not in report.throttle_reasons
    listed = device.compute_processes()
    if listed and os.getpid() in listed:  # the ids are those of here: this process is no stranger to itself
        assert report.other_processes == len(listed) - 1


def test_a_graph_can_be_recorded_and_replayed_while_a_window_is_sampled():
    device = CudaDevice(0)
    numbers = torch.zeros(8, device=device.torch_device)

    def work() -> None:
        numbers.add_(1)

    with Telemetry(device, period_s=0.001).window("train") as window:
        with device.aside():
            work()
        replay = device.capture(work)
        for _ in range(100):
            replay()
        device.synchronize()
    assert window.report().samples >= 2
    assert numbers.tolist() == [101.0] * 8
