"""``run_trial``: the one place where a trial's parts meet. A trial goes in, a record comes out."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from resbench import provenance
from resbench.budget import parse_budget, plan_spending
from resbench.data.datasets import Dataset, load_dataset
from resbench.data.pipeline import Pipeline, normalisation_of, to_device
from resbench.devices import apply_precision, is_out_of_memory, open_device, peak_flops
from resbench.errors import InputError
from resbench.measure.profile import Profile, Subject, measure_profile, profile_record
from resbench.recipes import get_recipe
from resbench.registry import model_entry
from resbench.schema import PROFILED, EpochRecord, Trial, TrialRecord
from resbench.store import planned_record
from resbench.training.engine import Engine, initialise
from resbench.training.ledger import Ledger
from resbench.training.loop import DivergedError, EpochReport, Loop, TrainingResult

Emit = Callable[[str, dict[str, Any]], None]
"""Takes a kind (phase, progress, epoch, profile, trial) and its data."""


@dataclass(frozen=True)
class Inputs:
    """What a trial reads from this machine's disk; the trial itself holds no path."""

    dataset: str
    """A dataset spec, such as ``folder:PATH``."""
    data_dir: Path | None = None
    resize: tuple[int, int] | None = None
    weights: str | None = None
    """``random``, ``default``, a state-dict file, or ``None`` for the network's own default."""


def run_trial(trial: Trial, inputs: Inputs, emit: Emit) -> TrialRecord:
    """Runs one trial in this process and returns its record, however it ends.

    Args:
        trial: What to run.
        inputs: Where its data and weights are.
        emit: Told of phases, progress, the profile and epochs as they come.
    """
    return _Run(trial, inputs, emit).run()


class _Run:
    """One trial on its way: the record fills up phase by phase."""

    def __init__(self, trial: Trial, inputs: Inputs, emit: Emit) -> None:
        self.trial, self.inputs, self.emit = trial, inputs, emit
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
                self._profile()
            self._train(dataset)
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
        lines = str(error).strip().splitlines()
        self.record.error = f"{type(error).__name__}: {lines[0] if lines else ''}".strip(": ")

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
        record.cuda_graph = False
        record.cpu_threads = torch.get_num_threads()
        for column, value in provenance.collect().to_dict().items():
            setattr(record, column, value)

    def _load(self) -> Dataset:
        """Loads the dataset that was planned with."""
        inputs = self.inputs
        dataset = load_dataset(inputs.dataset, data_dir=inputs.data_dir, resize=inputs.resize, progress=print)
        if dataset.fingerprint != self.trial.dataset_fingerprint:
            raise InputError(f"the dataset {dataset.name} has changed since this trial was planned: plan it again.")
        return dataset

    def _profile(self) -> None:
        """Measures what the network costs and notes it."""
        profile = measure_profile(self.subject, self.recipe, self.device, with_step=False, on_phase=self._phase)
        cold = "compile" if self.trial.engine.compile else "warmup"
        self.ledger.add(cold, profile.warm_up_s)
        self.ledger.add("profile", -profile.warm_up_s)
        row = profile_record(
            self.subject, profile, device_name=self.device.name, trial_id=self.trial.trial_id
        ).to_dict()
        self.emit("profile", row)
        self._note_profile(profile, row)

    def _note_profile(self, profile: Profile, row: dict[str, Any]) -> None:
        """Copies the profile's columns that a trial has too."""
        self.flops_per_image = profile.complexity.train_flops_per_image
        for column in PROFILED:
            setattr(self.record, column, row[column])
        if profile.complexity.disagreement:
            self.record.notes.append(profile.complexity.disagreement)

    def _train(self, dataset: Dataset) -> None:
        """Builds the network from the trial's seed and trains it."""
        trial, recipe, ledger = self.trial, self.recipe, self.ledger
        self._phase("build")
        spending = plan_spending(
            parse_budget(trial.budget),
            batch_size=trial.batch_size,
            steps_per_epoch=len(dataset.train) // trial.batch_size,
            train_flops_per_image=self.flops_per_image,
        )
        with ledger.part("build"):
            torch.manual_seed(trial.seed)
            model = self.subject.build(self.inputs.weights)
            if trial.weights == "random":  # pretrained weights stay as they are
                initialise(model, recipe.initialisation)
            engine = Engine(model, recipe, trial.engine)
            target = self.device.torch_device
            pipeline = Pipeline(
                to_device(dataset.train, target),
                to_device(dataset.test, target),
                input_size=trial.input[1:],
                batch_size=trial.batch_size,
                augmentation=recipe.augmentation,
                normalisation=normalisation_of(dataset, recipe.normalisation),
                seed=trial.seed,
            )
        self._phase("warm-up")
        batch = self.subject.fixed_batch(target)
        with ledger.part("compile" if trial.engine.compile else "warmup"):
            engine.warm_up(*batch)
            self.device.synchronize()
        self.record.compiled = engine.compiled
        if engine.fallback:
            self.record.notes.append(engine.fallback)
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
        if energy is not None and energy_after is not None:
            self.record.energy_j = energy_after - energy
        self._note_training(result)

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

    def _note_training(self, result: TrainingResult) -> None:
        """Notes the speed and how the budget ended."""
        record = self.record
        record.stopped_by = result.spending.budget.unit
        record.overshoot = result.spending.overshoot(steps=result.steps, train_clock_s=result.train_clock_s)
        record.train_images_per_second = rate = result.train_images_per_second
        record.step_ms_p50, record.step_ms_p90 = result.step_ms(0.5), result.step_ms(0.9)
        peak = peak_flops(self.device.name, self.trial.engine.precision)
        if peak is not None:
            record.mfu = self.flops_per_image * rate / peak
