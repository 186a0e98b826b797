"""The networks this suite knows, by name.

The registry is one dict of networks; those of a library (`resbench.libraries`) are looked up when they are asked for:
``timm:resnet50`` is resnet50 of the library timm. The project's own networks enter when the registry is first
asked. Only building a network, or asking for a library's, imports torch.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from natsort import natsorted

from resbench.errors import DuplicateModelError, InputError, ModelError, unknown
from resbench.libraries import library_entry, library_models, library_prefixes, split_name
from resbench.origins import Fault, Origin, collected_faults, is_importing, note_fault, origin_of

if TYPE_CHECKING:
    import torch

STEMS = ("source", "cifar")
"""How a network may begin: as its source has it, or with a 3x3 stride-1 convolution and no max-pool."""

LONGEST_NAME = 100
"""Characters of a model's name."""

_IS_LAZY = "_initialize_hook"
"""What torch's lazy layers have until their first pass."""

_REQUIRED_KEYWORDS = {"num_classes", "in_channels", "stem"}
_OPTIONAL_KEYWORDS = {"input_size", "weights"}

Builder = Callable[..., "torch.nn.Module"]
_B = TypeVar("_B", bound=Builder)
_T = TypeVar("_T")


@dataclass(frozen=True)
class ModelEntry:
    """One registered network."""

    name: str
    """What `create_model` takes."""
    source: str
    """Title of where the network comes from."""
    summary: str
    """One line on what it is; empty where neither a summary nor a docstring was given."""
    builder: Builder
    """Called with keywords only: num_classes, in_channels, stem, and the two below where it takes them."""
    accepts_input_size: bool = False
    """Whether the builder is told the size of the images, since the network's layers depend on it or may."""
    accepts_weights: bool = False
    """Whether the network can start from given weights."""
    default_weights: str = "random"
    """What it starts from where none are given: ``"random"`` or ``"default"`` (downloaded)."""
    stems: tuple[str, ...] = STEMS
    """How it may begin, as far as that is known before the network is looked at."""
    look_at_stem: Callable[[], object] | None = None
    """Raises `InputError` where the network, once it is looked at, turns out to have no ``cifar`` stem."""
    origin: Origin | None = None
    """Where it was registered, if not by resbench."""


_ENTRIES: dict[str, ModelEntry] = {}


def register_model(
    name: str, *, source: str, summary: str | None = None, default_weights: str = "random"
) -> Callable[[_B], _B]:
    """Registers the builder it decorates; the builder itself stays as it is.

    Args:
        name: The name to register under, taken as it is written.
        source: Title of where the network comes from.
        summary: One line on what it is; by default the first line of the builder's docstring.
        default_weights: What the network starts from where no weights are given.

    Returns:
        The decorator. It takes a function with the keywords ``num_classes``, ``in_channels`` and ``stem``,
        and ``input_size`` or ``weights`` where the network has a use for them.

    Raises:
        DuplicateModelError: The name is taken, be it by a network of this project.
        InputError: The builder cannot be called with those keywords, or the name has a colon or is one that could
            not be given to a command, shown or told from a wildcard.

    Where resbench imports the code (``--import``, an entry point) these become faults that it reports with file and
    line, and what else the code registers is there.
    """

    def register(builder: _B) -> _B:
        origin = origin_of(sys._getframe(1))
        try:
            enter(builder, origin)
        except InputError as error:
            if not is_importing():
                raise
            note_fault(Fault(str(origin), str(error)))
        return builder

    def enter(builder: _B, origin: Origin | None) -> None:
        _load_models()
        if name in _ENTRIES:
            raise DuplicateModelError(
                f"model {name!r} is already registered (from {_ENTRIES[name].source!r}): choose another name."
            )
        if ":" in name:
            raise InputError(f"the model name {name!r} has a colon, which ends a library's name: leave it out.")
        if not (name[:1].isalnum() and name.isprintable() and len(name) <= LONGEST_NAME) or set(name) & set(",*?["):
            raise InputError(
                f"the model name {name!r} cannot be used. It begins with a letter or a digit, has at most "
                f"{LONGEST_NAME} printable characters, and none of , * ? [ among them."
            )
        optional = _OPTIONAL_KEYWORDS & set(inspect.signature(builder).parameters)
        _check_callable(name, builder, _REQUIRED_KEYWORDS | optional)
        _ENTRIES[name] = ModelEntry(
            name=name,
            source=source,
            summary=summary or (inspect.getdoc(builder) or "").partition("\n")[0],
            builder=builder,
            accepts_input_size="input_size" in optional,
            accepts_weights="weights" in optional,
            default_weights=default_weights,
            origin=origin,
        )

    return register


