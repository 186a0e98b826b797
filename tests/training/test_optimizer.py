"""Steps in which some parameters get no gradient: what torch's default optimizers do, to the bit where they can be."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_engines import ADAM, CPU, GRAPH, PLAIN_SGD, SGD
from torch import nn

from resbench.errors import ModelError
from resbench.host_state import seed_generators
from resbench.recipes import Recipe
from resbench.training.engine import Engine
from resbench.training.state import engine_state, load_engine_state

WIDTH = 16
"""Every parameter has a multiple of as many numbers: the rest of a vector is rounded otherwise by fused steps."""
RATES = [0.125, 0.0625, 0.25]
STEPS = 12
MOMENTUM = dataclasses.replace(SGD, nesterov=False)
RECIPES = {"nesterov": SGD, "momentum": MOMENTUM, "plain": PLAIN_SGD, "adam": ADAM}


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1), nn.BatchNorm2d(WIDTH), nn.ReLU()) for _ in range(3)
        )
        self.head = nn.Linear(WIDTH, WIDTH)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.stem(images)
        return self.head((self.body(x) if self.training else x).mean((2, 3)))


class LeftOut(Blocks):
    """Stochastic depth: blocks are left out at random."""

    def body(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            if random.random() < 0.4:
                x = x + block(x)
        return x


class OneOf(Blocks):
    """A search: one candidate operation a step."""

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks[np.random.randint(3)](x)  # noqa: NPY002


class Unfreezing(Blocks):
    """A further block is trained each three steps."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def body(self, x: torch.Tensor) -> torch.Tensor:
        self.steps += 1
        for place, block in enumerate(self.blocks):
            block.requires_grad_(self.steps > 3 * place)
            x = block(x)
        return x


NETWORKS = [LeftOut, OneOf, Unfreezing]


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(8, 3, 6, 6, generator=generator), torch.randint(WIDTH, (8,), generator=generator)


def built(network: type[Blocks], seed: int = 0) -> Blocks:
    seed_generators(seed)
    return network()


def plain(network: type[Blocks], recipe: Recipe, make: Callable[..., torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """What a loop over torch's own optimizer gives."""
    model = built(network).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make(model.parameters(), lr=0.0, weight_decay=recipe.weight_decay)
    for step in range(STEPS):
        images, labels = batch(step)
        optimizer.param_groups[0]["lr"] = RATES[step % 3]
        logits = model(images.contiguous(memory_format=torch.channels_last))
        F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.state_dict()


def torchs_default(recipe: Recipe) -> Callable[..., torch.optim.Optimizer]:
    def make(parameters: Any, **more: Any) -> torch.optim.Optimizer:
        if recipe.optimizer == "adam":
            return torch.optim.Adam(parameters, fused=True, **more)
        return torch.optim.SGD(parameters, momentum=recipe.momentum, nesterov=recipe.nesterov, **more)

    return make


def engine_of(network: type[Blocks], recipe: Recipe, seed: int = 0, **more: Any) -> Engine:
    return Engine(built(network, seed), recipe, CPU, **more)


def train(engine: Engine, first: int = 0, last: int = STEPS) -> None:
    engine.train_mode()
    for step in range(first, last):
        engine.set_learning_rate(RATES[step % 3])
        engine.train_step(*batch(step))


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
class TestParametersWithoutAGradient:
    def test_steps_are_torchs(self, network, recipe):
        engine = engine_of(network, recipe)
        train(engine)
        assert engine.optimizer.defaults["fused"]
        assert_same(engine.model.state_dict(), plain(network, recipe, torchs_default(recipe)))

    def test_a_warm_up_changes_nothing(self, network, recipe):
        engine = engine_of(network, recipe)
        engine.warm_up(*batch(99))
        train(engine)
        assert_same(engine.model.state_dict(), plain(network, recipe, torchs_default(recipe)))

    def test_a_restart_begins_as_a_new_network_does(self, network, recipe):
        engine = engine_of(network, recipe)
        train(engine, last=7)
        engine.restart(copy.deepcopy(built(network).state_dict()))
        train(engine)
        assert_same(engine.model.state_dict(), plain(network, recipe, torchs_default(recipe)))

    @pytest.mark.parametrize("at", [0, 1, 5])
    @pytest.mark.parametrize("warm", [False, True])
    def test_a_checkpoint_goes_on_with_the_same_bits(self, network, recipe, at, warm):
        first = engine_of(network, recipe)
        train(first, last=at)
        state = engine_state(first)
        second = engine_of(network, recipe, seed=1)
        if warm:
            second.warm_up(*batch(99))
        load_engine_state(second, state)
        train(second, first=at)
        assert_same(second.model.state_dict(), plain(network, recipe, torchs_default(recipe)))


@pytest.mark.parametrize("network", NETWORKS)
def test_what_changes_in_python_is_not_recorded(network):
    engine = Engine(built(network), SGD, GRAPH, slots=[batch(99)])
    engine.warm_up(*engine.slots[0])
    engine.capture()
    assert not engine.cuda_graph
    assert "the network draws or counts in Python" in engine.fallbacks[0]
    train(engine)
    assert_same(engine.model.state_dict(), plain(network, SGD, torchs_default(SGD)))


def test_what_was_built_frozen_is_not_unfrozen_without_a_word():
    class Frozen(Unfreezing):
        def __init__(self) -> None:
            super().__init__()
            self.blocks[1:].requires_grad_(False)

    engine = engine_of(Frozen, SGD)
    train(engine, last=3)
    engine.check_frozen()
    train(engine, first=3, last=4)
    with pytest.raises(ModelError, match=r"has unfrozen blocks.1.0.weight, blocks.1.0.bias, blocks.1.1.weight in"):
        engine.check_frozen()


def test_a_parameter_that_is_never_used_is_as_it_was_drawn():
    class Unused(LeftOut):
        def __init__(self) -> None:
            super().__init__()
            self.idle = nn.Parameter(torch.ones(WIDTH))

    engine = engine_of(Unused, SGD)  # its weight decay would shrink it
    train(engine)
    assert torch.equal(engine.model.idle, torch.ones(WIDTH))
