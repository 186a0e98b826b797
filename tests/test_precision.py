from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from resbench import precision as precision_module
from resbench.devices import CpuDevice
from resbench.errors import InputError
from resbench.precision import (
    CLEARLY_FASTER,
    apply_precision,
    measure_bf16_speedup,
    peak_flops,
    processor_precision,
    resolve_precision,
)


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

    @pytest.mark.parametrize("precision", ["bf16", "fp32"])
    def test_auto_is_what_the_processor_is_faster_in(self, monkeypatch, precision):
        monkeypatch.setattr("resbench.precision.processor_precision", lambda: precision)
        assert resolve_precision("auto", "cpu") == precision

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


class Processor:
    """What a processor has, how fast its bf16 is, and how often that was measured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.speedup, self.measured = 1.0, 0
        self.name, self.threads = "a processor", 8
        self.file = cache / "processor-precision.json"
        self.has(amx=True, avx512=True, patch=monkeypatch)
        monkeypatch.setenv("RESBENCH_CACHE", str(cache))
        monkeypatch.setattr(precision_module, "host_cpu", lambda: self.name)
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.threads)
        monkeypatch.setattr(precision_module, "measure_bf16_speedup", self.measure)

    def has(self, *, amx: bool, avx512: bool, patch: pytest.MonkeyPatch) -> None:
        patch.setattr("torch.cpu._is_amx_tile_supported", lambda: amx)
        patch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: avx512)

    def measure(self) -> float:
        self.measured += 1
        return self.speedup


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Processor:
    """A processor with bf16 that has not been measured."""
    return Processor(monkeypatch, tmp_path / "not" / "there" / "yet")


class TestProcessorPrecision:
    @pytest.mark.parametrize(
        ("speedup", "expected"),
        [(0.5, "fp32"), (1.0, "fp32"), (CLEARLY_FASTER - 0.01, "fp32"), (CLEARLY_FASTER, "bf16"), (3.0, "bf16")],
    )
    def test_is_bf16_where_that_was_measured_to_be_clearly_faster(self, processor, speedup, expected):
        processor.speedup = speedup
        assert processor_precision() == expected

    @pytest.mark.parametrize(
        ("amx", "avx512", "expected"),
        [(False, False, "fp32"), (True, False, "bf16"), (False, True, "bf16"), (True, True, "bf16")],
    )
    def test_is_fp32_without_measuring_where_the_hardware_has_no_bf16(
        self, processor, monkeypatch, amx, avx512, expected
    ):
        processor.has(amx=amx, avx512=avx512, patch=monkeypatch)
        processor.speedup = 3.0
        assert processor_precision() == expected
        assert processor.measured == (expected == "bf16")
        assert processor.file.exists() == (expected == "bf16")

    def test_is_measured_once_so_that_the_same_command_plans_the_same_trials(self, processor):
        processor.speedup = 3.0
        answers = [processor_precision()]
        processor.speedup = 1.0  # on a busier day
        answers += [processor_precision() for _ in range(3)]
        assert (answers, processor.measured) == (["bf16"] * 4, 1)

    @pytest.mark.parametrize("change", [{"name": "another processor"}, {"threads": 2}])
    def test_is_measured_for_each_processor_and_number_of_threads(self, processor, change):
        assert processor_precision() == "fp32"
        before = dict(vars(processor))
        vars(processor).update(change, speedup=3.0)
        assert processor_precision() == "bf16"
        vars(processor).update(before, measured=processor.measured)
        assert processor_precision() == "fp32"
        assert processor.measured == 2
        assert len(json.loads(processor.file.read_text())) == 2

    def test_is_measured_for_each_torch(self, processor, monkeypatch):
        processor_precision()
        monkeypatch.setattr(torch, "__version__", "99.0")
        processor_precision()
        assert processor.measured == 2

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3.5", b'{"a processor": "fast"}', b"\xff\xfe"])
    def test_is_measured_again_where_the_answers_were_damaged(self, processor, content):
        processor.file.parent.mkdir(parents=True)
        processor.file.write_bytes(content)
        processor.speedup = 3.0
        assert [processor_precision(), processor_precision()] == ["bf16", "bf16"]
        assert processor.measured == 1

    @pytest.mark.parametrize("spoil", [lambda file: file.mkdir(parents=True), lambda file: make_a_file(file.parent)])
    def test_is_measured_each_time_where_answers_cannot_be_kept(self, processor, spoil: Callable[[Path], object]):
        spoil(processor.file)
        processor.speedup = 3.0
        assert [processor_precision(), processor_precision()] == ["bf16", "bf16"]
        assert processor.measured == 2


def make_a_file(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("in the place of a folder")


class TestMeasuredSpeedup:
    def test_is_a_positive_number(self):
        assert 0 < measure_bf16_speedup(batch_size=2, repeats=1) < float("inf")

    def test_leaves_torchs_generator_and_its_switches_alone(self):
        before = torch.get_rng_state(), torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()
        measure_bf16_speedup(batch_size=2, repeats=1)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()) == before[1:]

    def test_is_that_of_the_fastest_steps_after_a_warm_up(self, monkeypatch):
        # Seconds of a step in fp32 and of one in bf16; the first pair does not count, whatever it took.
        steps = [(1.0, 9.0), (4.0, 3.0), (6.0, 2.0), (5.0, 8.0)]
        times = [time for fp32, bf16 in steps for time in (0.0, fp32, 0.0, bf16)]
        monkeypatch.setattr(precision_module, "time", SimpleNamespace(perf_counter=iter(times).__next__))
        assert measure_bf16_speedup(batch_size=2, repeats=3) == 4.0 / 2.0


def test_in_the_tests_the_processors_precision_is_fp32_and_nothing_is_measured(monkeypatch):
    def measure() -> float:
        raise AssertionError("measured")

    monkeypatch.setattr(precision_module, "measure_bf16_speedup", measure)
    assert resolve_precision("auto", "cpu") == "fp32"


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
