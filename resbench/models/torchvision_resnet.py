"""torchvision's ResNet-152, trained whole or as frozen features under a new head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from resbench.errors import InputError
from resbench.registry import register_model

if TYPE_CHECKING:
    import torchvision
    from torch import nn

SOURCE_CHANNELS = 3
"""Channels of the images torchvision's stem takes."""

Weights = str | Path | None


@register_model("resnet152", source="torchvision resnet152")
def resnet152(
    *, num_classes: int = 10, in_channels: int = 3, stem: str = "source", weights: Weights = None
) -> nn.Module:
    """ResNet-152 of torchvision (stride in the 3x3 convolution) with a new head; random weights by default.

    Args:
        num_classes: Width of the logits.
        in_channels: Channels of the images.
        stem: ``"source"`` or ``"cifar"``.
        weights: None or ``"random"``, ``"default"`` (torchvision's, downloaded), or a state-dict file. The
            head is new in each case.

    Raises:
        InputError: The weights cannot be had, do not fit, or are for another stem than the one asked for.
    """
    return _resnet152(num_classes, in_channels, stem, "random" if weights is None else weights)


@register_model(
    "resnet152_frozen",
    source="torchvision resnet152, transfer learning: frozen but for a new head",
    default_weights="default",
)
def resnet152_frozen(
    *, num_classes: int = 10, in_channels: int = 3, stem: str = "source", weights: Weights = None
) -> nn.Module:
    """`resnet152` from pretrained weights, every parameter frozen but those of the new head ``fc``.

    Its BN statistics are no parameters and freezing leaves them free. What they do is the recipe's to say: in train
    mode BN normalises by its batch and its running statistics follow the batches, as the source leaves it (recipe
    ``resnet152_finetune``); in eval mode it normalises by the pretrained ones and they stay (recipes
    ``resnet152_finetune_bn_eval`` and, without augmentation, ``resnet152_features``, which trains the head on features
    that are computed once).

    Args:
        num_classes: Width of the logits.
        in_channels: Channels of the images.
        stem: ``"source"`` or ``"cifar"``; pretrained weights fit ``"source"`` only.
        weights: None or ``"default"`` (torchvision's, downloaded), ``"random"``, or a state-dict file.

    Raises:
        InputError: The weights cannot be had, do not fit, or are for another stem than the one asked for.
    """
    network = _resnet152(num_classes, in_channels, stem, "default" if weights is None else weights)
    network.requires_grad_(False)
    network.fc.requires_grad_(True)
    return network


def _resnet152(num_classes: int, in_channels: int, stem: str, weights: str | Path) -> torchvision.models.ResNet:
    import torchvision

    from resbench.models.parts.pretrained import load_body, pretrained_state

    own_stem = stem == "source" and in_channels == SOURCE_CHANNELS
    if weights != "random" and not own_stem:
        raise InputError(
            f"pretrained weights hold a 7x7 stem for {SOURCE_CHANNELS} channels; "
            f"asked for was the stem {stem!r} for {in_channels}. "
            f"Take the stem 'source' and {SOURCE_CHANNELS} channels, or weights 'random'."
        )
    state = None if weights == "random" else pretrained_state(weights)
    network = torchvision.models.resnet152(num_classes=num_classes)
    if state is not None:
        load_body(network, state)
    if not own_stem:
        _replace_stem(network, stem, in_channels)
    return network


def _replace_stem(network: torchvision.models.ResNet, stem: str, in_channels: int) -> None:
    from torch import nn

    from resbench.models.parts import stem_conv

    network.conv1 = stem_conv(stem, in_channels)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    if stem == "cifar":
        network.maxpool = nn.Identity()
