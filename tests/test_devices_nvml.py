"""What NVML says of a GPU, without one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from resbench.devices import CudaDevice, DeviceState
from resbench.devices.nvml import open_gpu


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A library that knows the GPU ``GPU-known``; what is taken out of the answers, it refuses."""
    answers: dict[str, Any] = {
        "nvmlDeviceGetClockInfo": 1755,
        "nvmlDeviceGetTemperature": 61,
        "nvmlDeviceGetPowerUsage": 687_500,
        "nvmlDeviceGetCurrentClocksEventReasons": 0x1 | 0x4 | 0x40 | 0x8000,
        "nvmlDeviceGetCurrentClocksThrottleReasons": 0x20,
        "nvmlDeviceGetTotalEnergyConsumption": 12_345_678,
        "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=11), SimpleNamespace(pid=12)],
    }

    def answer(name: str, handle: str, *arguments: Any) -> Any:
        assert handle == "the handle"
        if name not in answers:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return answers[name]

    def find(uuid: str) -> str:
        if uuid not in {"GPU-known", "MIG-part"}:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return "the handle"

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", find)
    for name in list(answers):
        monkeypatch.setattr(pynvml, name, lambda *arguments, name=name: answer(name, *arguments))
    return answers


def test_is_told_in_the_units_of_the_names(nvml):
    gpu = open_gpu("known")
    assert gpu.state() == DeviceState(
        clock_mhz=1755.0,
        temperature_c=61.0,
        power_w=687.5,
        throttle_reasons=("sw_power_cap", "hw_thermal_slowdown", "reason_0x8000"),  # to be idle is none
    )
    assert gpu.energy_j() == pytest.approx(12_345.678)
    assert gpu.compute_processes() == {11, 12}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("nvmlDeviceGetClockInfo", "clock_mhz"),
        ("nvmlDeviceGetTemperature", "temperature_c"),
        ("nvmlDeviceGetPowerUsage", "power_w"),
    ],
)
def test_what_it_refuses_is_none_and_the_rest_is_told(nvml, query, field):
    whole = vars(open_gpu("known").state())
    del nvml[query]
    assert vars(open_gpu("known").state()) == {**whole, field: None}


def test_an_older_driver_is_asked_by_the_older_name(nvml):
    del nvml["nvmlDeviceGetCurrentClocksEventReasons"]
    assert open_gpu("known").state().throttle_reasons == ("sw_thermal_slowdown",)
    del nvml["nvmlDeviceGetCurrentClocksThrottleReasons"]
    assert open_gpu("known").state().throttle_reasons is None


def test_a_part_of_a_gpu_is_found_and_an_unknown_one_tells_nothing(nvml):
    assert open_gpu("part").energy_j() is not None
    for gpu in (open_gpu("unknown"), open_gpu("")):
        assert (gpu.state(), gpu.energy_j(), gpu.compute_processes()) == (DeviceState(), None, None)


def test_without_the_library_nothing_is_told(nvml, monkeypatch):
    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    gpu = open_gpu("known")
    assert (gpu.state(), gpu.energy_j(), gpu.compute_processes()) == (DeviceState(), None, None)


def test_the_device_asks_torch_once_which_gpu_it_is(nvml, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: asked.append(device) or SimpleNamespace(uuid="known")
    )
    device = CudaDevice(1)
    assert asked == []
    assert device.state().clock_mhz == 1755
    assert device.energy_j() == pytest.approx(12_345.678)
    assert device.compute_processes() == {11, 12}
    assert asked == [torch.device("cuda", 1)]
