"""What two processes that train together do, for a test to hold against what one does; one job runs all of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from small_engines import ADAM, SGD, Residual
from small_loops import BATCH, CLASSES, make_pipeline
from torch import nn

from resbench.budget import Budget, Spending
from resbench.data.pipeline import Batch
from resbench.devices import CpuDevice
from resbench.executors.ranks import run_ranks
from resbench.ranks import Ranks
from resbench.recipes import Recipe
from resbench.registry import create_model
from resbench.schema import EngineSettings
from resbench.training.checkpoint import Checkpoints
from resbench.training.engine import Engine
from resbench.training.ledger import Ledger
from resbench.training.loop import DivergedError, Loop

Emit = Callable[[str, dict[str, Any]], None]
TWO = EngineSettings("cpu", "fp32", devices=2)
ONE = EngineSettings("cpu", "fp32")
STEPS = 17
"""An epoch, and most of another one."""


def plain(seed: int = 0) -> nn.Module:
    """The registry's network without batch norm."""
    torch.manual_seed(seed)
    return create_model("cnn", num_classes=CLASSES, input_size=(8, 8))


def normalised(seed: int = 0) -> nn.Module:
    """A network with batch norm."""
    torch.manual_seed(seed)
    network = Residual()
    network.head = nn.Linear(8 * 2 * 2, CLASSES)
    return network


def dropping(seed: int = 0) -> nn.Module:
    """A network that drops at random."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 8 * 8, CLASSES))


def pipeline(ranks: Ranks, seed: int = 5) -> Any:
    """Images that are cropped and flipped."""
    return make_pipeline(seed=seed, ranks=ranks)


def whole_batch() -> Batch:
    """A batch for all ranks together."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, 3, 8, 8, generator=generator), torch.randint(CLASSES, (BATCH,), generator=generator)


def gradients(ranks: Ranks, recipe: Recipe, *, micro_batch_size: int | None = None) -> torch.Tensor:
    """Of one step of the network without batch norm: [parameters]."""
    engine = Engine(plain(), recipe, ONE, micro_batch_size=micro_batch_size, ranks=ranks)
    engine.optimizer.zero_grad = lambda set_to_none=True: None  # type: ignore[method-assign,assignment]
    images, labels = whole_batch()
    mine = ranks.window(0, BATCH)
    engine.train_mode()
    engine.train_step(images[mine], labels[mine])
    return torch.cat([parameter.grad.flatten() for parameter in engine.model.parameters()])


def batches(ranks: Ranks) -> list[Batch]:
    """Two epochs of training and one evaluation."""
    made = pipeline(ranks)
    passes = (made.epoch(), made.epoch(), made.evaluation())
    return [(images.clone(), labels.clone()) for one in passes for images, labels in one]


def make_loop(
    ranks: Ranks,
    build: Callable[[], nn.Module],
    *,
    recipe: Recipe = SGD,
    spending: Spending | None = None,
    micro_batch_size: int | None = None,
    checkpoints: Checkpoints | None = None,
) -> Loop:
    """A training of a few steps."""
    engine = Engine(build(), recipe, ONE, micro_batch_size=micro_batch_size, ranks=ranks)
    ranks.draw_apart(0)
    spending = spending or Spending(Budget(float(STEPS), "steps"), 1.0)
    return Loop(engine, pipeline(ranks), CpuDevice(), recipe, spending, Ledger(), checkpoints=checkpoints)


def weights(loop: Loop) -> torch.Tensor:
    """Parameters and buffers of a loop's network: [numbers]."""
    return torch.cat([value.detach().flatten().double() for value in loop.engine.model.state_dict().values()])


def trained(loop: Loop) -> dict[str, Any]:
    """What a training ends with."""
    result = loop.run()
    assert result.correct is not None
    return {
        "curve": [(report.train, report.test) for report in result.epochs],
        "images_seen": result.images_seen,
        "weights": weights(loop),
        "hits": result.correct,
    }


