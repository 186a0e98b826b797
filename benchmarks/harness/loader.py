"""The usual input pipeline: torchvision's v2 transforms on one image at a time, in a DataLoader of four workers."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.harness.rows import Row, Setting, measure_pairs, row_of
from benchmarks.harness.workbench import NORMALISATION, SIZE, make_pipeline, training_images
from resbench.data.datasets import Split
from resbench.data.pipeline import Pipeline
from resbench.devices import Device, open_device
from resbench.recipes import Recipe, get_recipe

WORKERS = 4
SETTLE_S = 1.0
PREFETCHED = 2 * WORKERS
"""Batches that the workers make ahead (torch's default, two each): they are taken out before the clock starts."""
TARGET = {"cpu": ">= 20", "cuda": ">= 200"}


class PillowImages(Dataset[tuple[torch.Tensor, int]]):
    """Decoded images, handed out one by one as torchvision's CIFAR10 does: a PIL image through a transform."""

    def __init__(self, split: Split, recipe: Recipe) -> None:
        self.images, self.labels = split.images.numpy(), split.labels.tolist()
        steps: list[torch.nn.Module] = []
        if recipe.augmentation.crop_padding:
            steps.append(v2.RandomCrop(SIZE, padding=recipe.augmentation.crop_padding, padding_mode="reflect"))
        if recipe.augmentation.horizontal_flip:
            steps.append(v2.RandomHorizontalFlip())
        to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]  # what ToTensor is in v2
        self.transform = v2.Compose([*steps, *to_tensor, v2.Normalize(NORMALISATION.mean, NORMALISATION.std)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class Batches:
    """An endless stream of a DataLoader's batches, epoch after epoch, with its workers kept alive."""

    def __init__(self, images: Split, recipe: Recipe, batch_size: int) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "This DataLoader will create"
            )  # more workers than cores: as in the sources
            self.loader = DataLoader(
                PillowImages(images, recipe),
                batch_size=batch_size,
                shuffle=True,
                drop_last=True,
                num_workers=WORKERS,
                persistent_workers=True,
            )
            self._stream = _forever(self.loader)
            next(self._stream)

    def settle(self) -> None:
        """Waits until the workers have filled their queue and sleep: what is measured next has the machine alone."""
        time.sleep(SETTLE_S)

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        return next(self._stream)


def _forever(loader: DataLoader[tuple[torch.Tensor, int]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields epoch after epoch.

    A function and no method, for a generator that held :class:`Batches` would leave both to the garbage collector. That
    closes the queues before the workers are told to end, and then waits 5 s for each, in the middle of whatever is
    measured by then.
    """
    while True:
        yield from loader


def pipeline(setting: Setting) -> Iterator[Row]:
    """Measures batches alone, in their device's memory, with the same augmentation and normalisation."""
    images, recipe, device = training_images(setting), get_recipe("common"), open_device(setting.device)
    compiled = setting.device.startswith("cuda")
    ours = make_pipeline(setting, images, recipe, compiled=compiled)
    theirs = Batches(images, recipe, setting.batch_size)

    def measure_ours() -> float:
        theirs.settle()
        return pipeline_rate(ours, device, setting.seconds)

    pairs = measure_pairs(
        measure_ours,
        lambda: loader_rate(theirs, device, setting.batch_size, setting.seconds),
        repeats=setting.repeats,
    )
    yield row_of(
        "pipeline / DataLoader",
        f"{SIZE}x{SIZE}, batch {setting.batch_size}, reflected crop and flip, {WORKERS} workers",
        pairs.ratios,
        target=TARGET.get(setting.device.partition(":")[0], ""),
        detail=pairs.detail("pipeline", "DataLoader", "images/s"),
    )


def pipeline_rate(ours: Pipeline, device: Device, seconds: float) -> float:
    """Returns images a second of the suite's pipeline, over whole epochs until the time is up."""
    slot = ours.new_batch()
    device.synchronize()
    began, images = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        images += sum(len(labels) for _, labels in ours.epoch([slot]))
        device.synchronize()
    return images / (time.perf_counter() - began)


def loader_rate(theirs: Batches, device: Device, batch_size: int, seconds: float) -> float:
    """Returns images a second of a DataLoader once its queue is used up."""
    for _ in range(PREFETCHED):
        next(theirs)
    began, images = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        pixels, labels = next(theirs)
        pixels.to(device.torch_device), labels.to(device.torch_device)
        images += batch_size
    device.synchronize()
    return images / (time.perf_counter() - began)
