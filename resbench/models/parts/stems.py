"""How the residual networks begin.

- ``source``: a 7x7 stride-2 convolution, BN, ReLU and, where the source has one, a 3x3 stride-2 max-pool;
- ``cifar``: a 3x3 stride-1 convolution, BN and ReLU, as in section 4.2 of He et al., 2015 (arXiv 1512.03385)
  but as wide as the source's stem. Height and width stay as they are.
"""

from __future__ import annotations

from torch import nn

from resbench.models.parts.layers import chain, conv, relu

STEM_WIDTH = 64
"""Channels a stem puts out."""


def stem_conv(stem: str, in_channels: int, *, bias: bool = False) -> nn.Conv2d:
    """The convolution a stem starts with; ``bias`` is the source's setting and holds for both stems."""
    if stem == "cifar":
        return conv(in_channels, STEM_WIDTH, 3, bias=bias)
    return conv(in_channels, STEM_WIDTH, 7, stride=2, bias=bias)


def conv_stem(stem: str, in_channels: int, *, bias: bool = False, max_pool: bool = True) -> nn.Sequential:
    """A whole stem, from images (N, in_channels, H, W) to maps (N, 64, H', W').

    Args:
        stem: ``"source"`` or ``"cifar"``.
        in_channels: Channels of the images.
        bias: Whether the source's convolution has a bias.
        max_pool: Whether the source has a max-pool; the ``cifar`` stem never does.
    """
    pools = max_pool and stem != "cifar"
    return chain(
        conv=stem_conv(stem, in_channels, bias=bias),
        norm=nn.BatchNorm2d(STEM_WIDTH),
        relu=relu(),
        pool=nn.MaxPool2d(3, stride=2, padding=1) if pools else nn.Identity(),
    )
