"""The training loop: spends a budget, follows its schedule, evaluates at the end of every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

import torch

from resbench.budget import Spending
from resbench.devices import Device
from resbench.errors import ResbenchError
from resbench.recipes import Recipe
from resbench.training.checkpoint import Checkpoints
from resbench.training.clock import TrainClock
from resbench.training.engine import Engine
from resbench.training.features import Batches, FeaturePipeline
from resbench.training.ledger import Ledger
from resbench.training.outcome import EpochReport, Progress, TrainingResult
from resbench.training.state import engine_state, load_engine_state
from resbench.training.totals import Totals

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


class _Word(NamedTuple):
    """What all ranks do next."""

    stop: bool
    """Leave the epoch: the budget is spent, or the loss is known not to be finite."""
    save: bool
    """Write a checkpoint."""


class Loop:
    """Trains one engine on one pipeline until a budget is spent.

    Where several ranks train together each has a loop, and all of them do what the first one decides: when the budget
    is spent, where the loss has diverged, when a checkpoint is due, which that one writes.

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
        self.engine, self.pipeline, self.device, self.ranks = engine, pipeline, device, engine.ranks
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
        self._spent = 0.0
        """The fraction of the budget, as the first rank last knew it."""
        self._next_look = 0.0
        self._asked: tuple[int, Callable[[], int | None]] | None = None
        """How many steps of the epoch should have a finite loss, and what will tell how many had."""

    def run(self) -> TrainingResult:
        """Trains until the budget is spent.

        Raises:
            DivergedError: The loss of a training step, or of the evaluation, is not finite.
        """
        self._consult()
        while self._spent < 1:
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
            if self._spent < 1 and self._consult().save:
                self._save()
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
            self.engine.set_learning_rate(self.peak * self.schedule(self._spent))
            self.engine.train_step(images, labels)
            clock.step_taken()
            result.steps += 1
            result.images_seen += self.pipeline.batch_size
            self._in_epoch += 1
            self._look()
            word = self._consult()
            if word.stop:
                break
            if word.save and self._in_epoch < self.pipeline.steps_per_epoch:
                self._save()
                clock.start()
        clock.stop()
        self._consult()
        totals = self.engine.read_totals()
        if totals.finite_steps < self._in_epoch:
            step = result.steps - self._in_epoch + totals.finite_steps + 1
            raise DivergedError(f"the training loss was not finite at step {step}", step)
        self.engine.check_frozen()
        self._in_epoch, self._asked = 0, None
        return totals

    def _consult(self) -> _Word:
        """Asks the first rank what to do, once a step: clocks differ, and ranks that part wait for one another."""
        own = self._fraction(), self._has_diverged(), self.checkpoints is not None and self.checkpoints.due()
        self._spent, diverged, due = self.ranks.agree(own)
        return _Word(stop=self._spent >= 1 or bool(diverged), save=bool(due))

    def _look(self) -> None:
        """Tells of progress and asks for the health of the loss, but not at every step of a fast network."""
        now, seconds = time.perf_counter(), self.clock.seconds
        if not (seconds > 0 and now >= self._next_look):
            return
        self._next_look = now + _LOOK_EVERY_S
        rate = self.clock.steps * self.pipeline.batch_size / seconds
        timed = self.spending.fraction(steps=self.clock.steps, train_clock_s=seconds)
        self.on_progress(Progress(self._fraction(), rate, seconds / timed - seconds, self.device.memory_held_mib()))
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
        with self.ledger.part("eval"), self.engine.constant_weights():
            self.engine.model.eval()
            self.ranks.follow(self.engine.model.buffers())  # running statistics are the first rank's
            correct: list[torch.Tensor] = []
            for images, labels in self.pipeline.evaluation(self.engine.slots):
                self.engine.eval_step(images, labels)
                correct.append(self.engine.correct.clone())
            totals = self.engine.read_totals()
            in_order = self.ranks.gather(torch.stack(correct)).transpose(0, 1)  # [batches, ranks, images of a share]
            self.result.correct = in_order.flatten()[: len(self.pipeline.test)]
        return totals, self.ledger["eval"] - before

    def _save(self) -> None:
        """Writes a checkpoint; the train clock is stopped then, and stays so."""
        if self.checkpoints is None:
            return
        if self._in_epoch:
            self.clock.stop()
        with self.ledger.part("checkpoint"):
            state = self.state()
        # What the write takes is booked after it, and is missing in the checkpoint itself.
        with self.ledger.part("checkpoint"):
            if self.ranks.first:
                self.checkpoints.save(state)

    def state(self) -> dict[str, Any]:
        """Returns where the training stands, as plain data and tensors on the host; the clock is stopped.

        Every rank calls it: generators are in it that are each one's own.
        """
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
        """Returns the fraction of the budget that is spent, by this rank's clock."""
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
            budget_fraction=self._spent,
            learning_rate=float(self.engine.learning_rate),
            train=train,
            test=test,
            train_clock_s=self.clock.seconds,
            eval_s=eval_s,
            train_images_per_second=images / seconds,
            features_made=self._features_made(),
        )
