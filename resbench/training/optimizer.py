"""What a recipe makes of a network before it trains: its optimizer and its initial weights."""

from __future__ import annotations

import torch
from torch import nn

from resbench.recipes import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe, learning_rate: torch.Tensor) -> torch.optim.Optimizer:
    """Builds the recipe's optimizer over the parameters that are trained, one fused update a step.

    Args:
        model: Parameters that need no gradient are left out.
        recipe: Optimizer, momentum and weight decay (applied to every trained parameter).
        learning_rate: A scalar tensor on the model's device that the loop writes to.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adam":
        on_cuda = learning_rate.device.type == "cuda"
        return torch.optim.Adam(
            trained, lr=learning_rate, weight_decay=recipe.weight_decay, fused=True, capturable=on_cuda
        )
    return torch.optim.SGD(
        trained,
        lr=learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


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
