"""Forward and backward time of a network on one fixed batch.

The measuring loop is :func:`time_calls`: warm up, then mark, call, mark, and read the marks once at the end.
Latency and memory are measured in separate passes, and throughput of training is not measured here but by the
training loop itself, which also makes its batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch

from resbench.devices import Device, is_out_of_memory
from resbench.errors import in_one_line
from resbench.training.engine import Engine

T = TypeVar("T")

MIN_CALLS = 5
MAX_CALLS = 100
WARM_UP_CALLS = 2
MAX_SECONDS = 2.0
"""No further call is started after this long, once there are ``MIN_CALLS``."""


@dataclass(frozen=True)
class Timing:
    """Seconds of each call."""

    seconds: tuple[float, ...]

    def ms(self, quantile: float = 0.5) -> float:
        """Returns a quantile (0..1) in ms."""
        return float(np.quantile(self.seconds, quantile)) * 1000

    def per_second(self, images: int) -> float:
        """Returns images a second at the median, for calls of that many images."""
        return images / (self.ms() / 1000)


@dataclass(frozen=True)
class Latency:
    """Times of one network at one batch size; one that could not be taken is None."""

    single: Timing | None
    """Forward pass of one image, eval mode."""
    inference: Timing | None
    """Forward pass of a batch, eval mode."""
    forward: Timing | None = None
    """Forward pass and loss of a batch, train mode; ``None`` where the network cannot be trained at that size, or where
    no pass is one device's own because batch norm asks the others."""
    backward: Timing | None = None
    """Backward pass of a batch."""
    step: Timing | None = None
    """Forward, backward and update of a batch; ``None`` where training itself is going to tell."""
    failures: tuple[str, ...] = ()
    """Why a time could not be taken."""


def time_calls(call: Callable[[], object], device: Device, *, max_seconds: float = MAX_SECONDS) -> Timing:
    """Times a call again and again: from ``MIN_CALLS`` to ``MAX_CALLS`` times, for about ``max_seconds``."""
    for _ in range(WARM_UP_CALLS):
        call()
    device.synchronize()
    marks = [device.mark()]
    spent = 0.0
    while len(marks) <= MAX_CALLS and (len(marks) <= MIN_CALLS or spent < max_seconds):
        call()
        marks.append(device.mark())
        if len(marks) > device.queue_depth + 1:
            reached = marks[-1 - device.queue_depth]
            device.wait(reached)
            spent = device.elapsed_s(marks[0], reached)
    device.synchronize()
    return Timing(tuple(device.elapsed_s(a, b) for a, b in pairwise(marks)))


def one_image(images: torch.Tensor) -> torch.Tensor:
    """Returns the first image of a batch, on its own: [1, C, H, W]."""
    return images[:1].clone(memory_format=torch.channels_last)


def measure_latency(
    engine: Engine,
    device: Device,
    *,
    with_step: bool,
    train: bool = True,
    max_seconds: float = MAX_SECONDS,
) -> Latency:
    """Times the passes of an engine's model on the batch in its slot; the model is trained by it.

    Where the engine takes its batches in parts, the passes are of the first part, and a step is of the whole batch.

    Inference and whole steps run as the engine runs them, from a graph where it has one. The two halves of a
    training pass are timed outside any graph: a graph has no halves. A pass that fails is not timed, unless memory ran
    out.

    Args:
        engine: Whose model is measured, in its precision and memory format.
        device: The engine's.
        with_step: Whether whole training steps are timed too.
        train: Whether anything of training is timed.
        max_seconds: For each of the timings.
    """
    batch = engine.slots[0]
    images, labels = engine.micro_batches(*batch)[0]
    engine.set_learning_rate(0.0)

    failures: list[str] = []

    def attempt(what: str, measure: Callable[[], T]) -> T | None:
        try:
            return measure()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            failures.append(f"{what} could not be timed ({in_one_line(error)})")
            return None

    def timed(make: Callable[[], Callable[[], object]]) -> Callable[[], Timing]:
        return lambda: time_calls(make(), device, max_seconds=max_seconds)

    engine.model.eval()
    with engine.constant_weights():
        single = attempt("one image", timed(lambda: engine.inference(one_image(images))))
        inference = attempt("inference", timed(lambda: engine.inference(images)))

    if not train:
        return Latency(single, inference, failures=tuple(failures))
    engine.train_mode()
    forward = backward = step = None
    if not engine.synchronised:  # ranks that take their time do not make the same number of calls
        halves = attempt(
            "forward and backward", lambda: _time_forward_and_backward(engine, device, images, labels, max_seconds)
        )
        forward, backward = halves or (None, None)
        engine.optimizer.zero_grad(set_to_none=True)
    if with_step:
        step = attempt("a training step", timed(lambda: lambda: engine.train_step(*batch)))
    return Latency(single, inference, forward, backward, step, tuple(failures))


def _time_forward_and_backward(
    engine: Engine, device: Device, images: torch.Tensor, labels: torch.Tensor, max_seconds: float
) -> tuple[Timing, Timing]:
    """Times both halves of the same passes, since a backward pass needs its own forward pass."""
    halves: list[tuple[object, object, object]] = []

    def both() -> None:
        start = device.mark()
        loss, _ = engine.loss(images, labels)
        middle = device.mark()
        loss.backward()
        halves.append((start, middle, device.mark()))
        engine.optimizer.zero_grad(set_to_none=True)

    time_calls(both, device, max_seconds=max_seconds)
    measured = halves[WARM_UP_CALLS:]
    forward = Timing(tuple(device.elapsed_s(start, middle) for start, middle, _ in measured))
    backward = Timing(tuple(device.elapsed_s(middle, end) for _, middle, end in measured))
    return forward, backward
