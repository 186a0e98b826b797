"""The ResNets of He et al., 2015 (arXiv 1512.03385) and their relatives: one body, a variant in two lines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from resbench.models.blocks import basic_block, bottleneck
from resbench.models.layers import chain
from resbench.models.stems import STEM_WIDTH, conv_stem
from resbench.registry import register_model

Block = Callable[[int, int, int], nn.Module]
"""Builds a block from input channels, output channels and stride."""

Counts = tuple[int, int, int, int]
"""One number for each of the four stages."""

BASIC_WIDTHS = (64, 128, 256, 512)
BOTTLENECK_WIDTHS = (256, 512, 1024, 2048)  # four times the width of the 3x3 convolutions


@register_model("resnet34", source="ResNet-34 from BasicBlocks (He et al., 2015, arXiv 1512.03385)")
def resnet34(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
    """ResNet-34: two 3x3 convolutions a block, projection shortcuts where the shape changes."""
    return _resnet(basic_block, (3, 4, 6, 3), BASIC_WIDTHS, conv_stem(stem, in_channels), num_classes)


@register_model("resnet50", source="ResNet-50 from conv and identity blocks (He et al., 2015, arXiv 1512.03385)")
def resnet50(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
    """ResNet-50 as in the paper: bottleneck blocks with the stride in the first 1x1 convolution."""
    return _resnet(bottleneck, (3, 4, 6, 3), BOTTLENECK_WIDTHS, conv_stem(stem, in_channels), num_classes)


@register_model("se_resnet50", source="Squeeze-and-Excitation Networks (Hu et al., 2017, arXiv 1709.01507)")
def se_resnet50(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
    """`resnet50` with squeeze-and-excitation (r = 16) before the addition in every block."""
    block = partial(bottleneck, se=True)
    return _resnet(block, (3, 4, 6, 3), BOTTLENECK_WIDTHS, conv_stem(stem, in_channels), num_classes)


@register_model("resnet50_nopool", source="ResNet-50 trained with Adam, without the stem's max-pool")
def resnet50_nopool(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
    """ResNet-50 with the stride in the 3x3 convolution and no max-pool.

    With the source stem every stage sees four times the pixels of `resnet50`'s. Convolutions start
    Kaiming-normal over their fan-out, as in the source.
    """
    block = partial(bottleneck, stride_in_3x3=True)
    # He et al. halve the stem's output by a max-pool; this source leaves it out.
    whole_stem = conv_stem(stem, in_channels, max_pool=False)
    network = _resnet(block, (3, 4, 6, 3), BOTTLENECK_WIDTHS, whole_stem, num_classes)
    return network.apply(_init_kaiming)


def _resnet(block: Block, depths: Counts, widths: Counts, stem: nn.Module, num_classes: int) -> nn.Sequential:
    """Four stages between a stem and a linear head: ``depths`` blocks and ``widths`` output channels each."""
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


def _init_kaiming(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
