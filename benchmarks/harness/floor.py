"""How near training comes to the kernel-sum floor of the device that it runs on.

The floor (:mod:`resbench.measure.floor`) follows from what the device was measured to reach and from what the network's
kernels compute and move. It knows neither fusion nor launches: fused code may come out above 1 where caches are large.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import torch

from benchmarks.harness.rows import Row, Setting, row_of
from resbench.devices import Device, open_device
from resbench.measure.floor import DeviceLimits, Floor, Probe, measure_limits, step_floor
from resbench.measure.profile import Subject
from resbench.precision import apply_precision
from resbench.report.numbers import significant

TARGET_OF_H200 = ">= 0.65"
"""What it reaches there with the CIFAR stem in bf16 at batch 512."""
TARGETS = {
    ("d2l_resnet18", "cpu", "source", 128, "bf16"): ">= 0.36",
    ("resnet50", "cpu", "source", 128, "bf16"): ">= 0.45",
}
"""What a good harness reaches on a processor, by network, kind of device, stem, batch size and precision."""


def limits(setting: Setting, *, probe: Probe | None = None) -> Iterator[Row]:
    """Measures what the device reaches at best.

    Args:
        setting: Says which device and precision.
        probe: How large the work is that shows the limits, by default what suits the device.
    """
    apply_precision(setting.precision)
    device = open_device(setting.device)
    measured = measure_limits(device, setting.precision, probe, max_seconds=setting.seconds)
    yield from limit_rows(measured, device, setting.precision)


def limit_rows(limits: DeviceLimits, device: Device, precision: str) -> Iterator[Row]:
    """Yields the matmul rate and the copy bandwidth; each is one value, already the best of several windows."""
    yield row_of("limit / matmul", f"{device.name}, {precision}", [limits.matmul_flops / 1e12], unit="TFLOP/s")
    yield row_of("limit / copy", f"{device.name}, read + written", [limits.copy_bytes_per_second / 1e9], unit="GB/s")


def floor_of(subject: Subject, limits: DeviceLimits) -> Floor:
    """Returns the floor of one network's training step."""
    with torch.device("meta"):
        model = subject.build()
    return step_floor(model, subject.input, subject.batch_size, limits, subject.engine.precision)


def floor_row(
    subject: Subject, device: Device, rates: Sequence[float], limits: DeviceLimits, model_floor: Floor
) -> Row:
    """Returns the row of one network from its measured rates in images a second."""
    return row_of(
        "achieved / floor",
        f"{subject.model}, {subject.stem} stem, batch {subject.batch_size}, {subject.engine.precision}",
        [rate / model_floor.images_per_second for rate in rates],
        target=target(subject, device.name),
        detail=(
            f"{significant(statistics.median(rates))} of {significant(model_floor.images_per_second)} images/s; "
            f"floor from {significant(limits.matmul_flops / 1e12)} TFLOP/s and "
            f"{significant(limits.copy_bytes_per_second / 1e9)} GB/s, "
            f"{model_floor.memory_bound_s / model_floor.seconds:.0%} of it memory-bound"
        ),
    )


def target(subject: Subject, device_name: str) -> str:
    """Returns the target, empty where none is known."""
    setting = subject.stem, subject.batch_size, subject.engine.precision
    if setting == ("cifar", 512, "bf16") and "H200" in device_name:
        return TARGET_OF_H200
    return TARGETS.get((subject.model, subject.engine.device, *setting), "")
