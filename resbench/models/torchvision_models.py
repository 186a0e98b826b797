"""Any classification network of torchvision, by the name it has there: ``torchvision:densenet121``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from resbench.errors import InputError, did_you_mean, nearest
from resbench.libraries import register_library
from resbench.models.library_networks import library_network
from resbench.registry import ModelEntry

if TYPE_CHECKING:
    from torch import nn

SOURCE_CHANNELS = 3
"""Channels of the images that torchvision's networks take."""

SINGLE_LOGITS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
"""What leaves out the auxiliary heads of those that have such, and keeps torchvision's initialisation for them."""


def torchvision_names() -> list[str]:
    """Names of torchvision's classification networks."""
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


@register_library("torchvision", names=torchvision_names)
def torchvision_entry(name: str) -> ModelEntry:
    """Looks up a classification network of torchvision, which starts from random weights.

    Args:
        name: One of ``torchvision.models.list_models(module=torchvision.models)``.

    Raises:
        InputError: torchvision has no network of this name.
    """
    import torchvision

    names = torchvision_names()
    if name not in names:  # torchvision itself would take another case, and networks that are no classifiers
        close = [f"torchvision:{there}" for there in nearest(name, names)]
        raise InputError(
            f"unknown model 'torchvision:{name}'.{did_you_mean(close)} Accepted: any name that "
            f"`resbench list 'torchvision:*'` shows, of torchvision {torchvision.__version__}."
        )
    return library_network("torchvision", name, source=f"torchvision {torchvision.__version__}", make=_make)


def _make(name: str, *, num_classes: int, in_channels: int, input_size: tuple[int, int] | None) -> nn.Module:
    """Builds a network without auxiliary heads; for other than three channels its first convolution is drawn anew."""
    import torchvision

    builder = torchvision.models.get_model_builder(name)
    options = {"num_classes": num_classes, **SINGLE_LOGITS.get(name, {})}
    try:
        network = _sized(builder, input_size, options)
    except NotImplementedError:  # RegNets compute their widths by tensors, which the meta device has no numbers for
        with _numbers_on_host():
            network = _sized(builder, input_size, options)
    if in_channels != SOURCE_CHANNELS:
        _take_channels(network, in_channels)
    return network


def _sized(builder: Callable[..., nn.Module], input_size: tuple[int, int] | None, options: dict[str, Any]) -> nn.Module:
    """Builds a network, for images of a size where it is made for one.

    Vision transformers call the size ``image_size``, a number, and MaxViT ``input_size``; all others take neither, and
    say so before a weight is drawn.
    """
    if input_size is not None:
        height, width = input_size
        for key, size in (("image_size", height), ("input_size", input_size)):
            try:
                network = builder(**options, **{key: size})
            except TypeError as error:
                if key not in str(error):
                    raise
            else:
                if height != width and hasattr(network, "image_size"):  # ConvNeXt takes the key too, and leaves it
                    raise ValueError("it takes square images only")
                return network
    return builder(**options)


def _numbers_on_host() -> AbstractContextManager[object]:
    """Makes tensors of given numbers on the host, whatever torch's default device is."""
    import torch
    from torch.overrides import TorchFunctionMode

    class NumbersOnHost(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            where = {"device": "cpu"} if function in (torch.arange, torch.tensor) else {}
            return function(*args, **{**where, **(kwargs or {})})

    return NumbersOnHost()


def _take_channels(network: nn.Module, in_channels: int) -> None:
    """Makes a network take images of another number of channels."""
    from torch import nn

    from resbench.models.parts.stem_change import redraw_inputs

    first = next(
        module
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == SOURCE_CHANNELS
    )
    redraw_inputs(first, in_channels)
