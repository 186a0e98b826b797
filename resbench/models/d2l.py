"""The ResNet-18 that "Dive into Deep Learning" builds in its chapter on residual networks."""

from __future__ import annotations

from torch import nn

from resbench.models.blocks import Residual
from resbench.models.layers import chain, conv, relu
from resbench.models.stems import STEM_WIDTH, conv_stem
from resbench.registry import register_model


@register_model("d2l_resnet18", source="Dive into Deep Learning: Residual Networks (ResNet)")
def d2l_resnet18(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
    """ResNet-18 with biased convolutions, bare 1x1 shortcuts and Xavier-uniform initialisation."""
    network = chain(
        # He et al., 2015 leave a convolution's bias out, since the BN after it has one; the book keeps it.
        stem=conv_stem(stem, in_channels, bias=True),
        stage1=nn.Sequential(_residual(STEM_WIDTH, 64), _residual(64, 64)),
        stage2=nn.Sequential(_residual(64, 128), _residual(128, 128)),
        stage3=nn.Sequential(_residual(128, 256), _residual(256, 256)),
        stage4=nn.Sequential(_residual(256, 512), _residual(512, 512)),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        head=nn.Linear(512, num_classes),
    )
    return network.apply(_init_xavier)


def _residual(in_channels: int, out_channels: int) -> Residual:
    """Two 3x3 convolutions; a block that changes the width also halves height and width."""
    stride = 1 if in_channels == out_channels else 2
    body = chain(
        conv1=conv(in_channels, out_channels, 3, stride, bias=True),
        norm1=nn.BatchNorm2d(out_channels),
        relu1=relu(),
        conv2=conv(out_channels, out_channels, 3, bias=True),
        norm2=nn.BatchNorm2d(out_channels),
    )
    if stride == 1:
        return Residual(body, nn.Identity())
    # He et al. follow a projection shortcut by BN, as every convolution; the book has the bare 1x1.
    return Residual(body, conv(in_channels, out_channels, 1, stride, bias=True))


def _init_xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
