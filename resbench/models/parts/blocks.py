"""Residual blocks: a body and a shortcut, added, then ReLU.

A block is built from its input channels, its output channels and its stride, and maps
(N, in_channels, H, W) to (N, out_channels, H / stride, W / stride), rounded up.
"""

from __future__ import annotations

import torch
from torch import nn

from resbench.models.parts.layers import chain, conv, relu

EXPANSION = 4
"""Output channels of a bottleneck over those of its 3x3 convolution."""

SE_REDUCTION = 16
"""Channels over those a squeeze-and-excitation squeezes them to: the paper's choice of r."""


class Residual(nn.Module):
    """``relu(body(x) + shortcut(x))``; no ReLU stands between the body's end and the addition."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.relu = relu()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Adds the shortcut to the body's own output in place, so that no third map is held."""
        out = self.body(x)
        out += self.shortcut(x)
        return self.relu(out)


class SqueezeExcitation(nn.Module):
    """Scales each channel by a number in (0, 1) drawn from all channels' means (Hu et al., 2017)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = channels // SE_REDUCTION
        self.gate = chain(
            squeeze=nn.AdaptiveAvgPool2d(1),
            reduce=conv(channels, squeezed, 1, bias=True),
            relu=relu(),
            expand=conv(squeezed, channels, 1, bias=True),
            sigmoid=nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (N, channels, H, W) to the same shape."""
        return x * self.gate(x)


class Scale(nn.Module):
    """Multiplies by a number that is not trained."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape."""
        return x * self.factor


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The shortcut: the input itself, or a 1x1 convolution and BN where the block changes its shape."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return chain(conv=conv(in_channels, out_channels, 1, stride), norm=nn.BatchNorm2d(out_channels))


def bare_projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """As `projection`, but the 1x1 convolution has a bias and no BN after it."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return conv(in_channels, out_channels, 1, stride, bias=True)


def basic_block(
    in_channels: int, out_channels: int, stride: int, *, bias: bool = False, bare_shortcut: bool = False
) -> Residual:
    """Two 3x3 convolutions, the first with the stride.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the block, 1 or 2.
        bias: Whether the 3x3 convolutions have a bias.
        bare_shortcut: Whether a shortcut that changes the shape is a biased 1x1 convolution without BN.
    """
    body = chain(
        conv1=conv(in_channels, out_channels, 3, stride, bias=bias),
        norm1=nn.BatchNorm2d(out_channels),
        relu1=relu(),
        conv2=conv(out_channels, out_channels, 3, bias=bias),
        norm2=nn.BatchNorm2d(out_channels),
    )
    shortcut = bare_projection if bare_shortcut else projection
    return Residual(body, shortcut(in_channels, out_channels, stride))


def bottleneck(
    in_channels: int,
    out_channels: int,
    stride: int,
    *,
    stride_in_3x3: bool = False,
    se: bool = False,
    scale: float | None = None,
) -> Residual:
    """A 1x1, a 3x3 and a 1x1 convolution, the first two a quarter of ``out_channels`` wide.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the block, 1 or 2.
        stride_in_3x3: Whether the 3x3 convolution has the stride; otherwise the first 1x1 has it.
        se: Whether a squeeze-and-excitation ends the body.
        scale: What the body's output is multiplied by.
    """
    width = out_channels // EXPANSION
    # He et al., 2015 have the stride in the first 1x1, which then skips three of four pixels. torchvision has
    # it in the 3x3 ("ResNet v1.5", as NVIDIA calls it): more accurate, 6 % more MACs in a ResNet-50.
    stride_1x1, stride_3x3 = (1, stride) if stride_in_3x3 else (stride, 1)
    body = chain(
        conv1=conv(in_channels, width, 1, stride_1x1),
        norm1=nn.BatchNorm2d(width),
        relu1=relu(),
        conv2=conv(width, width, 3, stride_3x3),
        norm2=nn.BatchNorm2d(width),
        relu2=relu(),
        conv3=conv(width, out_channels, 1),
        norm3=nn.BatchNorm2d(out_channels),
    )
    if se:
        body.add_module("se", SqueezeExcitation(out_channels))
    if scale is not None:
        body.add_module("scale", Scale(scale))
    return Residual(body, projection(in_channels, out_channels, stride))
