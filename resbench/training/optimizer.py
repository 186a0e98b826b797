"""What a recipe makes of a network before it trains: its optimizer and its initial weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.sgd import sgd

from resbench.recipes import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe, learning_rate: torch.Tensor) -> torch.optim.Optimizer:
    """Builds the recipe's optimizer over the parameters that are trained, one fused update a step.

    Args:
        model: Parameters that need no gradient are left out. One that gets no gradient in a step is left alone in it,
            weight decay included, as torch's default optimizers do.
        recipe: Optimizer, momentum and weight decay (applied to every trained parameter).
        learning_rate: A scalar tensor on the model's device that the loop writes to.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adam":
        on_cuda = learning_rate.device.type == "cuda"
        return torch.optim.Adam(
            trained, lr=learning_rate, weight_decay=recipe.weight_decay, fused=True, capturable=on_cuda
        )
    return FusedSGD(
        trained,
        lr=learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


class FusedSGD(torch.optim.SGD):
    """torch's fused SGD, which here takes any parameter as it lies in memory and in any step.

    On a processor torch's own copies every gradient in channels_last into the other layout, which takes longer than the
    update. And it takes momentum buffers of all parameters or of none, while a first gradient may come in any step: so
    all are made before the first. From a buffer of 0 it makes one that is the gradient, to the bit as torch does
    without one.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates the parameters that have a gradient."""
        (group,) = self.param_groups
        if group["momentum"] and not self.state:
            for parameter in group["params"]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        lists: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        for parameter in group["params"]:
            if parameter.grad is not None:
                tensors = parameter, parameter.grad, self.state.get(parameter, {}).get("momentum_buffer")
                turned = parameter.dim() == 4 and not parameter.is_contiguous()  # channels_last
                for of_kind, tensor in zip(lists, tensors, strict=True):
                    of_kind.append(tensor.permute(0, 2, 3, 1) if turned and tensor is not None else tensor)
        names = "lr", "weight_decay", "momentum", "dampening", "nesterov", "maximize"
        sgd(lists[0], lists[1], lists[2], fused=True, **{name: group[name] for name in names})


def initialise(model: nn.Module, kind: str) -> None:
    """Draws the initial weights that a recipe asks for, in place.

    Args:
        model: As its builder left it.
        kind: ``model`` (nothing to do) or ``xavier_uniform`` (convolution and linear weights).
    """
    if kind == "xavier_uniform":
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
