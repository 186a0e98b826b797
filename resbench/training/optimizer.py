"""What a recipe makes of a network before it trains: its optimizer and its initial weights."""

from __future__ import annotations

import torch
from torch import nn

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
    optimizer = torch.optim.SGD(
        trained,
        lr=learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    if recipe.momentum:
        optimizer.register_step_pre_hook(_make_buffers)
    return optimizer


def _make_buffers(optimizer: torch.optim.Optimizer, *arguments: object) -> None:
    """Makes every momentum buffer before the first step.

    The fused step takes buffers of all parameters or of none, and a first gradient may come in any step. From a buffer
    of 0 it makes one that is the gradient, to the bit as torch does without one.
    """
    if not optimizer.state:
        for parameter in optimizer.param_groups[0]["params"]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


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
