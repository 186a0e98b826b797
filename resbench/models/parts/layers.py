"""Small words the networks are written in."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def chain(**layers: nn.Module) -> nn.Sequential:
    """A sequence whose layers carry the given names, in the given order."""
    return nn.Sequential(OrderedDict(layers))


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, bias: bool = False) -> nn.Conv2d:
    """A square convolution with an odd kernel, padded so that stride 1 keeps height and width."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=bias)


def relu() -> nn.ReLU:
    """A ReLU that works in place, as torchvision's networks have it: memory then compares fairly."""
    return nn.ReLU(inplace=True)
