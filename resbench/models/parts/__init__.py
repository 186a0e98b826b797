"""What the networks are made of. All of it imports torch, so builders import it inside.

`resbench.models.parts.pretrained` is imported by its own name: it needs torchvision as well.
"""

from resbench.models.parts.blocks import basic_block, bottleneck
from resbench.models.parts.initialisation import init_kaiming, init_xavier
from resbench.models.parts.layers import chain, conv, relu
from resbench.models.parts.stages import BASIC_WIDTHS, BOTTLENECK_WIDTHS, residual_network
from resbench.models.parts.stems import conv_stem, stem_conv

__all__ = [
    "BASIC_WIDTHS",
    "BOTTLENECK_WIDTHS",
    "basic_block",
    "bottleneck",
    "chain",
    "conv",
    "conv_stem",
    "init_kaiming",
    "init_xavier",
    "relu",
    "residual_network",
    "stem_conv",
]