def list_models(pattern: str = "*") -> list[str]:
    """Names of the networks that match a wildcard pattern, in natural order.

    ``"*"`` is the registry alone: a library's networks are asked for with its prefix, as ``"timm:resnet*"`` or
    ``"torchvision:*"``, and listed by their whole names. Nothing is built; the library is imported.

    Args:
        pattern: Shell wildcards (``*``, ``?``, ``[ab]``), case-sensitive. No match gives an empty list.

    Raises:
        InputError: The pattern is for a library that is not installed.
    """
    _load_models()
    prefix, pattern_there = split_name(pattern)
    if prefix:
        return library_models(prefix, pattern_there)
    return natsorted(name for name in _ENTRIES if fnmatchcase(name, pattern))


def model_entry(name: str) -> ModelEntry:
    """The entry for one network.

    Args:
        name: A name from `list_models`: one of the registry, or ``LIBRARY:NAME`` for any network of a library, such as
            ``timm:resnet50`` or ``torchvision:densenet121``.

    Raises:
        InputError: No network has this name (the message holds the nearest names), or its library is not
            installed.
    """
    _load_models()
    prefix, name_there = split_name(name)
    if prefix:
        return library_entry(prefix, name_there)
    if name not in _ENTRIES:
        raise unknown("model", name, [*list_models(), *(f"{library}:NAME" for library in library_prefixes())])
    return _ENTRIES[name]


def create_model(
    name: str,
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    stem: str = "source",
    input_size: tuple[int, int] = (32, 32),
    weights: str | Path | None = None,
) -> torch.nn.Module:
    """Builds a registered network, in training mode, on torch's current default device.

    Args:
        name: A name that `model_entry` takes.
        num_classes: Width of the logits.
        in_channels: Channels of the images.
        stem: ``"source"`` or ``"cifar"``, see `STEMS`.
        input_size: Height and width of the images in pixels. Of the registry only `cnn` depends on it; of a library
            those whose layers are made for one size (vision transformers and their like) are built for this one.
        weights: Where the network starts from, for networks whose entry says ``accepts_weights``:
            ``"random"``, ``"default"`` (downloaded) or a state-dict file. None is the network's own default.

    Returns:
        A network from images (N, in_channels, height, width) to logits (N, num_classes).

    Lazy layers (``nn.LazyConv2d``) are initialised by a pass over two images, from generators as the builder leaves
    them.

    Raises:
        InputError: An unknown name or stem, a stem the network does not come with, a number below 1, an input size
            that it cannot be built for, or weights for a network that takes none.
        ModelError: The builder returned something that is no ``torch.nn.Module``, or no pass reaches a lazy layer.
    """
    entry = model_entry(name)
    check_stem(entry, stem)
    _check_at_least_one("num_classes", num_classes)
    _check_at_least_one("in_channels", in_channels)
    height, width = input_size
    _check_at_least_one("input height", height)
    _check_at_least_one("input width", width)
    if weights is not None and not entry.accepts_weights:
        takers = natsorted(other.name for other in _ENTRIES.values() if other.accepts_weights)
        raise InputError(f"model {name!r} takes no weights; those that do: {', '.join(takers)}.")

    optional: dict[str, Any] = {}
    if entry.accepts_input_size:
        optional["input_size"] = (height, width)
    if entry.accepts_weights:
        optional["weights"] = weights
    network = entry.builder(num_classes=num_classes, in_channels=in_channels, stem=stem, **optional)
    from torch import nn

    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{described(entry)} is no network: its builder returned {type(network).__name__!r}, and a torch.nn.Module "
            "is wanted."
        )
    _initialise_lazy_layers(network, entry, (in_channels, height, width))
    return network


