"""Initialisations that sources name; each is for `torch.nn.Module.apply`, which calls it with every layer."""

from __future__ import annotations

from torch import nn


def init_kaiming(module: nn.Module) -> None:
    """Kaiming-normal convolutions over their fan-out, BN with weight one and bias zero, as torchvision has it."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


def init_xavier(module: nn.Module) -> None:
    """Xavier-uniform weights of convolutions and linear layers; biases stay as they are."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
