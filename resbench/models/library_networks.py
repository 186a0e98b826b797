"""What the networks of all libraries have in common: how their entries look, are built, and get the CIFAR stem."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

from resbench.errors import InputError, in_one_line
from resbench.registry import ModelEntry, without_memory

if TYPE_CHECKING:
    from torch import nn

    from resbench.models.parts.stem_change import Stem

USUAL_IMAGE = (3, 224, 224)
"""What libraries' networks take where they say nothing else: channels, height, width."""


Make = Callable[..., "nn.Module"]
"""Builds a library's network with its own stem, from random weights, on torch's default device.

It is called with the network's name in the library, and with keywords: ``num_classes``, ``in_channels``, and
``input_size``, the height and width that a network is made for whose layers depend on it; None is the library's own. It
raises whatever the library does where the network cannot be built so.
"""


def library_network(prefix: str, name: str, *, source: str, make: Make) -> ModelEntry:
    """The entry of a library's network. Nothing is built for it, and torch is not imported.

    Args:
        prefix: The library's.
        name: The network's in the library, which has been found there.
        source: The library and its version.
        make: Builds the library's networks.
    """
    whole_name = f"{prefix}:{name}"
    return ModelEntry(
        name=whole_name,
        source=source,
        summary=f"{prefix}'s {name}, from random weights.",
        builder=partial(_build, whole_name, make),
        accepts_input_size=True,
        look_at_stem=partial(_stem_of, whole_name, make),
    )


def _build(
    whole_name: str,
    make: Make,
    *,
    num_classes: int,
    in_channels: int,
    stem: str,
    input_size: tuple[int, int],
) -> nn.Module:
    """Builds a library's network.

    Raises:
        InputError: It cannot be built for images of this size, or has no such stem.
    """
    name = whole_name.partition(":")[2]
    build = partial(make, name, num_classes=num_classes, in_channels=in_channels, input_size=input_size)
    try:
        network = build()
    except Exception as error:  # libraries raise almost anything, and so does a machine without memory
        _check_size(whole_name, build, input_size)
        raise error
    if stem == "cifar":
        from resbench.models.parts.stem_change import change_stem

        change_stem(network, _stem_of(whole_name, make))
    return network


def _check_size(whole_name: str, build: Callable[[], nn.Module], input_size: tuple[int, int]) -> None:
    """Checks that a network can be built where nothing is allocated; what fails otherwise is of this machine.

    Raises:
        InputError: It cannot.
    """
    try:
        without_memory(build)
    except Exception as error:
        size = "x".join(map(str, input_size))
        raise InputError(
            f"model {whole_name!r} cannot be built for images of {size} pixels ({in_one_line(error)}). Give another "
            "input size, such as 3x224x224, or leave the model out."
        ) from error


@cache
def _stem_of(whole_name: str, make: Make) -> Stem:
    """Finds what has to be changed of a network for its CIFAR stem, once a process; random numbers stay as they are.

    Raises:
        InputError: Its stem is none that can be changed.
    """
    from resbench.models.parts.stem_change import StemError, find_stem

    def find() -> Stem:
        network = make(whole_name.partition(":")[2], num_classes=10, in_channels=3, input_size=None)
        return find_stem(network, _own_image(network))

    try:
        return without_memory(find)
    except StemError as error:
        raise InputError(
            f"model {whole_name!r} has no stem that can be made a 'cifar' one: {error}. Take the stem 'source' for it, "
            "or leave it out."
        ) from error


def _own_image(network: nn.Module) -> tuple[int, int, int]:
    """Returns the channels, height and width that a library made a network for, as far as the network says."""
    about = getattr(network, "pretrained_cfg", None) or {}
    return about.get("input_size") or USUAL_IMAGE