def _initialise_lazy_layers(network: torch.nn.Module, entry: ModelEntry, shape: tuple[int, int, int]) -> None:
    """Gives lazy layers their shapes and weights; statistics of batch norm do not move."""
    import torch
    from torch.nn.modules.batchnorm import _NormBase
    from torch.nn.modules.lazy import LazyModuleMixin

    def lazy() -> list[str]:
        layers = network.named_modules()
        return [name for name, layer in layers if isinstance(layer, LazyModuleMixin) and hasattr(layer, _IS_LAZY)]

    if not lazy():
        return
    for training in (True, False):  # a layer may be used in one mode only
        network.train(training)
        for layer in network.modules():
            if isinstance(layer, _NormBase):
                layer.eval()
        with torch.no_grad():
            network(torch.zeros(2, *shape, device=next(network.parameters()).device))
        left = lazy()
        if not left:
            break
    else:
        raise ModelError(
            f"{described(entry)}: no pass reaches the lazy {'layers' if left[1:] else 'layer'} {', '.join(left)}, so "
            f"{'their shapes are' if left[1:] else 'its shape is'} unknown. Remove what no pass uses."
        )
    network.train()


def without_memory(work: Callable[[], _T]) -> _T:
    """Calls what builds networks on the meta device, or on the CPU if that needs real tensors; no generator moves.

    Args:
        work: Raises what does not depend on the device from either.
    """
    import torch

    from resbench.host_state import forked_generators

    with forked_generators():
        try:
            with torch.device("meta"):
                return work()
        except Exception as error:
            if "meta" not in str(error).lower():  # as all that torch says of a tensor without numbers
                raise
        return work()


def described(entry: ModelEntry) -> str:
    """Returns what to call a network in a message about its code: with file and line where it is a user's."""
    return f"model {entry.name!r}" + (f" ({entry.origin})" if entry.origin else "")


def faults() -> list[Fault]:
    """Returns what went wrong in this process where a user's code was imported, in that order."""
    _load_models()
    return collected_faults()


def registrations() -> int:
    """Returns how many networks and libraries are registered."""
    return len(_ENTRIES) + len(library_prefixes())


def check_stem(entry: ModelEntry, stem: str) -> None:
    """Checks that a network comes with a stem.

    A library's network is looked at for it, on the meta device: that takes tenths of a second, once a process.

    Raises:
        InputError: It does not (the message says why, and what to do), or there is no such stem.
    """
    if stem not in STEMS:
        raise unknown("stem", stem, STEMS)
    if stem not in entry.stems:
        stems = " or ".join(entry.stems)
        raise InputError(f"only the {stems} stem is available for model {entry.name!r}, not {stem!r}.")
    if stem == "cifar" and entry.look_at_stem is not None:
        entry.look_at_stem()


def _load_models() -> None:
    """Registers the project's networks and those of installed packages, the first time; later calls are free."""
    importlib.import_module("resbench.models")
    importlib.import_module("resbench.plugins").load_installed()


def _check_callable(name: str, builder: Builder, keywords: set[str]) -> None:
    try:
        inspect.signature(builder).bind(**dict.fromkeys(sorted(keywords)))
    except TypeError as error:
        raise InputError(
            f"the builder of model {name!r} must take the keywords {', '.join(sorted(keywords))} "
            f"and need no others: {error}."
        ) from error


def _check_at_least_one(what: str, value: int) -> None:
    if not isinstance(value, int) or value < 1:
        raise InputError(f"{what} is {value!r}; it must be a whole number of at least 1.")
