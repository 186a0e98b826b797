"""The ResNets of He et al., 2015 (arXiv 1512.03385) and their relatives: one body, a variant in two lines."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from resbench.registry import register_model

if TYPE_CHECKING:
    from torch import nn


@register_model("resnet34", source="ResNet-34 from BasicBlocks (He et al., 2015, arXiv 1512.03385)")
def resnet34(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
    """ResNet-34: two 3x3 convolutions a block, projection shortcuts where the shape changes."""
    from resbench.models.parts import BASIC_WIDTHS, basic_block, conv_stem, residual_network

    return residual_network(basic_block, (3, 4, 6, 3), BASIC_WIDTHS, conv_stem(stem, in_channels), num_classes)


@register_model("resnet50", source="ResNet-50 from conv and identity blocks (He et al., 2015, arXiv 1512.03385)")
def resnet50(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
    """ResNet-50 as in the paper: bottleneck blocks with the stride in the first 1x1 convolution."""
    from resbench.models.parts import BOTTLENECK_WIDTHS, bottleneck, conv_stem, residual_network

    return residual_network(bottleneck, (3, 4, 6, 3), BOTTLENECK_WIDTHS, conv_stem(stem, in_channels), num_classes)


@register_model("se_resnet50", source="Squeeze-and-Excitation Networks (Hu et al., 2017, arXiv 1709.01507)")
def se_resnet50(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
    """`resnet50` with squeeze-and-excitation (r = 16) before the addition in every block."""
    from resbench.models.parts import BOTTLENECK_WIDTHS, bottleneck, conv_stem, residual_network

    block = partial(bottleneck, se=True)
    return residual_network(block, (3, 4, 6, 3), BOTTLENECK_WIDTHS, conv_stem(stem, in_channels), num_classes)


@register_model("resnet50_half", source="Control of se_resnet50, whose gates begin at sigmoid(0) = 0.5")
def resnet50_half(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
    """`resnet50` whose residual branches are multiplied by 0.5, as the gates of `se_resnet50` begin.

    With PyTorch's initialisation those gates begin at 0.50 with a standard deviation of 0.05 over channels and images.
    """
    from resbench.models.parts import BOTTLENECK_WIDTHS, bottleneck, conv_stem, residual_network

    block = partial(bottleneck, scale=0.5)
    return residual_network(block, (3, 4, 6, 3), BOTTLENECK_WIDTHS, conv_stem(stem, in_channels), num_classes)


@register_model("resnet50_nopool", source="ResNet-50 trained with Adam, without the stem's max-pool")
def resnet50_nopool(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
    """ResNet-50 with the stride in the 3x3 convolution and no max-pool.

    With the source stem every stage sees four times the pixels of `resnet50`'s. Convolutions start
    Kaiming-normal over their fan-out, as in the source.
    """
    from resbench.models.parts import BOTTLENECK_WIDTHS, bottleneck, conv_stem, init_kaiming, residual_network

    block = partial(bottleneck, stride_in_3x3=True)
    # He et al. halve the stem's output by a max-pool; this source leaves it out.
    whole_stem = conv_stem(stem, in_channels, max_pool=False)
    network = residual_network(block, (3, 4, 6, 3), BOTTLENECK_WIDTHS, whole_stem, num_classes)
    return network.apply(init_kaiming)
