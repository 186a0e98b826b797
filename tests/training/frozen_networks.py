"""Networks with a frozen backbone that take no time, on 3x8x8 images."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from resbench.data.datasets import Split
from resbench.data.pipeline import Normalisation, Pipeline
from resbench.recipes import Augmentation, Constant, Recipe
from resbench.schema import EngineSettings
from resbench.training.engine import Engine

TRAIN, TEST, BATCH, CLASSES = 43, 19, 4, 3
SETTINGS = EngineSettings("cpu", "fp32")
FEATURES = Recipe(
    name="features",
    source="test",
    batch_size=BATCH,
    budget="3ep",
    optimizer="adam",
    learning_rate=0.01,
    schedule=Constant(),
    frozen_batch_norm="eval",
)
MOMENTUM = dataclasses.replace(FEATURES, optimizer="sgd", learning_rate=0.05, momentum=0.9, label_smoothing=0.1)
BN_TRAIN = dataclasses.replace(FEATURES, frozen_batch_norm="train")
AUGMENTED = dataclasses.replace(FEATURES, name="augmented", augmentation=Augmentation(horizontal_flip=True))


def frozen_network(*, backbone: nn.Module | None = None, head: nn.Module | None = None, seed: int = 0) -> nn.Sequential:
    """Convolution, BN with statistics that are no longer 0 and 1, pooling; all frozen but the head."""
    torch.manual_seed(seed)
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(3, 8, 3, padding=1, bias=False))
    model.add_module("norm", nn.BatchNorm2d(8))
    model.add_module("more", backbone or nn.ReLU())
    model.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()))
    model.requires_grad_(False)
    model.norm.running_mean.uniform_(-0.1, 0.1)
    model.norm.running_var.uniform_(0.5, 1.5)
    model.add_module("head", head or nn.Linear(32, CLASSES))
    return model


def split(count: int, seed: int) -> Split:
    """Images that are brighter the higher their label is, so that there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    noise = torch.randint(120, (count, 8, 8, 3), generator=generator)
    return Split((noise + 60 * labels[:, None, None, None]).to(torch.uint8), labels)


def image_pipeline(recipe: Recipe = FEATURES, *, seed: int = 3, **changes: Any) -> Pipeline:
    values: dict[str, Any] = {"input_size": (8, 8), "batch_size": BATCH, "augmentation": recipe.augmentation}
    return Pipeline(
        split(TRAIN, 1),
        split(TEST, 2),
        normalisation=Normalisation((0.5,) * 3, (0.25,) * 3),
        seed=seed,
        **values | changes,
    )


def engine_of(model: nn.Module, recipe: Recipe = FEATURES, settings: EngineSettings = SETTINGS, **more: Any) -> Engine:
    """An engine with one slot, as a trial has it."""
    slot = image_pipeline().new_batch()
    for tensor in slot:
        tensor.zero_()
    return Engine(model, recipe, settings, slots=[slot], **more)


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all that batch norm keeps beside its parameters."""
    return {name: value.clone() for name, value in model.named_buffers()}