class _AfterFour(Checkpoints):
    """Wants to save after four steps, on the first rank; elsewhere never."""

    asked = 0

    def due(self) -> bool:
        self.asked += 1
        return self.asked == 5 and not self.path.name.startswith("other")


def resumed(ranks: Ranks, folder: Path) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Weights of a training with dropout, those of one that went on from its checkpoint, and the files."""
    path = folder / ("first" if ranks.first else "other")
    whole = make_loop(ranks, dropping, recipe=ADAM, checkpoints=_AfterFour(path, {}, every_s=0))
    whole.run()
    state, reason = Checkpoints(folder / "first", {}, every_s=1e9).load()
    assert state is not None, reason
    again = make_loop(ranks, lambda: dropping(1), recipe=ADAM)
    again.load(state)
    assert again.result.steps == 4
    again.run()
    return weights(whole), weights(again), sorted(path.name for path in folder.iterdir())


def diverged_at(ranks: Ranks) -> int:
    """The step that broke where one image of the last rank's share is no number from the third step on."""
    loop = make_loop(ranks, plain)
    epoch = loop.pipeline.epoch

    def broken(slots: Any = (), *, first: int = 0) -> Iterator[Batch]:
        for number, (images, labels) in enumerate(epoch(slots, first=first)):
            if number >= 2 and ranks.rank == ranks.size - 1:
                images[-1] = float("nan")
            yield images, labels

    loop.pipeline.epoch = broken  # type: ignore[method-assign]
    try:
        loop.run()
    except DivergedError as error:
        return error.step
    return 0


class _Racing(CpuDevice):
    """A processor whose time passes as fast as it is told."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.now, self.seconds = 0.0, seconds

    def mark(self) -> float:
        self.now += self.seconds
        return self.now


def steps_in_time(ranks: Ranks) -> int:
    """How many steps a time budget buys, where time passes faster for the other ranks."""
    loop = make_loop(ranks, plain, spending=Spending(Budget(10.0, "s"), None))
    loop.device = loop.clock.device = _Racing(1.0 + 3.0 * ranks.rank)
    return loop.run().steps


def checks_job(folder: Path, emit: Emit) -> None:
    """Does all of it in two processes and emits ``seen``, with a row for each rank where they may differ."""
    run_ranks(_checks, (folder,), TWO, emit)


def _checks(folder: Path, emit: Emit, ranks: Ranks) -> None:
    def of_each(value: float) -> list[float]:
        return ranks.gather(torch.tensor(float(value))).tolist()

    no_batch_norm, with_batch_norm = make_loop(ranks, plain), make_loop(ranks, normalised)
    seen: dict[str, Any] = {
        "gradients": ranks.gather(gradients(ranks, SGD)),
        "gradients in parts": ranks.gather(gradients(ranks, SGD, micro_batch_size=1)),
        "batches": [(ranks.gather(images), ranks.gather(labels)) for images, labels in batches(ranks)],
        "trained": trained(no_batch_norm),
        "weights": ranks.gather(weights(no_batch_norm)),
        "trained with batch norm": trained(with_batch_norm),
        "weights with batch norm": ranks.gather(weights(with_batch_norm)),
        "resumed": resumed(ranks, folder),
        "diverged at": of_each(diverged_at(ranks)),
        "steps in time": of_each(steps_in_time(ranks)),
        "largest": (ranks.largest(float(ranks.rank)), ranks.largest(None if ranks.rank else 1.0)),
        "total": (ranks.total(2.0 + ranks.rank), ranks.total(None)),
        "agreed": ranks.agree([0.25 + ranks.rank, 1.0]),
        "threads": of_each(torch.get_num_threads()),
    }
    emit("seen", as_arrays(seen))


def as_arrays(value: Any) -> Any:
    """Turns tensors into arrays: what is sent through a pipe is then held by nobody."""
    if isinstance(value, torch.Tensor):
        return value.detach().numpy().copy()
    if isinstance(value, dict):
        return {name: as_arrays(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_arrays(one) for one in value]
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
