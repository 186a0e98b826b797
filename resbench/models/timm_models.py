"""Any network of timm (PyTorch Image Models), by the name it has there: ``timm:resnet50``.

timm is an optional dependency. It is imported when one of its networks is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resbench.errors import InputError, did_you_mean, nearest
from resbench.registry import ModelEntry, register_library

if TYPE_CHECKING:
    from torch import nn


@register_library("timm")
def timm_entry(name: str) -> ModelEntry:
    """Looks up a network of timm, which comes with its source stem and random weights.

    Args:
        name: One of ``timm.list_models()``, without a tag of pretrained weights.

    Raises:
        InputError: timm is not installed, has no network of this name, or the name has a tag.
    """
    try:
        import timm
    except ImportError as error:
        raise InputError(
            f"model 'timm:{name}' needs timm, which cannot be imported here ({error}). "
            "Install it: pip install 'resbench[timm]'."
        ) from error

    if not timm.is_model(name):
        close = [f"timm:{there}" for there in nearest(name, timm.list_models())]
        raise InputError(
            f"unknown model 'timm:{name}'.{did_you_mean(close)} "
            f"Accepted: any name of `timm.list_models()` of timm {timm.__version__}."
        )
    architecture, _, tag = name.partition(".")
    if tag:
        raise InputError(
            f"model 'timm:{name}' names the pretrained weights {tag!r}, and timm's networks start from random ones "
            f"here. Give timm:{architecture}."
        )

    def build(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
        return timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=in_channels)

    return ModelEntry(
        name=f"timm:{name}",
        source=f"timm {timm.__version__}",
        summary=f"timm's {name}, from random weights.",
        builder=build,
        stems=("source",),
    )
