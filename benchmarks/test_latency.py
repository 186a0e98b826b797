"""Forward and backward latency of every registered network, models side by side.

    pytest benchmarks/test_latency.py --benchmark-only

Three groups: the forward pass of one image in eval mode, the forward pass and loss of a training batch, and the
backward pass of that batch. Work on a device is waited for inside the timed call. Parameters, MACs (one
multiply-add is one) and images a second stand in ``extra_info`` of the JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from resbench.devices import Device, open_device
from resbench.measure.flops import count_forward_flops
from resbench.measure.profile import Subject
from resbench.planning.arms import expand_models
from resbench.planning.precision_choice import settle_precision
from resbench.planning.settings import resolve_engine
from resbench.precision import apply_precision
from resbench.recipes import get_recipe
from resbench.suite import EngineOptions, parse_input
from resbench.training.engine import Engine

ROUNDS = 10
WARM_UP_ROUNDS = 2


@dataclass
class Bench:
    """One network, ready to be timed."""

    subject: Subject
    engine: Engine
    device: Device
    images: torch.Tensor
    labels: torch.Tensor
    macs: int

    def forward(self) -> torch.Tensor:
        loss, _ = self.engine.loss(self.images, self.labels)
        self.device.synchronize()
        return loss

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()
        self.device.synchronize()


@pytest.fixture(scope="module")
def bench(model: str, request: pytest.FixtureRequest) -> Bench:
    option = request.config.getoption
    options = EngineOptions(device=option("--device"), precision=option("--precision"), compile="off", cuda_graph="off")
    settings, shape = resolve_engine(options), parse_input(option("--input"))
    subject = Subject(model, option("--stem"), shape, 10, option("--batch-size"), settings)
    together = [replace(subject, model=name) for name in expand_models(option("--models").split(","))]
    settings = settle_precision(settings, together)
    subject = replace(subject, engine=settings)
    apply_precision(settings.precision)
    with torch.device("meta"):
        macs = count_forward_flops(subject.build(), shape) // 2
    device = open_device(settings.device)
    engine = subject.engine_for(get_recipe("common"), device)
    images, labels = engine.slots[0]
    return Bench(subject, engine, device, images, labels, macs)


def time_it(
    benchmark: Any, bench: Bench, group: str, call: Callable[..., object], images: int, **pedantic: Any
) -> None:
    """Times a call and notes what the figures are of."""
    subject = bench.subject
    height, width = subject.input[1:]
    benchmark.group = f"{group}, {height}x{width}, batch {images}, {subject.engine.precision}, {bench.device.name}"
    benchmark.name = subject.model
    benchmark.pedantic(call, rounds=ROUNDS, warmup_rounds=WARM_UP_ROUNDS, iterations=1, **pedantic)
    benchmark.extra_info |= {
        "model": subject.model,
        "stem": subject.stem,
        "batch_size": images,
        "params": sum(parameter.numel() for parameter in bench.engine.model.parameters()),
        "macs": bench.macs,
        "images_per_second": images / benchmark.stats.stats.median,
    }
    assert benchmark.stats.stats.min > 0


def test_forward_one_image(benchmark: Any, bench: Bench) -> None:
    bench.engine.model.eval()

    @torch.inference_mode()
    def forward() -> None:
        bench.engine.forward(bench.images[:1])
        bench.device.synchronize()

    time_it(benchmark, bench, "1 forward, eval mode", forward, 1)


def test_forward_batch(benchmark: Any, bench: Bench) -> None:
    bench.engine.train_mode()
    time_it(benchmark, bench, "2 forward and loss, train mode", bench.forward, len(bench.labels))


def test_backward_batch(benchmark: Any, bench: Bench) -> None:
    bench.engine.train_mode()

    def a_loss() -> tuple[tuple[torch.Tensor], dict[str, Any]]:
        bench.engine.optimizer.zero_grad(set_to_none=True)
        return (bench.forward(),), {}

    time_it(benchmark, bench, "3 backward, train mode", bench.backward, len(bench.labels), setup=a_loss)
    trained = [p for p in bench.engine.model.parameters() if p.requires_grad]
    assert all(parameter.grad is not None for parameter in trained)
