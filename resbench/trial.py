"""``run_trial``: the one place where a trial's parts meet. A trial goes in, a record comes out."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from resbench import provenance
from resbench.budget import parse_budget, plan_spending
from resbench.data.datasets import Dataset, load_dataset
from resbench.data.pipeline import Pipeline, normalisation_of, to_device
from resbench.devices import is_out_of_memory, open_device
from resbench.errors import InputError, in_one_line
from resbench.measure.profile import Profile, Subject, measure_profile, profile_record
from resbench.precision import apply_precision, peak_flops
from resbench.recipes import get_recipe
from resbench.registry import model_entry
from resbench.schema import PROFILED, EpochRecord, Trial, TrialRecord
from resbench.store import planned_record
from resbench.training.engine import Engine
from resbench.training.ledger import Ledger
from resbench.training.loop import DivergedError, EpochReport, Loop, TrainingResult
from resbench.training.optimizer import initialise

Emit = Callable[[str, dict[str, Any]], None]
"""Takes a kind (phase, progress, notice, gate, epoch, profile, trial) and its data."""

ALONE_STEPS = 50
"""Training steps that tell the speed of a trial that is going to share its device."""


@dataclass(frozen=True)
class Inputs:
    """What a trial reads from this machine's disk; the trial itself holds no path."""

    dataset: str
    """A dataset spec, such as ``folder:PATH``."""
    data_dir: Path | None = None
    resize: tuple[int, int] | None = None
    weights: str | None = None
    """``random``, ``default``, a state-dict file, or ``None`` for the network's own default."""


def run_trial(trial: Trial, inputs: Inputs, emit: Emit, *, together: int = 1) -> TrialRecord:
    """Runs one trial in this process and returns its record, however it ends.

    Args:
        trial: What to run.
        inputs: Where its data and weights are.
        emit: Told of phases, progress, notices, the profile and epochs as they come.
        together: How many trials train at once on the device. Beyond 1 the training's speed is measured before,
            and a ``gate`` is emitted where what is measured ends.
    """
    return _Run(trial, inputs, emit, together).run()


