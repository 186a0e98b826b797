"""A frozen network taken apart: the backbone, whose features may be computed once, and the head that is trained.

The features of an image stand for the image only where they are the same each time: whatever its batch is, in training
as in evaluation, without a random number and without leaving anything behind. Batch norm and dropout are known by their
type; of all else it is tried on real images. What is in doubt is refused.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from resbench.devices import is_out_of_memory
from resbench.errors import in_one_line
from resbench.host_state import forked_generators, generator_state, same_generators
from resbench.schema import EngineSettings
from resbench.training.forward import forward_pass
from resbench.training.frozen import frozen_batch_norms, possible_heads, train_mode

PROBED_IMAGES = 16
"""Images that a network is tried on."""
_ROUNDING = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 5e-2}
"""By how much of the largest feature two features that are the same may differ: other batches, other kernels."""


class UnfitError(Exception):
    """Why the features of a network cannot stand for its images."""


@dataclass(frozen=True)
class Backbone:
    """A network without its head."""

    network: nn.Module
    """In eval mode. It shares every tensor with the whole network, and returns what the head gets."""
    head: nn.Module
    """The whole network's own."""
    feature_shape: tuple[int, ...]
    """Of one image."""


def find_backbone(
    model: nn.Module, frozen_batch_norm: str, images: torch.Tensor, settings: EngineSettings
) -> tuple[Backbone | None, str | None]:
    """Takes a network apart where its features may be computed once.

    Args:
        model: On the device; left in train mode and otherwise as it is, generators too.
        frozen_batch_norm: The recipe's.
        images: float32 [N, C, H, W]: a few real images as the network sees them.
        settings: The engine's.

    Returns:
        The backbone, or None; and why there is none, where the network has a frozen one.
    """
    train_mode(model, frozen_batch_norm)
    reason = None
    for name, head in possible_heads(model):
        try:
            return _part(model, name, head, images[:PROBED_IMAGES], settings), None
        except UnfitError as error:
            reason = reason or str(error)
    return None, reason


def _part(model: nn.Module, name: str, head: nn.Module, images: torch.Tensor, settings: EngineSettings) -> Backbone:
    """Parts a network at one module.

    Raises:
        UnfitError: Its features cannot stand for its images.
    """
    _check_known_layers(model, head)
    before = {key: value.clone() for key, value in model.named_buffers()}
    try:
        with forked_generators(images.device), torch.no_grad():
            _check_place(model, name, head, images, settings)
            # Every tensor is known to the copy already, and so is what stands where the head was.
            shared: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
            network = copy.deepcopy(model, {**shared, id(head): nn.Identity()})
            features = _check_features(network, images, settings)
    except UnfitError:
        raise
    except Exception as error:  # networks can be written in as many ways as fail here
        if is_out_of_memory(error):
            raise
        raise UnfitError(f"the backbone does not run without its head {name!r} ({in_one_line(error)})") from error
    finally:
        own = {id(buffer) for buffer in head.buffers()}
        beside = [(key, value) for key, value in model.named_buffers() if id(value) not in own]
        changed = [key for key, value in beside if not torch.equal(value, before[key])]
        for key, value in model.named_buffers():
            value.copy_(before[key])
    if changed:
        raise UnfitError(f"training moves {changed[0]!r} of the backbone")
    return Backbone(network.eval(), head, tuple(features.shape[1:]))


def _check_known_layers(model: nn.Module, head: nn.Module) -> None:
    """Checks batch norm and dropout of the backbone, which is in train mode.

    Raises:
        UnfitError: One of them makes features depend on the batch, or on chance.
    """
    of_head = {id(module) for module in head.modules()}
    for name, module in model.named_modules():
        if id(module) in of_head:
            continue
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            raise UnfitError(f"batch norm of the backbone ({name}) normalises by its batch")
        if isinstance(module, _DropoutNd) and module.p > 0:
            raise UnfitError(f"dropout of the backbone ({name}) is active")
    alone = {id(layer) for layer in frozen_batch_norms(head)}
    if alone != {id(layer) for layer in frozen_batch_norms(model)} & of_head:
        raise UnfitError("batch norm of the head goes with the backbone")


def _check_place(model: nn.Module, name: str, head: nn.Module, images: torch.Tensor, settings: EngineSettings) -> None:
    """Checks that the head is called once, with one tensor, and that the network returns what it returns.

    Raises:
        UnfitError: It is not so.
    """
    calls: list[tuple[tuple[Any, ...], dict[str, Any], Any]] = []
    returned: list[Any] = []
    hooks = [
        head.register_forward_hook(lambda _, args, more, output: calls.append((args, more, output)), with_kwargs=True),
        model.register_forward_hook(lambda _, args, output: returned.append(output)),
    ]
    try:
        forward_pass(model, images, settings)
    finally:
        for hook in hooks:
            hook.remove()
    fits = len(calls) == 1 and len(calls[0][0]) == 1 and not calls[0][1] and torch.is_tensor(calls[0][0][0])
    if not fits or calls[0][2] is not returned[0] or calls[0][0][0].shape[:1] != images.shape[:1]:
        raise UnfitError(f"the output of the head {name!r} is not the network's")


def _check_features(network: nn.Module, images: torch.Tensor, settings: EngineSettings) -> torch.Tensor:
    """Checks that features are the same each time, and returns those of the images.

    Raises:
        UnfitError: They are not.
    """
    generators = generator_state(images.device)
    features = forward_pass(network, images, settings)
    _check_nothing_drawn(generators, images.device)
    half = max(1, len(images) // 2)
    in_another_batch = forward_pass(network, images[:half].flip(0), settings).flip(0)
    _check_same(in_another_batch, features[:half], settings, "the features of an image depend on its batch")
    network.eval()
    evaluated = forward_pass(network, images, settings)
    _check_nothing_drawn(generators, images.device)
    _check_same(evaluated, features, settings, "the backbone does something else in training than in evaluation")
    return features


def _check_same(left: torch.Tensor, right: torch.Tensor, settings: EngineSettings, otherwise: str) -> None:
    """Raises an :class:`UnfitError` where two features differ by more than rounding, or are no numbers."""
    allowed = _ROUNDING[settings.precision] * float(right.abs().max())
    if left.shape != right.shape or not float((left - right).abs().max()) <= allowed:
        raise UnfitError(otherwise)


def _check_nothing_drawn(generators: dict[str, torch.Tensor], device: torch.device) -> None:
    """Raises an :class:`UnfitError` where generators stand elsewhere than they did."""
    if not same_generators(generators, generator_state(device)):
        raise UnfitError("the backbone draws random numbers")
