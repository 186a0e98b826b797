from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from resbench import devices
from resbench.devices import (
    CpuDevice,
    apply_precision,
    is_out_of_memory,
    open_device,
    peak_flops,
    resident_mib,
    resident_peak_mib,
    resolve_device,
    resolve_precision,
)
from resbench.errors import InputError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretends what the machine has."""

    def pretend(*, cuda: int = 0, mps: bool = False, bf16: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        # As torch has it: a GPU without bf16 emulates it, and says yes unless it is told to leave that out.
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or bf16
        )

    return pretend


class TestResolveDevice:
    @pytest.mark.parametrize(
        ("has", "name"),
        [({"cuda": 1, "mps": True}, "cuda"), ({"mps": True}, "mps"), ({}, "cpu"), ({"cuda": 2}, "cuda")],
    )
    def test_auto_is_the_fastest_there_is(self, machine, has, name):
        machine(**has)
        assert resolve_device("auto") == name

    @pytest.mark.parametrize("name", ["cpu", "mps", "cuda", "cuda:0", "cuda:1"])
    def test_a_device_that_is_there_is_itself(self, machine, name):
        machine(cuda=2, mps=True)
        assert resolve_device(name) == name
        assert torch.device(resolve_device(name)).type == name.partition(":")[0]

    @pytest.mark.parametrize("name", ["tpu", "", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:01", "cpu:0", "cuda:1 "])
    def test_an_unknown_name_lists_those_that_are_accepted(self, machine, name):
        machine(cuda=2)
        with pytest.raises(InputError, match="Accepted: auto, cpu, mps, cuda, cuda:N"):
            resolve_device(name)

    @pytest.mark.parametrize("name", ["cuda", "cuda:0"])
    def test_cuda_where_there_is_none_says_what_to_do(self, machine, name):
        machine()
        with pytest.raises(InputError, match=f"--device {name}: torch sees no CUDA device.*--device cpu or auto"):
            resolve_device(name)

    def test_a_cuda_device_beyond_the_last_says_how_many_there_are(self, machine):
        machine(cuda=2)
        with pytest.raises(InputError, match="there are 2 CUDA devices"):
            resolve_device("cuda:2")

    def test_mps_where_there_is_none_says_what_to_do(self, machine):
        machine()
        with pytest.raises(InputError, match="no MPS device"):
            resolve_device("mps")


class TestResolvePrecision:
    @pytest.mark.parametrize(
        ("device", "bf16", "precision"),
        [("cuda", True, "bf16"), ("cuda:1", True, "bf16"), ("cuda", False, "fp32"), ("cpu", True, "fp32"),
         ("mps", True, "fp32")],
    )  # fmt: skip
    def test_auto_is_bf16_where_a_gpu_has_it_in_hardware(self, machine, device, bf16, precision):
        machine(cuda=2, bf16=bf16)
        assert resolve_precision("auto", device) == precision

    @pytest.mark.parametrize(
        ("precision", "device"), [("fp32", "cpu"), ("bf16", "cpu"), ("tf32", "cuda"), ("fp32", "cuda:1")]
    )
    def test_a_precision_that_the_device_has_is_itself(self, machine, precision, device):
        machine(cuda=2)
        assert resolve_precision(precision, device) == precision

    def test_an_unknown_one_lists_those_that_are_accepted(self):
        with pytest.raises(InputError, match=r"'fp16'\. Accepted: auto, fp32, tf32, bf16"):
            resolve_precision("fp16", "cpu")

    @pytest.mark.parametrize("device", ["cpu", "mps"])
    def test_tf32_is_refused_off_cuda(self, device):
        with pytest.raises(InputError, match="tf32 is a CUDA mode"):
            resolve_precision("tf32", device)


@pytest.mark.parametrize(("precision", "tf32"), [("tf32", True), ("fp32", False), ("bf16", False)])
def test_apply_precision_sets_every_switch_whatever_it_was(precision, tf32):
    cudnn = torch.backends.cudnn
    before = torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    try:
        torch.backends.cuda.matmul.allow_tf32 = not tf32
        cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = not tf32, False, True
        apply_precision(precision)
        assert torch.backends.cuda.matmul.allow_tf32 is tf32
        assert cudnn.allow_tf32 is tf32
        assert cudnn.benchmark is True
        assert cudnn.deterministic is False
    finally:
        torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = before


class TestPeakFlops:
    @pytest.mark.parametrize(
        ("name", "precision", "teraflops"),
        [
            ("NVIDIA H200", "bf16", 989),
            ("NVIDIA H100 80GB HBM3", "tf32", 495),
            ("NVIDIA H100 80GB HBM3", "fp32", 67),
            ("NVIDIA H100 PCIe", "bf16", 756),
            ("NVIDIA A100-SXM4-40GB", "bf16", 312),
            ("NVIDIA A100-SXM4-80GB", "tf32", 156),
            ("NVIDIA A100-PCIE-40GB", "fp32", 19.5),
            ("NVIDIA A100 80GB PCIe", "bf16", 312),
            ("NVIDIA L40S", "bf16", 362),
            ("NVIDIA A10", "bf16", 125),
        ],
    )
    def test_of_a_listed_device_is_its_datasheets(self, name, precision, teraflops):
        assert peak_flops(name, precision) == teraflops * 1e12

    @pytest.mark.parametrize(
        "name",
        [
            "NVIDIA H200 NVL",
            "NVIDIA H200 MIG 1g.18gb",
            "NVIDIA H100 NVL",
            "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
            "NVIDIA A10G",
            "NVIDIA A1000",
            "NVIDIA L40",
            "Tesla T4",
            "Apple GPU",
            "",
        ],
    )
    @pytest.mark.parametrize("precision", ["bf16", "tf32", "fp32"])
    def test_of_any_other_is_not_guessed(self, name, precision):
        assert peak_flops(name, precision) is None

    def test_of_this_processor_is_not_guessed(self):
        assert peak_flops(CpuDevice().name, "fp32") is None


class TestCpuDevice:
    def test_is_what_cpu_opens(self):
        device = open_device("cpu")
        assert type(device) is CpuDevice
        assert device.torch_device == torch.device("cpu")
        assert device.queue_depth == 0
        assert device.name

    def test_its_marks_are_the_monotonic_clock(self, monkeypatch):
        monkeypatch.setattr(devices, "time", SimpleNamespace(perf_counter=iter([10.0, 12.5]).__next__))
        device = CpuDevice()
        start, end = device.mark(), device.mark()
        device.wait(end)
        device.synchronize()
        assert device.elapsed_s(start, end) == 2.5

    def test_counts_no_energy(self):
        assert CpuDevice().energy_j() is None

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")
    def test_a_window_sees_a_peak_inside_it_and_none_from_before(self):
        device = CpuDevice()
        before = torch.ones(48 * 2**18)  # 48 MiB
        del before
        device.start_memory_window()
        level = resident_mib()
        block = torch.ones(32 * 2**18)
        del block
        peak = device.memory_peak()
        assert peak.reserved_mib is None
        assert peak.allocated_mib - level == pytest.approx(32, abs=2)
        assert resident_peak_mib() == pytest.approx(peak.allocated_mib, abs=1)


class TestOutOfMemory:
    def test_of_the_processor_is_recognised(self):
        with pytest.raises(RuntimeError) as raised:
            torch.empty(10**15)
        assert is_out_of_memory(raised.value)

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
            MemoryError(),
            RuntimeError("MPS backend out of memory (MPS allocated: 9.07 GB)"),
        ],
    )
    def test_of_others_is_recognised(self, error):
        assert is_out_of_memory(error)

    @pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError("out of memory")])
    def test_other_errors_are_not_taken_for_it(self, error):
        assert not is_out_of_memory(error)
