"""What compiling costs the first trial of a suite, and the next one of the same network with another seed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.harness.processes import in_fresh_process
from benchmarks.harness.rows import Row, Setting, row_of
from resbench.devices import open_device
from resbench.measure.profile import Subject
from resbench.planning.settings import resolve_engine
from resbench.recipes import get_recipe
from resbench.suite import EngineOptions


@dataclass(frozen=True)
class WarmUp:
    """What a warm-up took."""

    seconds: float
    compiled: int
    """Graphs that the compiler made code for."""
    found: int
    """Graphs whose code was in the cache."""


MODEL = "d2l_resnet18"
REPEATS = 3
"""Pairs, none dropped: each begins with an empty cache, so there is nothing to warm up."""


def compile_cache(setting: Setting) -> Iterator[Row]:
    """Measures warm-up in fresh processes: with an empty cache, and again with the cache that this one left."""
    pairs = []
    for _ in range(min(setting.repeats, REPEATS)):
        with tempfile.TemporaryDirectory(prefix="resbench-compiled-") as folder:
            pairs.append([in_fresh_process(warm_up_s, setting, folder, seed) for seed in (0, 1)])
    first, again = pairs[-1]
    yield row_of(
        "compile again / compile",
        f"{MODEL}, {setting.stem} stem, batch {setting.batch_size}, {setting.precision}, fresh process, another seed",
        [again.seconds / first.seconds for first, again in pairs],
        detail=(
            f"last pair: first {first.seconds:.1f} s ({first.compiled} graphs compiled), "
            f"again {again.seconds:.1f} s ({again.compiled} compiled, {again.found} found)"
        ),
    )


def warm_up_s(setting: Setting, folder: str, seed: int) -> WarmUp:
    """Compiles the network's training and evaluation step with a cache folder.

    Raises:
        RuntimeError: It was not compiled.
    """
    from torch._dynamo.utils import counters

    os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
    options = EngineOptions(device=setting.device, precision=setting.precision, compile="on")
    subject = Subject(MODEL, setting.stem, (3, 32, 32), 10, setting.batch_size, resolve_engine(options), seed=seed)
    engine = subject.engine_for(get_recipe("common"), open_device(setting.device))
    began = time.perf_counter()
    engine.warm_up(*engine.slots[0])
    engine.seam.synchronize()
    seconds = time.perf_counter() - began
    if not engine.compiled:
        raise RuntimeError(f"nothing was compiled: {engine.fallbacks}")
    inductor, autograd = counters["inductor"], counters["aot_autograd"]
    # A training graph's forward and backward code are looked up together, and only then one by one.
    found = inductor["fxgraph_cache_hit"] + autograd["autograd_cache_hit"]
    return WarmUp(seconds, inductor["fxgraph_cache_miss"], found)
