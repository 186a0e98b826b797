"""The body that the residual networks share: four stages between a stem and a linear head."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from resbench.models.parts.layers import chain
from resbench.models.parts.stems import STEM_WIDTH

Block = Callable[[int, int, int], nn.Module]
"""Builds a block from input channels, output channels and stride."""

Counts = tuple[int, int, int, int]
"""One number for each of the four stages."""

BASIC_WIDTHS = (64, 128, 256, 512)
BOTTLENECK_WIDTHS = (256, 512, 1024, 2048)  # four times the width of the 3x3 convolutions


def residual_network(block: Block, depths: Counts, widths: Counts, stem: nn.Module, num_classes: int) -> nn.Sequential:
    """A whole network, from images (N, C, H, W) to logits (N, num_classes).

    Args:
        block: Builds one block.
        depths: Blocks in each stage.
        widths: Output channels of each stage; every stage but the first halves height and width.
        stem: Takes the images and puts out maps of `STEM_WIDTH` channels.
        num_classes: Width of the logits.
    """
    return chain(
        stem=stem,
        stage1=_stage(block, depths[0], STEM_WIDTH, widths[0], stride=1),
        stage2=_stage(block, depths[1], widths[0], widths[1], stride=2),
        stage3=_stage(block, depths[2], widths[1], widths[2], stride=2),
        stage4=_stage(block, depths[3], widths[2], widths[3], stride=2),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        head=nn.Linear(widths[3], num_classes),
    )


def _stage(block: Block, depth: int, in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    """A stage's first block changes the shape; the others keep it."""
    first = block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(block(out_channels, out_channels, 1) for _ in range(depth - 1)))
