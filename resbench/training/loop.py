"""The training loop: spends a budget, follows its schedule, evaluates at the end of every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from resbench.budget import Spending
from resbench.data.pipeline import Pipeline
from resbench.devices import Device
from resbench.errors import ResbenchError
from resbench.recipes import Recipe
from resbench.training.engine import Engine, Totals
from resbench.training.ledger import Ledger

_PROGRESS_EVERY_S = 0.2


class DivergedError(ResbenchError):
    """The loss is no longer a number."""

    exit_code = 3


@dataclass(frozen=True)
class Progress:
    """Where a training stands, as far as the host knows without asking the device."""

    fraction: float
    """Of the budget."""
    images_per_second: float
    seconds_left: float
    """Of the train clock, at the rate so far."""


@dataclass(frozen=True)
class EpochReport:
    """What was known after an epoch, or at the end of the budget."""

    epoch: float
    steps: int
    images_seen: int
    budget_fraction: float
    learning_rate: float
    train: Totals
    test: Totals
    train_clock_s: float
    eval_s: float
    train_images_per_second: float


@dataclass
class TrainingResult:
    """What a finished training leaves."""

    spending: Spending
    steps: int = 0
    images_seen: int = 0
    train_clock_s: float = 0.0
    step_seconds: list[float] = field(default_factory=list)
    """Data + step time of every step."""
    epochs: list[EpochReport] = field(default_factory=list)

    @property
    def train_images_per_second(self) -> float:
        """Images trained on, over the train clock."""
        return self.images_seen / self.train_clock_s

    def step_ms(self, quantile: float) -> float:
        """Returns a quantile (0..1) of the step times in ms."""
        return float(np.quantile(self.step_seconds, quantile)) * 1000


class Loop:
    """Trains one engine on one pipeline until a budget is spent.

    Args:
        engine: Warmed up. Batches are put into its slots; with two of them each is made during the step before.
        pipeline: On the engine's device.
        device: Its seam.
        recipe: For the schedule.
        spending: The budget in terms of this trial.
        ledger: Gets the data, step and evaluation time.
        on_progress: Called a few times a second; it must not wait for the device.
        on_epoch: Called with each :class:`EpochReport`.
        on_phase: Called with ``train`` and ``eval`` as they begin.
    """

    def __init__(
        self,
        engine: Engine,
        pipeline: Pipeline,
        device: Device,
        recipe: Recipe,
        spending: Spending,
        ledger: Ledger,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        on_epoch: Callable[[EpochReport], None] = lambda report: None,
        on_phase: Callable[[str], None] = lambda phase: None,
    ) -> None:
        self.engine, self.pipeline, self.device = engine, pipeline, device
        self.schedule = recipe.schedule
        self.peak = recipe.peak_learning_rate(pipeline.batch_size)
        self.spending, self.ledger = spending, ledger
        self.on_progress, self.on_epoch, self.on_phase = on_progress, on_epoch, on_phase
        self.result = TrainingResult(spending)
        self._next_progress = 0.0
        self._timed_steps = 0
        """Steps that the train clock holds; while steps are queued, it is behind those that were taken."""

    def run(self) -> TrainingResult:
        """Trains until the budget is spent.

        Raises:
            DivergedError: The training loss of an epoch or the test loss after it is not finite.
        """
        while self._fraction() < 1:
            self.on_phase("train")
            train = self._train_epoch()
            self._check(train, "training")
            self.on_phase("eval")
            test, seconds = self.evaluate()
            self._check(test, "test")  # the only sign of a last step that broke the weights
            report = self._report(train, test, seconds)
            self.result.epochs.append(report)
            self.on_epoch(report)
        return self.result

    def _check(self, totals: Totals, kind: str) -> None:
        """Raises where a loss is no longer a number."""
        if not math.isfinite(totals.mean_loss):
            raise DivergedError(f"the {kind} loss was {totals.mean_loss} in the epoch up to step {self.result.steps}")

    def _train_epoch(self) -> Totals:
        """Runs steps until the epoch or the budget ends, then waits for the device and books the time.

        The clock runs from mark to mark: one mark when a batch is asked for, one when it is there, one after
        the step. On CUDA marks are events in the stream, so nothing waits between two steps.
        """
        result, device = self.result, self.device
        marks: list[tuple[Any, Any, Any]] = []
        self.engine.model.train()
        batches = self.pipeline.epoch(self.engine.slots)
        if len(self.engine.slots) > 1:
            batches = device.run_ahead(batches)
        clock_before, steps_before = result.train_clock_s, result.steps
        start = device.mark()
        for images, labels in batches:
            ready = device.mark()
            self.engine.set_learning_rate(self.peak * self.schedule(self._fraction()))
            self.engine.train_step(images, labels)
            end = device.mark()
            marks.append((start, ready, end))
            result.steps += 1
            result.images_seen += len(labels)
            if len(marks) > device.queue_depth:
                reached = marks[-1 - device.queue_depth][2]
                device.wait(reached)
                result.train_clock_s = clock_before + device.elapsed_s(marks[0][0], reached)
                self._timed_steps = steps_before + len(marks) - device.queue_depth
            fraction = self._fraction()
            self._tell_progress(fraction)
            if fraction >= 1:
                break
            start = end
        device.synchronize()
        totals = self.engine.read_totals()
        data = sum(device.elapsed_s(start, ready) for start, ready, _ in marks)
        step = sum(device.elapsed_s(ready, end) for _, ready, end in marks)
        self.ledger.add("data", data)
        self.ledger.add("step", step)
        result.train_clock_s = clock_before + data + step
        self._timed_steps = result.steps
        result.step_seconds += [device.elapsed_s(start, end) for start, _, end in marks]
        return totals

    def _tell_progress(self, fraction: float) -> None:
        """Calls ``on_progress``, but not at every step of a fast network."""
        now, clock = time.perf_counter(), self.result.train_clock_s
        if clock > 0 and now >= self._next_progress:
            self._next_progress = now + _PROGRESS_EVERY_S
            rate = self._timed_steps * self.pipeline.batch_size / clock
            timed = self.spending.fraction(steps=self._timed_steps, train_clock_s=clock)
            self.on_progress(Progress(fraction, rate, clock / timed - clock))

    def evaluate(self) -> tuple[Totals, float]:
        """Returns the totals over every test image, and the seconds that took."""
        before = self.ledger["eval"]
        with self.ledger.part("eval"):
            self.engine.model.eval()
            for images, labels in self.pipeline.evaluation(self.engine.slots):
                self.engine.eval_step(images, labels)
            totals = self.engine.read_totals()
        return totals, self.ledger["eval"] - before

    def _fraction(self) -> float:
        """Returns the fraction of the budget that is spent."""
        return self.spending.fraction(steps=self.result.steps, train_clock_s=self.result.train_clock_s)

    def _report(self, train: Totals, test: Totals, eval_s: float) -> EpochReport:
        """Puts together what is known after an epoch."""
        result = self.result
        last = result.epochs[-1] if result.epochs else None
        images = result.images_seen - (last.images_seen if last else 0)
        seconds = result.train_clock_s - (last.train_clock_s if last else 0.0)
        return EpochReport(
            epoch=result.steps / self.pipeline.steps_per_epoch,
            steps=result.steps,
            images_seen=result.images_seen,
            budget_fraction=self._fraction(),
            learning_rate=float(self.engine.learning_rate),
            train=train,
            test=test,
            train_clock_s=result.train_clock_s,
            eval_s=eval_s,
            train_images_per_second=images / seconds,
        )
