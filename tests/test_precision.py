from __future__ import annotations

import pytest
import torch

from resbench.devices import CpuDevice
from resbench.errors import InputError
from resbench.precision import apply_precision, peak_flops, resolve_precision


class TestResolvePrecision:
    @pytest.mark.parametrize(
        ("device", "bf16", "precision"),
        [("cuda", True, "bf16"), ("cuda:1", True, "bf16"), ("cuda", False, "fp32"), ("mps", True, "fp32")],
    )
    def test_auto_is_bf16_where_a_gpu_has_it_in_hardware(self, monkeypatch, device, bf16, precision):
        # As torch has it: a GPU without bf16 emulates it, and says yes unless it is told to leave that out.
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or bf16
        )
        assert resolve_precision("auto", device) == precision

    def test_auto_on_a_processor_waits_for_the_networks(self, monkeypatch):
        monkeypatch.delenv("RESBENCH_PRECISION")
        assert resolve_precision("auto", "cpu") == "auto"

    def test_auto_on_a_processor_is_what_the_environment_names(self, monkeypatch):
        monkeypatch.setenv("RESBENCH_PRECISION", "bf16")
        assert resolve_precision("auto", "cpu") == "bf16"
        assert resolve_precision("fp32", "cpu") == "fp32"
        assert resolve_precision("auto", "mps") == "fp32"

    def test_what_the_environment_names_must_be_a_precision_of_the_device(self, monkeypatch):
        monkeypatch.setenv("RESBENCH_PRECISION", "fp16")
        with pytest.raises(InputError, match="unknown precision 'fp16'"):
            resolve_precision("auto", "cpu")
        monkeypatch.setenv("RESBENCH_PRECISION", "tf32")
        with pytest.raises(InputError, match="tf32 is a CUDA mode"):
            resolve_precision("auto", "cpu")

    @pytest.mark.parametrize(
        ("precision", "device"), [("fp32", "cpu"), ("bf16", "cpu"), ("tf32", "cuda"), ("fp32", "cuda:1")]
    )
    def test_a_precision_that_the_device_has_is_itself(self, precision, device):
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


@pytest.mark.parametrize("precision", ["auto", "fp16"])
def test_apply_precision_takes_none_that_was_not_decided(precision):
    with pytest.raises(ValueError, match="no precision"):
        apply_precision(precision)


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
