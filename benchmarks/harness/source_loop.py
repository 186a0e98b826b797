"""The training loop that the sources use, as a baseline: a DataLoader, fp32, and ``.item()`` at every step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from benchmarks.harness.loader import PREFETCHED, WORKERS, Batches
from benchmarks.harness.rows import Row, Setting, measure_pairs, row_of
from benchmarks.harness.workbench import CLASSES, training_images, workbench
from resbench.recipes import Recipe, get_recipe
from resbench.registry import create_model

MODEL = "d2l_resnet18"
TARGET = {"cpu": ">= 1.8", "cuda": ">= 5"}


class SourceLoop:
    """Trains one network the way that tutorials do.

    Args:
        model: In its own memory format; moved to the device.
        batches: Where batches come from.
        device: Where to train.
        recipe: SGD as here, so that both sides do the same arithmetic.
    """

    def __init__(self, model: nn.Module, batches: Batches, device: torch.device, recipe: Recipe) -> None:
        self.model, self.batches, self.device = model.to(device), batches, device
        self.criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=1e-6,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        self.loss_sum, self.correct = 0.0, 0

    def step(self) -> int:
        """Trains on the next batch and returns how many images it had."""
        images, labels = next(self.batches)
        images, labels = images.to(self.device), labels.to(self.device)
        self.optimizer.zero_grad()
        logits = self.model(images)
        loss = self.criterion(logits, labels)
        loss.backward()
        self.optimizer.step()
        self.loss_sum += loss.item() * len(labels)
        self.correct += (logits.argmax(1) == labels).sum().item()
        return len(labels)

    def rate(self, steps: int) -> float:
        """Takes that many steps once the workers' queue is used up, and returns images a second."""
        self.model.train()
        for _ in range(PREFETCHED):
            next(self.batches)
        # The sources set nothing, so these are torch's defaults; here only, since the other side has its own.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=True):
            self.step()
            began = time.perf_counter()
            images = sum(self.step() for _ in range(steps))  # .item() has waited for the last of them
            return images / (time.perf_counter() - began)


def source_loop(setting: Setting) -> Iterator[Row]:
    """Measures the suite as it runs by default on a GPU, and at equal precision (fp32) on a processor."""
    on_cpu = setting.device == "cpu"
    ours = replace(setting, precision="fp32") if on_cpu else setting
    images, recipe = training_images(setting), get_recipe("common")
    bench = workbench(ours, MODEL, images)
    steps = bench.steps_in(setting.seconds)
    source = SourceLoop(
        create_model(MODEL, num_classes=CLASSES, stem=setting.stem),
        Batches(images, recipe, setting.batch_size),
        torch.device(setting.device),
        recipe,
    )

    def measure_ours() -> float:
        source.batches.settle()
        return bench.loop_steps(steps)

    pairs = measure_pairs(measure_ours, lambda: source.rate(steps), repeats=setting.repeats)
    yield row_of(
        "harness / source loop",
        f"{bench.described} / fp32, DataLoader of {WORKERS} workers, .item() every step",
        pairs.ratios,
        target=TARGET.get(setting.device.partition(":")[0], ""),
        detail=pairs.detail("harness", "source loop", "images/s"),
    )
