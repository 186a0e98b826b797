"""What gradients reach in a network, and which parameters change its logits at all."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from resbench.audit.words import apart
from resbench.data.pipeline import Batch
from resbench.host_state import forked_generators

CANCELLED = 1e-4
"""The largest gradient of a bias over that of its weight, below which it is rounding: others are about as large."""
ROUNDING = 1e-4
"""Relative change of logits up to which it may be rounding."""


@dataclass(frozen=True)
class Reach:
    """Names of parameters, those that stand under several names once."""

    trained: list[str]
    """Those that require a gradient."""
    frozen: list[str]
    without: list[str]
    """Trained ones that change the logits and get no gradient: something on the way to them detaches."""
    zero: list[str]
    """Trained ones that change the logits of training and whose gradient is 0 throughout."""
    not_finite: list[str]
    """Trained ones whose gradient is infinite or not a number in some step."""
    cancelled: list[str]
    """Trained ones whose gradient is nothing but rounding beside that of the same module's weight."""
    unused: list[str]
    """Trained ones that change no logit."""
    unused_frozen: list[str]


def measure_reach(build: Callable[[], nn.Module], batches: Sequence[Batch], rate: float) -> Reach:
    """Trains a network for a few steps and looks at the gradients of every parameter.

    One step is not enough: where the last batch norm of a residual branch starts at 0, as it should, everything before
    it in the branch has a gradient of 0 in the first step. So a parameter counts as reached where any step gives it a
    gradient with a number other than 0; its value does not count. A bias before batch norm, which cancels it, may have
    none. Frozen ones are looked at in a second network, whose
    every parameter is trained. Those that no gradient reaches are changed one at a time: either a logit changes too, or
    they are not used.

    Args:
        build: Makes the network, the same each time; its logits carry a gradient.
        batches: Images and labels, one batch a step.
        rate: Learning rate of the steps; plain SGD.
    """
    network = build()
    named = dict(network.named_parameters())
    trained = [name for name, parameter in named.items() if parameter.requires_grad]
    frozen = [name for name, parameter in named.items() if not parameter.requires_grad]
    got = _gradients(network, batches, rate)
    silent = [name for name in trained if not got.get(name)]
    used = _used(network, silent, batches[0][0])
    thawed = build() if frozen else network
    reached: dict[str, float] = {}
    if frozen:
        for parameter in thawed.parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_(True)
        reached = _gradients(thawed, batches, rate)
    still = [name for name in frozen if not reached.get(name)]
    used_frozen = _used(thawed, still, batches[0][0])
    return Reach(
        trained=trained,
        frozen=frozen,
        without=[name for name in silent if name in used and name not in got],
        zero=[name for name in silent if name in got and used.get(name)],
        not_finite=[name for name in trained if math.isinf(got.get(name, 0.0))],
        cancelled=[name for name in trained if _is_rounding(name, got)],
        unused=[name for name in silent if name not in used],
        unused_frozen=[name for name in still if name not in used_frozen],
    )


def _is_rounding(name: str, got: dict[str, float]) -> bool:
    """Returns whether a bias's gradient is too small beside that of its weight to be one: batch norm cancels it."""
    layer, _, kind = name.rpartition(".")
    return kind == "bias" and 0 < got.get(name, 0.0) < CANCELLED * got.get(f"{layer}.weight".lstrip("."), 0.0)


def _gradients(network: nn.Module, batches: Sequence[Batch], rate: float) -> dict[str, float]:
    """Returns the largest number of every gradient in any step.

    One that is not finite is infinite here, and the last step is the one in which there is any.
    """
    got: dict[str, float] = {}
    network.train()
    with forked_generators(seed=0):
        for images, labels in batches:
            network.zero_grad(set_to_none=True)
            loss = F.cross_entropy(network(images).float(), labels)
            loss.backward()
            received = {name: one for name, one in network.named_parameters() if one.grad is not None and one.numel()}
            for name, parameter in received.items():
                largest = float(parameter.grad.abs().max())  # type: ignore[union-attr]
                got[name] = max(got.get(name, 0.0), largest if math.isfinite(largest) else math.inf)
            if math.inf in got.values():
                break
            with torch.no_grad():
                for parameter in received.values():
                    parameter.sub_(rate * parameter.grad)  # type: ignore[operator]
    network.zero_grad(set_to_none=True)
    return got


def _used(network: nn.Module, names: Sequence[str], images: torch.Tensor) -> dict[str, bool]:
    """Returns the parameters of these that change a logit when they are changed, and whether they do in training."""
    if not names:
        return {}
    named = dict(network.named_parameters())
    generator = torch.Generator().manual_seed(0)

    def noise(like: torch.Tensor) -> torch.Tensor:
        drawn = torch.randn(like.shape, generator=generator) if like.is_floating_point() else torch.ones_like(like)
        return drawn.to(like.dtype)

    # All of them are moved first: a gamma that stays at 0 would hide everything before it.
    _set(network, {name: named[name].detach() + noise(named[name]) for name in names})
    state = copy.deepcopy(network.state_dict())

    def logits(training: bool, changed: dict[str, torch.Tensor]) -> torch.Tensor:
        network.load_state_dict(state, strict=False)
        _set(network, changed)
        with torch.no_grad(), forked_generators(seed=0):
            return network.train(training)(images).float()

    before = {training: logits(training, {}) for training in (True, False)}
    used: dict[str, bool] = {}
    for name in names:
        was = named[name].detach().clone()
        changed = {name: was + noise(was)}
        in_training = apart(logits(True, changed), before[True]) > ROUNDING
        if in_training or not torch.equal(logits(False, changed), before[False]):
            used[name] = in_training
        _set(network, {name: was})
    return used


@torch.no_grad()
def _set(network: nn.Module, values: dict[str, torch.Tensor]) -> None:
    """Writes values into parameters."""
    named = dict(network.named_parameters())
    for name, value in values.items():
        named[name].copy_(value)
