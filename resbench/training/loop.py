"""The training loop: spends a budget, follows its schedule, evaluates at the end of every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from resbench.budget import Spending
from resbench.devices import Device
from resbench.errors import ResbenchError
from resbench.recipes import Recipe
from resbench.training.checkpoint import Checkpoints
from resbench.training.clock import TrainClock
from resbench.training.engine import Engine, Totals
from resbench.training.features import Batches, FeaturePipeline
from resbench.training.ledger import Ledger
from resbench.training.state import engine_state, load_engine_state

_LOOK_EVERY_S = 0.2


class DivergedError(ResbenchError):
    """The loss is no longer a number.

    Attributes:
        step: The first step of which that is true.
    """

    exit_code = 3

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


@dataclass(frozen=True)
class Progress:
    """Where a training stands, as far as the host knows without asking the device."""

    fraction: float
    """Of the budget."""
    images_per_second: float
    seconds_left: float
    """Of the train clock, at the rate so far."""
    memory_mib: float
    """What this process holds of the device now."""


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
    features_made: int | None = None
    """Training images whose features were computed so far, by earlier attempts too; None where none are cached."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EpochReport:
        """Rebuilds a report from its ``asdict``."""
        return cls(**{**data, "train": Totals(**data["train"]), "test": Totals(**data["test"])})


