"""What the harness costs: its training loop against the same step on one fixed batch, and against the floor."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness.floor import floor_of, floor_row
from benchmarks.harness.rows import Row, Setting, measure_pairs, row_of
from benchmarks.harness.workbench import training_images, workbench
from resbench.measure.floor import Probe, measure_limits

TARGET = {"cpu": ">= 0.98", "cuda": ">= 0.98"}


def step(setting: Setting, *, probe: Probe | None = None) -> Iterator[Row]:
    """Measures each network in the loop and bare, in one process, on the same weights and memory.

    Args:
        setting: What to measure.
        probe: How large the work is that shows the device's limits, by default what suits the device.
    """
    for model in setting.models:
        yield from step_rows(setting, model, probe)


def step_rows(setting: Setting, model: str, probe: Probe | None) -> Iterator[Row]:
    """Measures one network."""
    bench = workbench(setting, model, training_images(setting))
    steps = bench.steps_in(setting.seconds)
    pairs = measure_pairs(lambda: bench.loop_steps(steps), lambda: bench.bare_steps(steps), repeats=setting.repeats)
    yield row_of(
        "harness / bare step",
        bench.described,
        pairs.ratios,
        target=TARGET.get(setting.device.partition(":")[0], ""),
        detail=pairs.detail("harness", "bare", "images/s"),
    )
    limits = measure_limits(bench.device, bench.subject.engine.precision, probe, max_seconds=setting.seconds)
    yield floor_row(bench.subject, bench.device, pairs.first, limits, floor_of(bench.subject, limits))