class _Run:
    """One trial on its way: the record fills up phase by phase."""

    def __init__(self, trial: Trial, inputs: Inputs, emit: Emit, together: int) -> None:
        self.trial, self.inputs, self.emit, self.together = trial, inputs, emit, together
        self.recipe = get_recipe(trial.recipe)
        self.subject = Subject(
            model=trial.model,
            stem=trial.stem,
            input=trial.input,
            num_classes=trial.num_classes,
            batch_size=trial.batch_size,
            engine=trial.engine,
        )
        self.record = planned_record(trial, source=model_entry(trial.model).source)
        self.ledger = Ledger()
        self.flops_per_image = 0
        self.best = 0.0

    def run(self) -> TrialRecord:
        """Runs every phase; an exception becomes the record's outcome."""
        record = self.record
        record.started_at = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self._phase("data")
            self._set_up()
            dataset = self._load()
            with self.ledger.part("profile"):
                engine = self._profile()
            self._train(dataset, engine)
            record.status, record.phase = "ok", "done"
        except DivergedError as error:
            self._ended("diverged", error)
        except InputError as error:
            self._ended("not_run", error)
        except Exception as error:
            traceback.print_exc()
            self._ended("oom" if is_out_of_memory(error) else "crashed", error)
        for column, seconds in self.ledger.columns().items():
            setattr(record, column, seconds)
        return record

    def _ended(self, status: str, error: BaseException) -> None:
        """Notes how the trial ended; the phase stays the one it ended in."""
        self.record.status = status
        self.record.error = in_one_line(error)

    def _phase(self, name: str) -> None:
        """Says and notes which phase begins."""
        self.record.phase = name
        self.emit("phase", {"phase": name})

    def _set_up(self) -> None:
        """Opens the device and notes where the trial runs."""
        engine, record = self.trial.engine, self.record
        apply_precision(engine.precision)
        self.device = open_device(engine.device)
        record.device_name = self.device.name
        record.tf32 = engine.precision == "tf32"
        record.cpu_threads = torch.get_num_threads()
        record.concurrent_seeds = self.together
        for column, value in provenance.collect().to_dict().items():
            setattr(record, column, value)

    def _load(self) -> Dataset:
        """Loads the dataset that was planned with."""
        inputs = self.inputs
        dataset = load_dataset(inputs.dataset, data_dir=inputs.data_dir, resize=inputs.resize, progress=print)
        if dataset.fingerprint != self.trial.dataset_fingerprint:
            raise InputError(f"the dataset {dataset.name} has changed since this trial was planned: plan it again.")
        return dataset

    def _profile(self) -> Engine:
        """Measures what the network costs and notes it; returns the engine that was measured."""
        profile, engine = measure_profile(self.subject, self.recipe, self.device, with_step=False, on_phase=self._phase)
        self.ledger.add(self._cold, profile.warm_up_s)
        self.ledger.add("profile", -profile.warm_up_s)
        row = profile_record(
            self.subject, profile, engine, device_name=self.device.name, trial_id=self.trial.trial_id
        ).to_dict()
        self.emit("profile", row)
        self._note_profile(profile, row)
        return engine

    @property
    def _cold(self) -> str:
        """The ledger's part for what is done once before the first step."""
        return "compile" if self.trial.engine.compile else "warmup"

    def _note_profile(self, profile: Profile, row: dict[str, Any]) -> None:
        """Copies the profile's columns that a trial has too."""
        self.flops_per_image = profile.complexity.train_flops_per_image
        for column in PROFILED:
            setattr(self.record, column, row[column])
        if profile.complexity.disagreement:
            self.record.notes.append(profile.complexity.disagreement)

    def _train(self, dataset: Dataset, engine: Engine) -> None:
        """Draws the network's weights from the trial's seed and trains it, in the engine that is warm already."""
        trial, recipe, ledger = self.trial, self.recipe, self.ledger
        self._phase("build")
        spending = plan_spending(
            parse_budget(trial.budget),
            batch_size=trial.batch_size,
            steps_per_epoch=len(dataset.train) // trial.batch_size,
            train_flops_per_image=self.flops_per_image,
        )
        with ledger.part("build"):
            engine.restart(self._initial_weights())
            target = self.device.torch_device
            pipeline = Pipeline(
                to_device(dataset.train, target),
                to_device(dataset.test, target),
                input_size=trial.input[1:],
                batch_size=trial.batch_size,
                augmentation=recipe.augmentation,
                normalisation=normalisation_of(dataset, recipe.normalisation),
                seed=trial.seed,
                # On a processor the eager operators are the faster ones.
                compiled=engine.compiled and target.type == "cuda",
            )
        self._phase("warm-up")
        with ledger.part(self._cold):
            pipeline.warm_up()
            self.device.synchronize()
        for reason in filter(None, (*engine.fallbacks, pipeline.fallback)):
            self.emit("notice", {"text": reason})
            self.record.notes.append(reason)
        if self.together > 1:
            with ledger.part("profile"):
                self._note_speed(self._train_alone(engine, pipeline))
            self.record.notes.append(f"{self.together} seeds trained at once: their clocks are of the shared device")
            self.emit("gate", {})
        loop = Loop(
            engine,
            pipeline,
            self.device,
            recipe,
            spending,
            ledger,
            on_progress=lambda progress: self.emit("progress", asdict(progress)),
            on_epoch=self._note_epoch,
            on_phase=self._phase,
        )
        energy = self.device.energy_j()
        result = loop.run()
        energy_after = self.device.energy_j()
        self.record.stopped_by = spending.budget.unit
        self.record.overshoot = spending.overshoot(steps=result.steps, train_clock_s=result.train_clock_s)
        if self.together > 1:
            return
        if energy is not None and energy_after is not None:
            self.record.energy_j = energy_after - energy
        self._note_speed(result)

    def _train_alone(self, engine: Engine, pipeline: Pipeline) -> TrainingResult:
        """Trains for a few steps at learning rate 0 while no other trial does; everything is as before afterwards."""
        steps = plan_spending(
            parse_budget(f"{ALONE_STEPS}steps"),
            batch_size=self.trial.batch_size,
            steps_per_epoch=pipeline.steps_per_epoch,
        )
        still = replace(self.recipe, learning_rate=0.0)
        with engine.preserved(), pipeline.preserved():
            return Loop(engine, pipeline, self.device, still, steps, Ledger()).run()

    def _initial_weights(self) -> dict[str, torch.Tensor]:
        """Builds the network from the trial's seed and returns its weights and buffers."""
        torch.manual_seed(self.trial.seed)
        model = self.subject.build(self.inputs.weights)
        if self.trial.weights == "random":  # pretrained weights stay as they are
            initialise(model, self.recipe.initialisation)
        return model.state_dict()

    def _note_epoch(self, report: EpochReport) -> None:
        """Emits the epoch and keeps the record up to date, so that a trial cut short shows how far it came."""
        trial, record = self.trial, self.record
        flops = float(report.images_seen * self.flops_per_image)
        self.best = max(self.best, report.test.accuracy)
        record.test_accuracy, record.best_test_accuracy = report.test.accuracy, self.best
        record.test_loss, record.train_accuracy = report.test.mean_loss, report.train.accuracy
        record.epochs, record.steps = report.epoch, report.steps
        record.images_seen, record.train_flops_spent = report.images_seen, flops
        epoch = EpochRecord(
            trial_id=trial.trial_id,
            model=trial.model,
            stem=trial.stem,
            seed=trial.seed,
            epoch=report.epoch,
            steps=report.steps,
            images_seen=report.images_seen,
            budget_fraction=report.budget_fraction,
            learning_rate=report.learning_rate,
            train_loss=report.train.mean_loss,
            train_accuracy=report.train.accuracy,
            test_loss=report.test.mean_loss,
            test_accuracy=report.test.accuracy,
            train_clock_s=report.train_clock_s,
            eval_s=report.eval_s,
            train_flops_spent=flops,
            train_images_per_second=report.train_images_per_second,
        )
        self.emit("epoch", epoch.to_dict())

    def _note_speed(self, result: TrainingResult) -> None:
        """Notes how fast steps were taken while nothing else ran."""
        record = self.record
        record.train_images_per_second = rate = result.train_images_per_second
        record.step_ms_p50, record.step_ms_p90 = result.step_ms(0.5), result.step_ms(0.9)
        peak = peak_flops(self.device.name, self.trial.engine.precision)
        if peak is not None:
            record.mfu = self.flops_per_image * rate / peak