@dataclass
class TrainingResult:
    """What a finished training leaves."""

    spending: Spending
    clock: TrainClock
    steps: int = 0
    images_seen: int = 0
    features_made: int | None = None
    """As in the last of the ``epochs``."""
    epochs: list[EpochReport] = field(default_factory=list)
    correct: torch.Tensor | None = None
    """bool [test images], on the device: which of them the last evaluation got right."""

    @property
    def train_clock_s(self) -> float:
        """Data + step time."""
        return self.clock.seconds

    @property
    def step_seconds(self) -> list[float]:
        """Data + step time of every step."""
        return self.clock.step_seconds

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
        checkpoints: Where the training leaves :meth:`state` from time to time.
    """

    def __init__(
        self,
        engine: Engine,
        pipeline: Batches,
        device: Device,
        recipe: Recipe,
        spending: Spending,
        ledger: Ledger,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        on_epoch: Callable[[EpochReport], None] = lambda report: None,
        on_phase: Callable[[str], None] = lambda phase: None,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.engine, self.pipeline, self.device = engine, pipeline, device
        self.schedule = recipe.schedule
        self.peak = recipe.peak_learning_rate(pipeline.batch_size)
        self.spending, self.ledger = spending, ledger
        self.on_progress, self.on_epoch, self.on_phase = on_progress, on_epoch, on_phase
        self.checkpoints = checkpoints
        self.clock = TrainClock(device, ledger)
        self.result = TrainingResult(spending, self.clock)
        self._in_epoch = 0
        """Steps of the current epoch that were taken."""
        self._epoch_began = pipeline.state()
        """Where the pipeline's generators stood when it began."""
        self._next_look = 0.0
        self._asked: tuple[int, Callable[[], int | None]] | None = None
        """How many steps of the epoch should have a finite loss, and what will tell how many had."""

    def run(self) -> TrainingResult:
        """Trains until the budget is spent.

        Raises:
            DivergedError: The loss of a training step, or of the evaluation, is not finite.
        """
        while self._fraction() < 1:
            self.on_phase("train")
            train = self._train_epoch()
            self.on_phase("eval")
            test, seconds = self.evaluate()
            if not math.isfinite(test.mean_loss):  # the only sign of a last step that broke the weights
                step = self.result.steps
                raise DivergedError(f"the test loss was {test.mean_loss} after step {step}", step)
            report = self._report(train, test, seconds)
            self.result.epochs.append(report)
            self.result.features_made = report.features_made
            self.on_epoch(report)
            if self._fraction() < 1:
                self._save_if_due()
        return self.result

    def _train_epoch(self) -> Totals:
        """Runs steps until the epoch or the budget ends, then waits for the device and books the time."""
        result, device, clock = self.result, self.device, self.clock
        self.engine.train_mode()
        if not self._in_epoch:
            self._epoch_began = self.pipeline.state()
        batches = self.pipeline.epoch(self.engine.slots, first=self._in_epoch)
        if len(self.engine.slots) > 1:
            batches = device.run_ahead(batches)
        clock.start()
        for images, labels in batches:
            clock.batch_made()
            self.engine.set_learning_rate(self.peak * self.schedule(self._fraction()))
            self.engine.train_step(images, labels)
            clock.step_taken()
            result.steps += 1
            result.images_seen += len(labels)
            self._in_epoch += 1
            fraction = self._fraction()
            self._look(fraction)
            if fraction >= 1 or self._has_diverged():
                break
            if self._in_epoch < self.pipeline.steps_per_epoch and self._save_if_due():
                clock.start()
        clock.stop()
        totals = self.engine.read_totals()
        if totals.finite_steps < self._in_epoch:
            step = result.steps - self._in_epoch + totals.finite_steps + 1
            raise DivergedError(f"the training loss was not finite at step {step}", step)
        self._in_epoch, self._asked = 0, None
        return totals

    def _look(self, fraction: float) -> None:
        """Tells of progress and asks for the health of the loss, but not at every step of a fast network."""
        now, seconds = time.perf_counter(), self.clock.seconds
        if not (seconds > 0 and now >= self._next_look):
            return
        self._next_look = now + _LOOK_EVERY_S
        rate = self.clock.steps * self.pipeline.batch_size / seconds
        timed = self.spending.fraction(steps=self.clock.steps, train_clock_s=seconds)
        self.on_progress(Progress(fraction, rate, seconds / timed - seconds, self.device.memory_held_mib()))
        if self._asked is None:
            self._asked = (self._in_epoch, self.engine.peek())

    def _has_diverged(self) -> bool:
        """Returns whether a loss is known not to be finite; what is known is a few steps behind."""
        if self._asked is None:
            return False
        expected, answer = self._asked
        finite = answer()
        if finite is None:
            return False
        self._asked = None
        return finite < expected

    def evaluate(self) -> tuple[Totals, float]:
        """Returns the totals over every test image, and the seconds that took; the result holds the hits."""
        before = self.ledger["eval"]
        with self.ledger.part("eval"):
            self.engine.model.eval()
            correct: list[torch.Tensor] = []
            for images, labels in self.pipeline.evaluation(self.engine.slots):
                self.engine.eval_step(images, labels)
                correct.append(self.engine.correct.clone())
            totals = self.engine.read_totals()
            self.result.correct = torch.cat(correct)[: len(self.pipeline.test)]
        return totals, self.ledger["eval"] - before

    def _save_if_due(self) -> bool:
        """Writes a checkpoint where it is time for one; the train clock is stopped then, and stays so."""
        if self.checkpoints is None or not self.checkpoints.due():
            return False
        if self._in_epoch:
            self.clock.stop()
        with self.ledger.part("checkpoint"):
            state = self.state()
        # What the write takes is booked after it, and is missing in the checkpoint itself.
        with self.ledger.part("checkpoint"):
            self.checkpoints.save(state)
        return True

    def state(self) -> dict[str, Any]:
        """Returns where the training stands, as plain data and tensors on the host; the clock is stopped."""
        result = self.result
        return {
            "engine": engine_state(self.engine),
            "pipeline": self._epoch_began if self._in_epoch else self.pipeline.state(),
            "in_epoch": self._in_epoch,
            "steps": result.steps,
            "images_seen": result.images_seen,
            "features_made": self._features_made(),
            "train_clock_s": self.clock.seconds,
            "step_seconds": torch.tensor(self.clock.step_seconds, dtype=torch.float64),
            "epochs": [asdict(report) for report in result.epochs],
            "ledger": self.ledger.columns(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from where an earlier attempt stood; what it spent is counted in.

        Args:
            state: From :meth:`state`.

        Raises:
            ValueError: It is of another network or recipe.
        """
        load_engine_state(self.engine, state["engine"])
        self.pipeline.load(state["pipeline"])
        self._epoch_began, self._in_epoch = state["pipeline"], state["in_epoch"]
        self.result.steps, self.result.images_seen = state["steps"], state["images_seen"]
        self.result.epochs = [EpochReport.from_dict(report) for report in state["epochs"]]
        if isinstance(self.pipeline, FeaturePipeline):  # they are computed again as they are needed, and counted again
            self.pipeline.features_made = state["features_made"]
        self.clock.set(state["step_seconds"].tolist(), seconds=state["train_clock_s"])
        self.ledger.go_on_from(state["ledger"])

    def _features_made(self) -> int | None:
        """Returns how many images' features were computed, where the pipeline makes such."""
        return self.pipeline.features_made if isinstance(self.pipeline, FeaturePipeline) else None

    def _fraction(self) -> float:
        """Returns the fraction of the budget that is spent."""
        return self.spending.fraction(steps=self.result.steps, train_clock_s=self.clock.seconds)

    def _report(self, train: Totals, test: Totals, eval_s: float) -> EpochReport:
        """Puts together what is known after an epoch."""
        result = self.result
        last = result.epochs[-1] if result.epochs else None
        images = result.images_seen - (last.images_seen if last else 0)
        seconds = self.clock.seconds - (last.train_clock_s if last else 0.0)
        return EpochReport(
            epoch=result.steps / self.pipeline.steps_per_epoch,
            steps=result.steps,
            images_seen=result.images_seen,
            budget_fraction=self._fraction(),
            learning_rate=float(self.engine.learning_rate),
            train=train,
            test=test,
            train_clock_s=self.clock.seconds,
            eval_s=eval_s,
            train_images_per_second=images / seconds,
            features_made=self._features_made(),
        )
