"""The benchmarks by name, in the order in which they run."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.harness.cluster_growth import cluster_growth
from benchmarks.harness.compile_cache import compile_cache
from benchmarks.harness.floor import limits
from benchmarks.harness.growth import growth
from benchmarks.harness.loader import pipeline
from benchmarks.harness.modes import modes
from benchmarks.harness.overhead import overhead
from benchmarks.harness.rows import Benchmark, Row, Setting
from benchmarks.harness.source_loop import source_loop
from benchmarks.harness.startup import startup
from benchmarks.harness.step import step
from benchmarks.harness.timm_step import timm_step
from benchmarks.harness.workers import workers


@dataclass(frozen=True)
class Entry:
    """One benchmark of the table."""

    run: Benchmark
    each_model: bool = False
    """Whether it measures network by network, each in a process of its own."""


BENCHMARKS = {
    "step": Entry(step, each_model=True),
    "source": Entry(source_loop),
    "pipeline": Entry(pipeline),
    "timm": Entry(timm_step),
    "limits": Entry(limits),
    "startup": Entry(startup),
    "growth": Entry(growth),
    "modes": Entry(modes, each_model=True),
    "compile": Entry(compile_cache),
    "overhead": Entry(overhead),
    "workers": Entry(workers),
    "cluster": Entry(cluster_growth),
}


def measure(name: str, setting: Setting) -> list[Row]:
    """Runs one benchmark in this process."""
    return list(BENCHMARKS[name].run(setting))
