"""State that no tensor of a network holds: random generators, and attributes that are plain data.

A network may draw from torch's generators, from numpy's global one and from Python's; a seed is for all three. It may
also count steps, or switch ``requires_grad``, in its forward pass.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

_PYTHON, _NUMPY = 625, 624
"""Words of the Mersenne Twisters' states."""
_CPU = torch.device("cpu")
_OF_TORCH = frozenset(vars(nn.Module()))
"""Attributes that every module has."""


def seed_generators(seed: int) -> None:
    """Seed torch's generators on all devices, numpy's global generator and Python's.

    Args:
        seed: At least 0. numpy takes its lowest 32 bits.
    """
    torch.manual_seed(seed)
    _seed_host(seed)


def _seed_host(seed: int) -> None:
    np.random.seed(seed % 2**32)  # noqa: NPY002 (the global generator is what networks draw from)
    random.seed(seed)


def generator_state(device: torch.device = _CPU) -> dict[str, torch.Tensor]:
    """Return the state of all generators: ``torch`` uint8, ``host`` float64, with CUDA ``device`` uint8; on the CPU.

    Args:
        device: Whose generator is included.
    """
    _, python, gauss = random.getstate()
    twister: Any = np.random.get_state()  # noqa: NPY002
    _, words, place, has_gauss, cached = twister
    host = [*python, math.inf if gauss is None else gauss, *words.tolist(), place, has_gauss, cached]
    states = {"torch": torch.get_rng_state(), "host": torch.tensor(host, dtype=torch.float64, device="cpu")}
    return {**states, "device": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def load_generator_state(states: dict[str, torch.Tensor], device: torch.device = _CPU) -> None:
    """Put all generators into a state from :func:`generator_state`."""
    torch.set_rng_state(states["torch"])
    if "device" in states:
        torch.cuda.set_rng_state(states["device"], device)
    host = states["host"].tolist()
    python, gauss, numpy = host[:_PYTHON], host[_PYTHON], host[_PYTHON + 1 :]
    random.setstate((3, tuple(map(int, python)), None if math.isinf(gauss) else gauss))
    words = np.array(numpy[:_NUMPY], dtype=np.uint32)
    place, has_gauss, cached = numpy[_NUMPY:]
    np.random.set_state(("MT19937", words, int(place), int(has_gauss), cached))  # noqa: NPY002


@contextmanager
def forked_generators(device: torch.device = _CPU, *, seed: int | None = None) -> Iterator[None]:
    """Put all generators back where they were when the block ends.

    Args:
        device: Whose generator is included.
        seed: Where the block starts; None leaves the generators as they are.
    """
    states = generator_state(device)
    try:
        if seed is not None:
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                torch.cuda.manual_seed(seed)
            _seed_host(seed)
        yield
    finally:
        load_generator_state(states, device)


def same_generators(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Return whether generators that both states hold stand in the same place."""
    return all(torch.equal(one[name], other[name]) for name in one.keys() & other)


def plain_attributes(model: nn.Module) -> dict[str, Any]:
    """Return copies of all attributes of all modules that are plain data, and of every ``requires_grad``, by name.

    Plain are numbers, texts and None, and lists, tuples and dicts of them. Modes are left out.
    """
    found: dict[str, Any] = {
        f"{name}.requires_grad": parameter.requires_grad for name, parameter in model.named_parameters()
    }
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute not in _OF_TORCH and _is_plain(value):
                found[f"{name}.{attribute}"] = copy.deepcopy(value)
    return found


def load_plain_attributes(model: nn.Module, values: dict[str, Any]) -> None:
    """Put attributes back to what :func:`plain_attributes` found; what is the same is not touched, new ones go."""
    parameters, modules = dict(model.named_parameters()), dict(model.named_modules())
    now = plain_attributes(model)
    for key in values.keys() | now.keys():
        if key in values and key in now and values[key] == now[key]:
            continue
        owner, _, attribute = key.rpartition(".")
        if owner in parameters:
            parameters[owner].requires_grad_(values[key])
        elif key in values:
            modules[owner].__dict__[attribute] = copy.deepcopy(values[key])
        else:
            del modules[owner].__dict__[attribute]


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, (*value.keys(), *value.values())))
    return value is None or isinstance(value, bool | int | float | str | bytes)
