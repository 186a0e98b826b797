"""Jobs for processes that train together on GPUs: functions at module level of a module that a child can import."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from resbench.data.pipeline import Batch
from resbench.executors.ranks import run_ranks
from resbench.ranks import ALONE, Ranks, device_of, joined
from resbench.recipes import get_recipe
from resbench.schema import EngineSettings
from resbench.training.distributed import Averaged
from resbench.training.engine import Engine

Emit = Callable[[str, dict[str, Any]], None]
BATCH, CLASSES, STEPS = 32, 5, 3
RECIPE = get_recipe("common_sync_bn")


def network() -> nn.Module:
    """A network with batch norm."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(16 * 16, CLASSES),
    )


def batch(step: int, ranks: Ranks, device: str) -> Batch:
    """A rank's share of a batch of noise."""
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(BATCH, 3, 16, 16, generator=generator)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    mine = ranks.window(0, BATCH)
    return images[mine].to(device, memory_format=torch.channels_last), labels[mine].to(device)


def weights_after(ranks: Ranks, settings: EngineSettings) -> list[float]:
    """Trains for a few steps with batch norm over all ranks; returns every weight and running statistic."""
    device = device_of(settings, ranks)
    engine = Engine(network(), RECIPE, dataclasses.replace(settings, device=device), ranks=ranks)
    engine.set_learning_rate(0.05)
    engine.train_mode()
    for step in range(STEPS):
        engine.train_step(*batch(step, ranks, device))
    totals = engine.read_totals()
    assert totals.images == STEPS * BATCH
    values = [value.flatten().double() for value in engine.model.state_dict().values()]
    return [totals.loss, *torch.cat(values).tolist()]


def on_all(settings: EngineSettings, emit: Emit) -> None:
    """Trains on as many GPUs as the settings have, and emits what the first one ends with."""
    run_ranks(_on_rank, (settings,), settings, emit)


def _on_rank(settings: EngineSettings, emit: Emit, ranks: Ranks) -> None:
    emit("weights", {"weights": weights_after(ranks, settings)})


def on_one(emit: Emit) -> None:
    """Trains alone, and emits what that ends with."""
    emit("weights", {"weights": weights_after(ALONE, EngineSettings("cuda", "fp32"))})


def nccl_with_one_rank(compile_it: bool, emit: Emit) -> None:
    """Joins a group of one, as torchrun would have it, and emits a step's gradients with and without the group."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    os.environ.update(RANK="0", WORLD_SIZE="1", MASTER_ADDR="localhost", MASTER_PORT=port)
    settings = EngineSettings("cuda", "fp32", compile=compile_it)
    with joined(settings) as ranks:
        on_gpu, on_host = torch.ones(2, device="cuda"), torch.ones(2)
        dist.all_reduce(on_gpu)
        dist.broadcast(on_host, src=0)
        engine = Engine(network(), RECIPE, settings, ranks=ranks)
        engine.train_mode()
        images, labels = batch(0, ranks, "cuda")
        found = []
        for one in (engine.loss, Averaged(engine.model, engine.loss)):
            one(images, labels)[0].backward()
            found.append(torch.cat([value.grad.flatten() for value in engine.model.parameters()]).tolist())
            engine.optimizer.zero_grad(set_to_none=True)
        emit("gradients", {"found": found, "fallbacks": engine.fallbacks})
