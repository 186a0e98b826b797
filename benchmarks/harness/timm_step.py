"""The suite's whole training loop against a bare step driven as timm's ``benchmark.py`` drives it.

That is one fixed batch on the device, timm's own optimizer, ``zero_grad``, forward under autocast, loss, backward,
update, and a wait for the device after every step. Network, stem, batch size, precision, memory format and
``torch.compile`` are the same; only the suite also loads and augments data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from benchmarks.harness.processes import in_fresh_process
from benchmarks.harness.rows import Pairs, Row, Setting, measure_pairs, row_of
from benchmarks.harness.workbench import CLASSES, Workbench, training_images, workbench
from resbench.compiling import compile_function
from resbench.registry import create_model

MODEL = "timm:resnet50"
TARGET = {"cpu": ">= 2", "cuda": ">= 1"}
PROCESSES = 3
"""Two networks in one process lie where the allocator puts them, and that alone moved their ratio by 5 % from one
process to the next on a processor. So the pairs are taken from several."""


class TimmStep:
    """A training step in timm's manner.

    Args:
        bench: Whose network, settings and device are taken over.
    """

    def __init__(self, bench: Workbench) -> None:
        from timm.optim import create_optimizer_v2

        settings, self.device = bench.engine.settings, bench.device
        self.images, self.labels = (tensor.clone() for tensor in bench.engine.slots[0])
        network = create_model(MODEL, num_classes=CLASSES, stem=bench.subject.stem).train()
        self.network = network.to(bench.engine.device, memory_format=bench.engine.layout)  # type: ignore[call-overload]
        self.optimizer = create_optimizer_v2(self.network, opt="sgd", lr=1e-4)
        self.criterion = nn.CrossEntropyLoss()
        self.autocast = settings.precision == "bf16"
        self.forward = compile_function(self.network) if settings.compile else self.network

    def step(self) -> None:
        """Takes one step and waits for it."""
        self.optimizer.zero_grad()
        with torch.autocast(self.images.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            output = self.forward(self.images)
        self.criterion(output, self.labels).backward()
        self.optimizer.step()
        self.device.synchronize()

    def rate(self, steps: int) -> float:
        """Takes that many steps and returns images a second."""
        self.device.synchronize()
        began = time.perf_counter()
        for _ in range(steps):
            self.step()
        return steps * len(self.labels) / (time.perf_counter() - began)


def timm_step(setting: Setting) -> Iterator[Row]:
    """Measures timm's ResNet-50 in the suite and in timm's manner, in turn, in several processes."""
    each = math.ceil(setting.repeats / PROCESSES)
    measured = [in_fresh_process(measure, replace(setting, repeats=each)) for _ in range(PROCESSES)]
    pairs = Pairs(
        tuple(rate for _, of in measured for rate in of.first),
        tuple(rate for _, of in measured for rate in of.second),
    )
    yield row_of(
        "harness / timm step",
        f"{measured[0][0]}; {PROCESSES} processes",
        pairs.ratios,
        target=TARGET.get(setting.device.partition(":")[0], ""),
        detail=pairs.detail("harness with data", "timm's step on a fixed batch", "images/s"),
    )


def measure(setting: Setting) -> tuple[str, Pairs]:
    """Measures both in this process; returns what was measured, in words, and the rates."""
    bench = workbench(setting, MODEL, training_images(setting))
    theirs = TimmStep(bench)
    theirs.rate(3)
    steps = bench.steps_in(setting.seconds)
    pairs = measure_pairs(lambda: bench.loop_steps(steps), lambda: theirs.rate(steps), repeats=setting.repeats)
    return bench.described, pairs
