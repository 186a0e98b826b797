"""Engines around a network that takes no time, and what tests compare of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from resbench.data.pipeline import Batch
from resbench.devices import CpuDevice, Device
from resbench.recipes import Constant, Recipe, get_recipe
from resbench.schema import EngineSettings
from resbench.training.engine import Engine, Totals

CLASSES, BATCH = 5, 8
CPU = EngineSettings("cpu", "fp32")
GRAPH = dataclasses.replace(CPU, cuda_graph=True)
COMPILED = dataclasses.replace(CPU, compile=True)
SGD = Recipe(
    name="sgd",
    source="test",
    batch_size=BATCH,
    budget="1ep",
    optimizer="sgd",
    learning_rate=0.1,
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    schedule=Constant(),
    label_smoothing=0.1,
)
PLAIN_SGD = dataclasses.replace(SGD, momentum=0.0, nesterov=False, weight_decay=0.0, label_smoothing=0.0)
ADAM = dataclasses.replace(SGD, optimizer="adam", momentum=0.0, nesterov=False, weight_decay=1e-3)
RECIPES = {"sgd-nesterov": SGD, "plain-sgd": PLAIN_SGD, "adam": ADAM}
LEARNING_RATES = [0.05, 0.1, 0.02, 0.0, 0.01, 0.03]


def network(*, dropout: float = 0.0, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),  # a bias before BN has gradient 0, and Adam blows its noise up
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, CLASSES),
    )


def batch(seed: int = 0, count: int = BATCH) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 6, 6, generator=generator).contiguous(memory_format=torch.channels_last)
    return images, torch.randint(CLASSES, (count,), generator=generator)


def new_slots(count: int = 1) -> list[Batch]:
    """Tensors for batches to arrive in, full of what no test trains on."""
    return [batch(1000 + number) for number in range(count)]


def make_engine(
    recipe: Recipe = SGD,
    settings: EngineSettings = CPU,
    *,
    dropout: float = 0.5,
    seed: int = 0,
    slots: Sequence[Batch] = (),
    device: Device | None = None,
) -> Engine:
    return Engine(network(dropout=dropout, seed=seed), recipe, settings, slots=slots, device=device)


class RecordingDevice(CpuDevice):
    """A processor that notes which of its recordings are replayed; they are numbered from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded = 0
        self.replayed: list[int] = []

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        number = self.recorded
        self.recorded += 1

        def replay() -> object:
            self.replayed.append(number)
            return work()

        return replay


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def optimizer_tensors(engine: Engine) -> dict[str, torch.Tensor]:
    """Copies of momentum, moments and step counts, in the order of the parameters."""
    states = (engine.optimizer.state.get(parameter, {}) for parameter in engine.model.parameters())
    return {
        f"{number} {name}": value.clone()
        for number, of in enumerate(states)
        for name, value in of.items()
        if torch.is_tensor(value)
    }


def train(engine: Engine, steps: int = 6, *, first: int = 0) -> None:
    """Takes steps on batches that come in the engine's slots, where it has some."""
    engine.model.train()
    for step in range(first, first + steps):
        arrived = batch(step)
        if engine.slots:
            slot = engine.slots[step % len(engine.slots)]
            for tensor, value in zip(slot, arrived, strict=True):
                tensor.copy_(value)
            arrived = slot
        engine.set_learning_rate(LEARNING_RATES[step % len(LEARNING_RATES)])
        engine.train_step(*arrived)


def ended(engine: Engine) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], Totals]:
    """What a training ended with: weights and statistics, the optimizer's state, the totals."""
    return snapshot(engine.model), optimizer_tensors(engine), engine.read_totals()


def assert_same_end(first: Any, second: Any) -> None:
    """Compares two of :func:`ended` to the bit."""
    assert same(first[0], second[0])
    assert same(first[1], second[1])
    assert first[2] == second[2]


class Residual(nn.Module):
    """One of each layer that the networks of the suite are made of, on 3x8x8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(4)
        self.head = nn.Linear(8 * 2 * 2, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem_norm(self.stem(images)))
        x = torch.relu(x + self.norm(self.conv(x)))
        return self.head(self.pool(x).flatten(1))


COMMON = get_recipe("common")
STEPS, STEP_BATCH = 50, 32


def residual_engine(settings: EngineSettings, *, warm: bool = True) -> Engine:
    """An engine with two slots as a trial has it: warmed up and recorded, or as it was made."""
    slots = [task(number) for number in (1001, 1002)]
    torch.manual_seed(0)
    engine = Engine(Residual(), COMMON, settings, slots=slots)
    if warm:
        engine.warm_up(*slots[0])
        engine.capture()
    return engine


def task(seed: int) -> Batch:
    """Noise in which the class is how bright a channel is, so that there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (STEP_BATCH,), generator=generator)
    images = torch.randn(STEP_BATCH, 3, 8, 8, generator=generator)
    images[:, 0] += labels[:, None, None] - CLASSES / 2
    return images.contiguous(memory_format=torch.channels_last), labels


def losses_of_a_short_run(engine: Engine) -> list[float]:
    """The loss of each of 50 steps of the recipe ``common``, and that of an evaluation after them."""
    losses = []
    engine.model.train()
    for step in range(STEPS):
        images, labels = engine.slots[step % 2]
        for tensor, value in zip((images, labels), task(step), strict=True):
            tensor.copy_(value)
        engine.set_learning_rate(COMMON.peak_learning_rate(STEP_BATCH) * COMMON.schedule(step / STEPS))
        engine.train_step(images, labels)
        losses.append(engine.read_totals().mean_loss)
    engine.model.eval()
    engine.eval_step(*engine.slots[0])
    return [*losses, engine.read_totals().mean_loss]
