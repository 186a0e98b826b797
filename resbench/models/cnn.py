"""The plain convolutional network that the transfer-learning tutorial sets against its ResNet-152."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resbench.errors import InputError
from resbench.registry import register_model

if TYPE_CHECKING:
    from torch import nn

POOLING = 4
"""Pixels of the input a side over those of the last maps: two 2x2 max-pools."""


@register_model("cnn", source="plain CNN baseline of the transfer-learning tutorial")
def cnn(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    stem: str = "source",
    input_size: tuple[int, int] = (32, 32),
) -> nn.Module:
    """Plain baseline: four 5x5 convolutions, two max-pools and one linear layer over every pixel.

    It has no downsampling stem, so both stems give the same network.

    Args:
        num_classes: Width of the logits.
        in_channels: Channels of the images.
        stem: Has no effect.
        input_size: Height and width of the images in pixels. The linear layer sees 64 maps of a quarter of
            each, so the network takes images of this size only.

    Raises:
        InputError: The images are smaller than 4x4 pixels.
    """
    from torch import nn

    from resbench.models.parts import chain, conv, relu

    height, width = input_size
    if min(height, width) < POOLING:
        raise InputError(f"model 'cnn' needs images of at least {POOLING}x{POOLING} pixels, not {height}x{width}.")
    return chain(
        conv1=conv(in_channels, 16, 5, bias=True),
        relu1=relu(),
        pool1=nn.MaxPool2d(2),
        conv2=conv(16, 32, 5, bias=True),
        relu2=relu(),
        conv3=conv(32, 32, 5, bias=True),
        relu3=relu(),
        pool2=nn.MaxPool2d(2),
        conv4=conv(32, 64, 5, bias=True),
        relu4=relu(),
        flatten=nn.Flatten(),
        head=nn.Linear(64 * (height // POOLING) * (width // POOLING), num_classes),
    )
