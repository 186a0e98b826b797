"""Any network of timm (PyTorch Image Models), by the name it has there: ``timm:resnet50``.

timm is an optional dependency. It is imported when one of its networks is asked for.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from resbench.errors import InputError, did_you_mean, nearest
from resbench.libraries import register_library
from resbench.models.library_networks import library_network
from resbench.registry import ModelEntry

if TYPE_CHECKING:
    from torch import nn


def timm_names() -> list[str]:
    """Names of ``timm.list_models()``: without tags of pretrained weights.

    Raises:
        InputError: timm is not installed.
    """
    return _timm("timm:*").list_models()


@register_library("timm", names=timm_names)
def timm_entry(name: str) -> ModelEntry:
    """Looks up a network of timm, which starts from random weights.

    Args:
        name: One of ``timm.list_models()``, without a tag of pretrained weights.

    Raises:
        InputError: timm is not installed, has no network of this name, or the name has a tag.
    """
    timm = _timm(f"timm:{name}")
    if not timm.is_model(name):
        close = [f"timm:{there}" for there in nearest(name, timm.list_models())]
        raise InputError(
            f"unknown model 'timm:{name}'.{did_you_mean(close)} Accepted: any name that `resbench list 'timm:*'` "
            f"shows, of timm {timm.__version__}."
        )
    architecture, _, tag = name.partition(".")
    if tag:
        raise InputError(
            f"model 'timm:{name}' names the pretrained weights {tag!r}, and timm's networks start from random ones "
            f"here. Give timm:{architecture}."
        )
    return library_network("timm", name, source=f"timm {timm.__version__}", make=_make)


def _timm(wanted: str) -> ModuleType:
    """Imports timm.

    Args:
        wanted: What it is imported for.

    Raises:
        InputError: It cannot be imported.
    """
    try:
        import timm
    except ImportError as error:
        raise InputError(
            f"model {wanted!r} needs timm, which cannot be imported here ({error}). "
            "Install it: pip install 'resbench[timm]'."
        ) from error
    return timm


def _make(name: str, *, num_classes: int, in_channels: int, input_size: tuple[int, int] | None) -> nn.Module:
    """Builds a network, for images of a size where it is made for one: those take ``img_size``, others refuse it."""
    import timm

    if input_size is not None:
        try:
            return timm.create_model(
                name, pretrained=False, num_classes=num_classes, in_chans=in_channels, img_size=input_size
            )
        except TypeError as error:
            if "img_size" not in str(error):
                raise
    return timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=in_channels)
