"""Training loops around a network and images that take no time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from resbench.budget import parse_budget, plan_spending
from resbench.data.datasets import Split
from resbench.data.pipeline import Normalisation, Pipeline
from resbench.devices import CpuDevice, Device
from resbench.ranks import ALONE, Ranks
from resbench.recipes import RECIPES, Augmentation, Recipe
from resbench.schema import EngineSettings
from resbench.training.engine import Engine
from resbench.training.ledger import Ledger
from resbench.training.loop import Loop

TRAIN, TEST, BATCH = 43, 19, 4
STEPS_PER_EPOCH = 10  # 43 // 4
EVALUATIONS = 5  # 19 / 4, rounded up
CLASSES = 3
SETTINGS = EngineSettings("cpu", "fp32")
COMMON = dataclasses.replace(RECIPES["common"], augmentation=Augmentation(crop_padding=2, horizontal_flip=True))


class RecordingEngine(Engine):
    """Notes the learning rate of every step."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.rates: list[float] = []
        self.steps_at: list[float] = []

    def set_learning_rate(self, value: float) -> None:
        self.rates.append(value)
        super().set_learning_rate(value)

    def train_step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.steps_at.append(float(self.learning_rate))
        super().train_step(images, labels)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, CLASSES),
    )


def split(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 8, 8, 3), generator=generator, dtype=torch.uint8)
    return Split(images, torch.randint(CLASSES, (count,), generator=generator))


def make_pipeline(
    recipe: Recipe = COMMON, seed: int = 0, kind: type[Pipeline] = Pipeline, ranks: Ranks = ALONE
) -> Pipeline:
    return kind(
        split(TRAIN, 1),
        split(TEST, 2),
        input_size=(8, 8),
        batch_size=BATCH,
        augmentation=recipe.augmentation,
        normalisation=Normalisation((0.5,) * 3, (0.25,) * 3),
        seed=seed,
        ranks=ranks,
    )


def make_loop(
    budget: str,
    *,
    device: Device | None = None,
    recipe: Recipe = COMMON,
    engine: Engine | None = None,
    pipeline: Pipeline | None = None,
    seed: int = 0,
    flops: int | None = None,
    **listeners: Callable[[Any], None],
) -> Loop:
    spending = plan_spending(
        parse_budget(budget), batch_size=BATCH, steps_per_epoch=STEPS_PER_EPOCH, train_flops_per_image=flops
    )
    return Loop(
        engine or RecordingEngine(network(seed), recipe, SETTINGS),
        pipeline or make_pipeline(recipe, seed),
        device or CpuDevice(),
        recipe,
        spending,
        Ledger(),
        **listeners,
    )
