"""What each engine setting gains: whole training loops that differ in that one, side by side."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence

from benchmarks.harness.rows import Row, Setting, measure_pairs, row_of
from benchmarks.harness.workbench import Workbench, training_images, workbench

Options = dict[str, str]
"""Fields of :class:`~resbench.suite.EngineOptions`."""

CHANNELS_LAST: Options = {"memory_format": "channels_last"}
CONTIGUOUS: Options = {"memory_format": "contiguous"}
EAGER: Options = {"compile": "off", "cuda_graph": "off"}
COMPILED: Options = {"compile": "on", "cuda_graph": "off"}
GRAPH: Options = {"compile": "off", "cuda_graph": "on"}
BOTH: Options = {"compile": "on", "cuda_graph": "on"}
REDUCE_OVERHEAD: Options = {"compile": "reduce-overhead", "cuda_graph": "off"}

COMPARISONS: dict[str, dict[str, tuple[Options, Options]]] = {
    "cpu": {
        "bf16 / fp32": ({"precision": "bf16"}, {"precision": "fp32"}),
        "channels_last / contiguous": (CHANNELS_LAST, CONTIGUOUS),
        "lowered / convolutions": ({"lowering": "auto"}, {"lowering": "off"}),
    },
    "cuda": {
        "compiled + graph / eager": (BOTH, EAGER),
        "compiled + graph / compiled": (BOTH, COMPILED),
        "compiled + graph / graph": (BOTH, GRAPH),
        "compiled + graph / reduce-overhead": (BOTH, REDUCE_OVERHEAD),
        "channels_last / contiguous": ({**BOTH, **CHANNELS_LAST}, {**BOTH, **CONTIGUOUS}),
    },
}
"""What is compared on which kind of device: the default first."""


def modes(setting: Setting) -> Iterator[Row]:
    """Measures every comparison of the device for every network."""
    kind = setting.device.partition(":")[0]
    images = training_images(setting)
    for model in setting.models:
        for name, (first, second) in COMPARISONS[kind].items():
            benches = _nothing()
            benches = [workbench(setting, model, images, engine=options) for options in (first, second)]
            precision = "" if "precision" in first else f", {setting.precision}"
            yield mode_row(
                name, f"{model}, {setting.stem} stem, batch {setting.batch_size}{precision}", benches, setting
            )
        if kind == "cuda":
            benches = _nothing()
            benches = [workbench(setting, model, images, slots=slots) for slots in (2, 1)]
            yield mode_row("batch made ahead / in turn", benches[0].described, benches, setting)


def _nothing() -> list[Workbench]:
    """Returns no benches, and frees those that nobody holds any more: an engine refers to itself.

    On CUDA each has its activations in a graph's pool, and a few of a large network's are all of a GPU's memory.
    """
    gc.collect()
    return []


def mode_row(name: str, subject: str, benches: Sequence[Workbench], setting: Setting) -> Row:
    """Measures two whole loops; there is no target, the figure says which setting should be the default."""
    first, second = benches
    steps = first.steps_in(setting.seconds)
    pairs = measure_pairs(lambda: first.loop_steps(steps), lambda: second.loop_steps(steps), repeats=setting.repeats)
    ahead, _, behind = name.partition(" / ")
    return row_of(name, subject, pairs.ratios, detail=pairs.detail(ahead, behind, "images/s"))
