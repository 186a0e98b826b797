"""Every network learns: one batch by heart, with a gradient in every parameter that may have one."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from resbench.registry import create_model, list_models, model_entry

IMAGES = 16
CLASSES = 10
STEPS = 40
LEARNING_RATE = 1e-3


def build(name: str) -> nn.Module:
    return create_model(name, weights="random" if model_entry(name).accepts_weights else None)


def without_gradient(trainable: dict[str, nn.Parameter]) -> set[str]:
    return {name for name, value in trainable.items() if value.grad is None or not value.grad.any()}


def cancelled_by_normalisation(network: nn.Module) -> set[str]:
    """Biases that BN subtracts again right after: their exact gradient is zero."""
    layers = list(network.named_modules())
    return {
        f"{name}.bias"
        for (name, layer), (_, follower) in pairwise(layers)
        if isinstance(layer, nn.Conv2d) and isinstance(follower, nn.BatchNorm2d)
    }


SLOW = {"resnet152", "resnet152_frozen", "resnet50_nopool"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in list_models()]
)
def test_overfits_one_batch_of_random_images(name):
    torch.manual_seed(0)
    network = build(name).train()
    images = torch.randn(IMAGES, 3, 32, 32)
    labels = torch.randint(CLASSES, (IMAGES,))
    trainable = {key: value for key, value in network.named_parameters() if value.requires_grad}
    optimizer = torch.optim.Adam(trainable.values(), lr=LEARNING_RATE)
    for step in range(STEPS):
        logits = network(images)
        if (logits.argmax(1) == labels).all():
            break
        optimizer.zero_grad()
        cross_entropy(logits, labels).backward()
        if step == 0:
            assert without_gradient(trainable) - cancelled_by_normalisation(network) == set()
        optimizer.step()
    else:
        pytest.fail(f"{name} did not learn {IMAGES} images by heart in {STEPS} steps")
    assert step > 0


def test_only_the_new_head_of_the_frozen_network_learns():
    network = build("resnet152_frozen")
    learning = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert learning == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("name", [name for name in list_models() if name != "resnet152_frozen"])
def test_every_parameter_of_the_other_networks_learns(name):
    assert all(parameter.requires_grad for parameter in build(name).parameters())
