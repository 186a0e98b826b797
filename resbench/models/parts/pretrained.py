"""Pretrained weights of torchvision's ResNet-152: where they come from, and how a network takes them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from http.client import HTTPException
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import torchvision
from torch import nn

from resbench.errors import InputError
from resbench.network import probe
from resbench.untrusted import user_path

HEAD = "fc."
"""What the names of the head's parameters begin with: they are never taken over, the head is always new."""

SHOWN = 3  # differing names or shapes in an error message
WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What the names begin with in a file of a wrapped network: DataParallel and DDP, torch.compile, Lightning."""
OPTIONAL = "num_batches_tracked"  # a batch counter that files from before torch 0.4.1 lack


class PrefixWarning(UserWarning):
    """The names in a weights file begin with a wrapper's prefix, which is left out."""


class WeightsUnavailableError(InputError):
    """Default weights are neither on disk nor can they be downloaded; the message says what to do."""


def fetch_default(on_message: Callable[[str], None]) -> None:
    """Makes sure that torchvision's default weights are on disk, whole, so that a network can start from them.

    Args:
        on_message: Told before the download, which takes a while.

    Raises:
        WeightsUnavailableError: They are not there and cannot be downloaded.
    """
    default = torchvision.models.ResNet152_Weights.DEFAULT
    place = Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(default.url).name)
    if not place.is_file():
        on_message(f"downloading torchvision's weights for resnet152 (about 230 MB, once) to {place}")
        try:
            probe(default.url)  # torch's own download waits for a silent network without end
        except (OSError, HTTPException, ValueError) as error:
            raise _unavailable(error) from error
    _download()


def pretrained_state(weights: str | Path) -> Mapping[str, torch.Tensor]:
    """Reads pretrained weights.

    Args:
        weights: ``"default"`` for torchvision's default (about 230 MB, downloaded once into torch's hub
            folder), or the path of a state-dict file, which is read without running any code in it.

    Raises:
        InputError: They cannot be downloaded, there is no such file, or it holds something else.
    """
    return _download() if weights == "default" else _read(user_path(weights))


def load_body(network: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Copies every weight and buffer but the head's from ``state`` into ``network``.

    A wrapper's prefix that all names in ``state`` have is left out if the names then are the network's, with a
    :class:`PrefixWarning`. Into a network on the meta device, which holds nothing, nothing is copied: names and shapes
    are checked.

    Raises:
        InputError: Names or shapes differ; the message holds the first few that do. Nothing was copied then.
    """
    own = network.state_dict()
    state = _without_prefix(state, own)
    given = {name: tensor for name, tensor in state.items() if not name.startswith(HEAD)}
    wanted = {name: tensor for name, tensor in own.items() if not name.startswith(HEAD)}
    differences = [
        *(f"{name} is missing" for name in wanted if name not in given and not name.endswith(OPTIONAL)),
        *(f"{name} is not expected" for name in given if name not in wanted),
        *(
            f"{name} is {_shape(given[name])} instead of {_shape(wanted[name])}"
            for name in wanted
            if name in given and given[name].shape != wanted[name].shape
        ),
    ]
    if differences:
        shown = "; ".join(islice(differences, SHOWN))
        raise InputError(
            f"the weights are not those of torchvision's resnet152 ({len(differences)} differences): {shown}."
        )
    if not any(tensor.is_meta for tensor in own.values()):
        network.load_state_dict({**own, **given})


def _without_prefix(state: Mapping[str, torch.Tensor], own: Mapping[str, Any]) -> Mapping[str, torch.Tensor]:
    """Leaves out the prefixes of wrappers, one in the other too; returns ``state`` itself unless the rest fits."""
    body = {name for name in own if not name.startswith(HEAD) and not name.endswith(OPTIONAL)}
    prefix, rest = "", state
    while not body <= rest.keys():
        wrapper = next((each for each in WRAPPERS if all(name.startswith(each) for name in rest)), None)
        if not rest or wrapper is None or any(name.startswith(wrapper) for name in own):
            return state
        prefix, rest = prefix + wrapper, {name.removeprefix(wrapper): tensor for name, tensor in rest.items()}
    if prefix:
        warnings.warn(
            f"every name in the weights file begins with {prefix!r}, as a wrapper wrote it: the network's names are "
            "those without.",
            PrefixWarning,
            stacklevel=3,
        )
    return rest


def _download() -> Mapping[str, torch.Tensor]:
    default = torchvision.models.ResNet152_Weights.DEFAULT
    try:
        return default.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except Exception as error:  # no network, a wrong hash, or a damaged file in torch's hub folder
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> WeightsUnavailableError:
    url = torchvision.models.ResNet152_Weights.DEFAULT.url
    return WeightsUnavailableError(
        f"torchvision's weights could not be downloaded from {url} ({error!r}). Fetch that file "
        "where there is a network and give its path as weights, or take weights 'random'."
    )


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(
            f"there is no weights file {str(path)!r}. Accepted: 'random', 'default', or the path of a state-dict file."
        )
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make the reader raise almost anything
        raise InputError(
            f"weights file {str(path)!r} was refused: it is damaged or holds more than tensors "
            f"({type(error).__name__}). Save a plain state dict: torch.save(model.state_dict(), path)."
        ) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and _holds_numbers(tensor) for name, tensor in state.items()
    ):
        raise InputError(
            f"weights file {str(path)!r} does not hold a state dict (names to tensors). "
            "Save one: torch.save(model.state_dict(), path)."
        )
    return state


def _holds_numbers(value: object) -> bool:
    """Says whether a value is a tensor whose numbers can be copied: not sparse, quantized or on the meta device."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and not (value.is_quantized or value.is_meta or value.is_complex())
    )


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
