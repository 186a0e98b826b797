"""Batches arrive in the engine's slots; where there are two, each is made while the step before it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any, TypeVar

import pytest
import torch
from small_loops import (
    COMMON,
    EVALUATIONS,
    SETTINGS,
    STEPS_PER_EPOCH,
    TEST,
    make_loop,
    make_pipeline,
    network,
)

from resbench.devices import CpuDevice
from resbench.training.engine import Engine

T = TypeVar("T")
GRAPH = dataclasses.replace(SETTINGS, cuda_graph=True)


class AheadDevice(CpuDevice):
    """A processor that makes each batch before the one before it is trained on, as a GPU may."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs_ahead = self.replays = 0

    def run_ahead(self, batches: Iterator[T]) -> Iterator[T]:
        self.epochs_ahead += 1
        batch = next(batches, None)
        while batch is not None:
            following = next(batches, None)
            yield batch
            batch = following

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        def replay() -> None:
            self.replays += 1
            work()

        return replay


class WatchedEngine(Engine):
    """Notes the tensors that it trains and evaluates on."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def train_step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.seen.append((images, labels))
        super().train_step(images, labels)

    def eval_step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.seen.append((images, labels))
        super().eval_step(images, labels)


def run(slots: int, *, budget: str = "2.5ep", graph: bool = False) -> tuple[WatchedEngine, AheadDevice, list[Any]]:
    """Trains with a number of slots; returns what trained, its device, and the totals of every epoch."""
    device, pipeline = AheadDevice(), make_pipeline(seed=3)
    places = [pipeline.new_batch() for _ in range(slots)]
    engine = WatchedEngine(network(3), COMMON, GRAPH if graph else SETTINGS, slots=places, device=device)
    if slots:
        engine.capture()
    result = make_loop(budget, engine=engine, pipeline=pipeline, device=device).run()
    return engine, device, [(report.steps, report.train, report.test) for report in result.epochs]


@pytest.mark.parametrize(("slots", "epochs_ahead"), [(0, 0), (1, 0), (2, 3)])
def test_only_with_two_slots_are_batches_made_ahead(slots, epochs_ahead):
    _, device, reports = run(slots)
    assert len(reports) == 3
    assert device.epochs_ahead == epochs_ahead


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("budget", ["2.5ep", "2ep", "7steps"])
@pytest.mark.parametrize("slots", [1, 2])
def test_the_result_does_not_depend_on_slots_to_the_bit(slots, budget, graph):
    plain, _, expected = run(0, budget=budget)
    engine, _, reports = run(slots, budget=budget, graph=graph)
    assert reports == expected
    weights = plain.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in engine.model.state_dict().items())


@pytest.mark.parametrize("slots", [1, 2])
def test_batches_arrive_in_the_slots_in_turn_and_nowhere_else(slots):
    engine, _, _ = run(slots, budget="2ep")
    steps = [STEPS_PER_EPOCH, EVALUATIONS] * 2  # each epoch and each evaluation begins with the first slot
    expected = [slot for count in steps for slot in islice(cycle(engine.slots), count)]
    assert len(engine.seen) == len(expected)
    for seen, slot in zip(engine.seen, expected, strict=True):
        assert seen[0] is slot[0]
        assert seen[1] is slot[1]


@pytest.mark.parametrize("slots", [1, 2])
def test_every_step_and_every_evaluation_of_a_recorded_engine_is_a_replay(slots):
    _, device, reports = run(slots, budget="1.5ep", graph=True)
    assert device.replays == 15 + 2 * EVALUATIONS
    assert [test.images for _, _, test in reports] == [TEST] * 2
