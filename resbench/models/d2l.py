"""The ResNet-18 that "Dive into Deep Learning" builds in its chapter on residual networks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from resbench.registry import register_model

if TYPE_CHECKING:
    from torch import nn


@register_model("d2l_resnet18", source="Dive into Deep Learning: Residual Networks (ResNet)")
def d2l_resnet18(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
    """ResNet-18 with biased convolutions, bare 1x1 shortcuts and Xavier-uniform initialisation."""
    from resbench.models.parts import BASIC_WIDTHS, basic_block, conv_stem, init_xavier, residual_network

    # He et al., 2015 leave a convolution's bias out, since the BN after it has one; the book keeps it. They
    # follow a projection shortcut by BN, as every convolution; the book has the bare 1x1.
    block = partial(basic_block, bias=True, bare_shortcut=True)
    whole_stem = conv_stem(stem, in_channels, bias=True)
    network = residual_network(block, (2, 2, 2, 2), BASIC_WIDTHS, whole_stem, num_classes)
    return network.apply(init_xavier)
