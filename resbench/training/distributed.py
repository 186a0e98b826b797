"""Training one network in several processes: a pass whose gradients become the mean of all ranks'."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from resbench.errors import InputError, ModelError

Loss = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Passes images and labels through a network; returns the mean loss, and what goes to the totals."""

_UNFINISHED = "Expected to have finished reduction"
"""How torch begins a page about parameters that a pass did not use."""
_ADVICE = (
    "several devices would wait for one another's gradient of each. Remove what no pass uses, or freeze it (`resbench "
    "check` lists it), or train on one device."
)

_CONVERTED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Averaged:
    """A training pass of one rank whose gradients become the mean of all ranks' in the backward pass.

    It is torch's ``DistributedDataParallel`` around a pass of the network, and around nothing else: the network and
    its ``state_dict`` are what they are in a process alone, and a pass that is not made through this is one of this
    rank only. Gradients are of each rank's mean loss and shares are equal, so their mean is the gradient of the mean
    loss of the whole batch.

    Args:
        model: On its device. Its parameters and buffers become those of the first rank.
        loss: Passes images and labels through it.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        device = next(model.parameters()).device
        self._trained = _trained_names(model)
        # Running statistics are not sent at every step: training does not read them. Evaluation takes the first rank's.
        self._parallel = DistributedDataParallel(
            _Pass(model, loss),
            device_ids=[device.index] if device.type == "cuda" else None,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the mean loss of this rank's images, and what they add to the totals.

        Raises:
            ModelError: The pass before left a trained parameter without a gradient.
        """
        try:
            loss: tuple[torch.Tensor, torch.Tensor] = self._parallel(images, labels)
        except RuntimeError as error:
            if _UNFINISHED not in str(error):
                raise
            # torch numbers them: their places among the trained parameters.
            found = re.search(r"did not receive grad for rank \d+: ([\d ]+)", str(error))
            unused = [self._trained[int(place)] for place in found[1].split()] if found else []
            raise ModelError(_without_gradient(unused, len(self._trained))) from error
        return loss

    def apart(self) -> AbstractContextManager[object]:
        """Leaves the gradients of passes in the block as they are, to be added up on this rank."""
        return self._parallel.no_sync()


def check_gradients(model: nn.Module, loss: torch.Tensor) -> None:
    """Checks that a pass reaches every trained parameter, and leaves no gradient behind.

    Args:
        model: The network that was passed through.
        loss: What came of it.

    Raises:
        ModelError: It does not; the message names up to three of those that it leaves out.
    """
    loss.backward()
    trained = _trained_names(model)
    unused = [name for name in trained if model.get_parameter(name).grad is None]
    for name in trained:
        model.get_parameter(name).grad = None
    if unused:
        raise ModelError(_without_gradient(unused, len(trained)))


def _trained_names(model: nn.Module) -> list[str]:
    """Returns the names of the parameters that are trained, in their order."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def _without_gradient(unused: Sequence[str], trained: int) -> str:
    """Says which of the trained parameters got no gradient, and what to do; none where they are not known."""
    named = ", ".join(unused[:3]) + (", ..." if len(unused) > 3 else "")
    which = f"{len(unused)} of {trained} trained parameters get no gradient ({named})" if unused else ""
    return f"{which or 'some trained parameters got no gradient in the step before'}: {_ADVICE}"


class Own:
    """A training pass of a process alone: its gradients are what they are.

    Args:
        loss: Passes images and labels through the network.
    """

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the mean loss of the images, and what they add to the totals."""
        return self._loss(images, labels)

    def apart(self) -> AbstractContextManager[object]:
        """Changes nothing: gradients are added up anyway."""
        return nullcontext()


class _Pass(nn.Module):
    """A function of images and labels, as a module whose parameters are a network's."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Calls it."""
        return self.loss(images, labels)


def synchronise_batch_norm(model: nn.Module) -> nn.Module:
    """Returns the network with batch norm that takes its statistics of the whole batch, over all ranks.

    Its parameters, buffers and their names stay. torch has such a layer for GPUs only.

    Raises:
        InputError: It has batch norm of a kind that would be replaced by another layer.
    """
    check_batch_norm(model)
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return converted


def check_batch_norm(model: nn.Module) -> None:
    """Checks that torch can synchronise a network's batch norm.

    Raises:
        InputError: It has batch norm of a kind that does more than torch's own, and would be replaced by torch's.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, _BatchNorm) and type(layer) not in _CONVERTED:
            raise InputError(
                f"the recipe synchronises batch norm over devices, and {name or 'the network'} is a "
                f"{type(layer).__name__}, which torch would replace by a plain one. Take a recipe without "
                "sync_batch_norm for this network."
            )
