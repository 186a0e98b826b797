"""Pipelines over images whose label is their place in the split."""

from __future__ import annotations

import torch

from resbench.data.datasets import Dataset, Split
from resbench.data.pipeline import Normalisation, Pipeline
from resbench.recipes import RECIPES, Augmentation

COUNT, BATCH = 50, 8
PLAIN = Augmentation()
CROP_AND_FLIP = Augmentation(crop_padding=2, horizontal_flip=True)
EVERYTHING = RECIPES["resnet152_finetune"].augmentation
RAW = Normalisation((0.0,) * 3, (1.0,) * 3)


def numbered(count: int = COUNT, *, height: int = 6, width: int = 10, channels: int = 3, seed: int = 0) -> Split:
    """Random images whose label is their place in the split."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, height, width, channels)
    return Split(torch.randint(256, shape, generator=generator, dtype=torch.uint8), torch.arange(count))


def dataset(channels: int = 3, **changes: Split) -> Dataset:
    splits = {"train": numbered(channels=channels), "test": numbered(20, channels=channels, seed=1)} | changes
    return Dataset("numbered", **splits, classes=tuple("abc"), fingerprint="0" * 64)


def pipeline(
    *,
    train: Split | None = None,
    test: Split | None = None,
    input_size: tuple[int, int] = (6, 10),
    batch_size: int = BATCH,
    augmentation: Augmentation = PLAIN,
    normalisation: Normalisation = RAW,
    seed: int = 0,
    compiled: bool = False,
) -> Pipeline:
    return Pipeline(
        train or numbered(),
        test or numbered(20, seed=1),
        input_size=input_size,
        batch_size=batch_size,
        augmentation=augmentation,
        normalisation=normalisation,
        seed=seed,
        compiled=compiled,
    )


def order(subject: Pipeline) -> list[int]:
    """The images of one epoch by number."""
    return [int(label) for _, labels in subject.epoch() for label in labels]


def as_floats(split: Split) -> torch.Tensor:
    return split.images.permute(0, 3, 1, 2) / 255
