"""Batches made on the device: the decoded split lives there, and every batch is a few tensor operations.

No worker process and no per-image Python. The order of the images and their augmentation come from two
generators that depend on the seed alone, so every model of a comparison sees the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from resbench.data import augment
from resbench.data.datasets import Dataset, Split
from resbench.errors import InputError
from resbench.recipes import Augmentation

Batch = tuple[torch.Tensor, torch.Tensor]
"""images float32 [B, C, H, W] (channels_last), labels int64 [B]."""

PADDING = -100
"""The label of an image that only fills up a batch and does not count."""

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and deviation of pixels in 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def normalisation_of(dataset: Dataset, kind: str) -> Normalisation:
    """Returns the normalisation that a recipe asks for.

    Args:
        dataset: Whose training images' mean and deviation ``dataset`` means.
        kind: ``dataset``, ``imagenet`` or ``none``.

    Raises:
        InputError: ImageNet's three channels are asked of images with another number.
    """
    channels = dataset.image_shape[0]
    if kind == "none":
        return Normalisation((0.0,) * channels, (1.0,) * channels)
    if kind == "imagenet":
        if channels != 3:
            raise InputError(
                f"the recipe normalises with ImageNet's three channels and {dataset.name} has {channels}. "
                "Use another recipe or RGB images."
            )
        return Normalisation(_IMAGENET_MEAN, _IMAGENET_STD)
    # A channel that never changes has deviation 0; 1 leaves it at 0 instead of dividing by it.
    return Normalisation(dataset.mean, tuple(std or 1.0 for std in dataset.std))


def to_device(split: Split, device: torch.device) -> Split:
    """Returns the split with its tensors on a device."""
    return Split(split.images.to(device), split.labels.to(device))


class Pipeline:
    """Makes training and evaluation batches of one size from splits that are on the device.

    Args:
        train: On the device; uint8 [N, H, W, C].
        test: On the same device.
        input_size: Height and width of a batch; images of another size are resized on the device.
        batch_size: Of training and evaluation batches.
        augmentation: What happens to training images.
        normalisation: Of the channels.
        seed: Decides the order and the augmentation.
    """

    def __init__(
        self,
        train: Split,
        test: Split,
        *,
        input_size: tuple[int, int],
        batch_size: int,
        augmentation: Augmentation,
        normalisation: Normalisation,
        seed: int,
    ) -> None:
        self.train, self.test = train, test
        self.input_size = input_size
        self.batch_size = batch_size
        self.augmentation = augmentation
        device = train.images.device
        # (pixel / 255 - mean) / std as one multiply and one add.
        std = torch.tensor(normalisation.std, device=device).view(1, -1, 1, 1)
        mean = torch.tensor(normalisation.mean, device=device).view(1, -1, 1, 1)
        self._scale, self._shift, self._mean = 1 / std, -mean / std, mean
        self.order = torch.Generator(device).manual_seed(2 * seed)
        self.draws = torch.Generator(device).manual_seed(2 * seed + 1)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in the training split: the rest of each epoch's permutation is dropped."""
        return len(self.train) // self.batch_size

    def epoch(self) -> Iterator[Batch]:
        """Yields one pass over the training split in a new random order, full batches only."""
        order = torch.randperm(len(self.train), generator=self.order, device=self.train.labels.device)
        for start in range(0, self.steps_per_epoch * self.batch_size, self.batch_size):
            yield self.training_batch(order[start : start + self.batch_size])

    def training_batch(self, index: torch.Tensor) -> Batch:
        """Gathers, augments and normalises the training images of an index.

        Args:
            index: int64 [B].
        """
        steps = self.augmentation
        pixels = augment.gather_crops(
            self.train.images,
            index,
            padding=steps.crop_padding,
            flip=steps.horizontal_flip,
            generator=self.draws,
        )
        images = pixels.float().div_(255)
        height, width = self.input_size
        images = augment.resize(images, round(height * steps.resize_ratio), round(width * steps.resize_ratio))
        if steps.rotation_degrees:
            images = augment.rotate(images, steps.rotation_degrees, self.draws)
        images = augment.centre_crop(images, height, width)
        if steps.vertical_flip:
            images = augment.flip_vertically(images, self.draws)
        if steps.colour_jitter:
            images = augment.colour_jitter(images, steps.colour_jitter, self.draws)
        if steps.grayscale_probability:
            images = augment.grayscale(images, steps.grayscale_probability, self.draws)
        if steps.cutout:
            images = augment.cutout(images, steps.cutout, self._mean, self.draws)
        return self._normalise(images), self.train.labels.index_select(0, index)

    def evaluation(self) -> Iterator[Batch]:
        """Yields every test image once, in order, without augmentation.

        The last batch is filled up with copies of the last image, labelled ``PADDING``: every batch has the same
        shape, so nothing is compiled or tuned for a second one.
        """
        count, device = len(self.test), self.test.labels.device
        for start in range(0, count, self.batch_size):
            index = torch.arange(start, start + self.batch_size, device=device)
            inside = index.clamp(max=count - 1)
            images = self.test.images.index_select(0, inside).permute(0, 3, 1, 2).float().div_(255)
            labels = self.test.labels.index_select(0, inside).masked_fill(index >= count, PADDING)
            yield self._normalise(augment.resize(images, *self.input_size)), labels

    def _normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the images with each channel's mean and deviation removed, in channels_last."""
        normalised = torch.addcmul(self._shift, images, self._scale)
        return normalised.contiguous(memory_format=torch.channels_last)
