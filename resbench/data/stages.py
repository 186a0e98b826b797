"""An augmentation as stages: what happens to the stored bytes, to float images, and to normalised images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from resbench.data import augment
from resbench.recipes import Augmentation


@dataclass(frozen=True)
class Stage:
    """One part of an augmentation."""

    draws: int
    """Random numbers that it takes for an image."""
    apply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """Takes a batch and its numbers [draws, B]; returns the batch."""


def byte_stages(steps: Augmentation) -> list[Stage]:
    """What happens to the pixels as they are stored, uint8 [B, H, W, C]."""
    if not steps.horizontal_flip:
        return []
    return [Stage(1, lambda pixels, draw: augment.mirror(pixels, draw[0]))]


def image_stages(steps: Augmentation, input_size: tuple[int, int], stored_size: Sequence[int]) -> list[Stage]:
    """What happens to float images in 0..1, [B, C, H, W]; empty where bytes will do."""
    height, width = input_size
    larger = round(height * steps.resize_ratio), round(width * steps.resize_ratio)
    stages = []
    if larger != tuple(stored_size):
        stages.append(Stage(0, lambda images, draw: augment.resize(images, *larger)))
    if steps.rotation_degrees:
        stages.append(Stage(1, lambda images, draw: augment.rotate(images, steps.rotation_degrees, draw[0])))
    if larger != input_size:
        stages.append(Stage(0, lambda images, draw: augment.centre_crop(images, height, width)))
    if steps.vertical_flip:
        stages.append(Stage(1, lambda images, draw: augment.flip_vertically(images, draw[0])))
    if steps.colour_jitter is not None:
        jitter = steps.colour_jitter
        stages.append(Stage(4, lambda images, draw: augment.colour_jitter(images, jitter, draw)))
    if steps.grayscale_probability:
        share = steps.grayscale_probability
        stages.append(Stage(1, lambda images, draw: augment.grayscale(images, share, draw[0])))
    return stages


def last_stages(steps: Augmentation) -> list[Stage]:
    """What happens to normalised images, in place."""
    if not steps.cutout:
        return []
    return [Stage(2, lambda images, draw: augment.cutout(images, steps.cutout, draw))]
