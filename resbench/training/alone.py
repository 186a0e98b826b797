"""The speed of a training, measured in a few of its steps while no other trial runs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from resbench.budget import Budget, Spending
from resbench.devices import Device
from resbench.recipes import Recipe
from resbench.training.clock import TrainClock
from resbench.training.engine import Engine
from resbench.training.features import Batches, FeaturePipeline
from resbench.training.ledger import Ledger
from resbench.training.loop import Loop
from resbench.training.outcome import TrainingResult

_MOST_TIMES = 1000
"""Step times that stand for a longer training: enough for its quantiles."""


def train_alone(
    engine: Engine,
    pipeline: Batches,
    device: Device,
    recipe: Recipe,
    spending: Spending,
    steps: int,
    *,
    preserve: bool = True,
    skip: int = 0,
) -> TrainingResult:
    """Trains for a few steps at learning rate 0.

    On cached features the steps are taken twice, as those of the first epoch and as later ones, and the result is that
    of the whole training, which has so many of each.

    Args:
        engine: Warm.
        pipeline: On the engine's device.
        device: Its seam.
        recipe: The trial's.
        spending: The trial's budget, which says how long the whole training is.
        steps: How many to take.
        preserve: Whether everything is as before afterwards. On a processor the copies that this takes move what the
            steps allocate to the end of the heap, which is given back and faulted in again in every step: resnet18
            took 16,000 page faults a step with them and 1,000 without, and 7 to 15 % more time.
        skip: Steps that are taken before, and not counted.
    """
    still = replace(recipe, learning_rate=0.0)

    def train(steps: int) -> TrainingResult:
        few = Spending(Budget(float(steps), "steps"), 1.0)
        return Loop(engine, pipeline, device, still, few, Ledger()).run()

    with ExitStack() as stack:
        if preserve:
            stack.enter_context(engine.preserved())
            stack.enter_context(pipeline.preserved())
        if not isinstance(pipeline, FeaturePipeline):
            result = train(skip + steps)
            if skip:
                counted = result.step_seconds[skip:]
                result.clock.set(counted, seconds=sum(counted))
                result.steps, result.images_seen = len(counted), len(counted) * pipeline.batch_size
            return result
        steps = min(steps, pipeline.steps_per_epoch)
        began = pipeline.state()
        first = train(steps)
        pipeline.load(began)  # the same images again, whose features are there now
        later = train(steps)
    return _whole(first, later, device, spending, pipeline)


def _whole(
    first: TrainingResult, later: TrainingResult, device: Device, spending: Spending, pipeline: FeaturePipeline
) -> TrainingResult:
    """Returns what a whole training takes, from steps that make features and steps that do not."""
    first_s, later_s = (float(np.mean(result.step_seconds)) for result in (first, later))
    making: float = pipeline.steps_per_epoch
    if spending.total_steps is not None:
        total = float(spending.total_steps)
    elif spending.budget.amount <= making * first_s:
        total = max(1.0, spending.budget.amount / first_s)
    else:
        total = making + (spending.budget.amount - making * first_s) / later_s
    making = min(making, total)
    clock = TrainClock(device, Ledger())
    share = min(1.0, _MOST_TIMES / total)
    counts = round(making * share), round((total - making) * share)
    times = [np.resize(result.step_seconds, count) for result, count in zip((first, later), counts, strict=True)]
    clock.set(np.concatenate(times).tolist(), seconds=making * first_s + (total - making) * later_s)
    images = round(total * pipeline.batch_size)
    made = min(images, len(pipeline.train))
    return TrainingResult(spending, clock, steps=round(total), images_seen=images, features_made=made)
