from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks.harness.floor import floor_row, limit_rows, target
from resbench.measure.floor import DeviceLimits, Floor
from resbench.measure.profile import Subject
from resbench.schema import EngineSettings

LIMITS = DeviceLimits(matmul_flops=790e12, copy_bytes_per_second=4.3e12)


def subject(batch_size: int = 512, stem: str = "cifar", precision: str = "bf16") -> Subject:
    return Subject("resnet50", stem, (3, 32, 32), 10, batch_size, EngineSettings("cpu", precision))


def test_row_says_the_ratio_and_its_figures():
    model_floor = Floor(batch_size=512, flops=1, bytes=1, compute_bound_s=0.004, memory_bound_s=0.012)
    device = SimpleNamespace(name="NVIDIA H200")
    row = floor_row(subject(), device, [16_000.0, 24_000.0, 20_000.0], LIMITS, model_floor)
    assert (row.low, row.median, row.high) == (0.5, 0.625, 0.75)
    assert (row.target, row.met) == (">= 0.65", False)
    assert row.subject == "resnet50, cifar stem, batch 512, bf16"
    assert row.detail == ("20,000 of 32,000 images/s; floor from 790.0 TFLOP/s and 4,300 GB/s, 75% of it memory-bound")


def test_limits_are_rows_in_their_units():
    matmul, copy = limit_rows(LIMITS, SimpleNamespace(name="NVIDIA H200"), "bf16")
    assert (matmul.subject, matmul.median) == ("NVIDIA H200, bf16", 790.0)
    assert (copy.subject, copy.median) == ("NVIDIA H200, read + written", 4300.0)


@pytest.mark.parametrize(
    ("device_name", "of", "expected"),
    [
        ("NVIDIA H200", subject(), ">= 0.65"),
        ("NVIDIA H200 NVL", subject(), ">= 0.65"),
        ("NVIDIA H100 80GB HBM3", subject(), ""),
        ("NVIDIA H200", subject(batch_size=256), ""),
        ("NVIDIA H200", subject(stem="source"), ""),
        ("NVIDIA H200", subject(precision="fp32"), ""),
        ("a processor", subject(128, "source"), ">= 0.45"),
        ("a processor", subject(128, "source", "fp32"), ""),
    ],
)
def test_target_stands_where_the_floor_is_known_to_hold(device_name, of, expected):
    assert target(of, device_name) == expected
