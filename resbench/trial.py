"""``run_trial``: the one place where a trial's parts meet. A trial goes in, a record comes out."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import Any

import torch

from resbench.budget import Spending, parse_budget, plan_spending
from resbench.conduct import Attempt
from resbench.data.datasets import Dataset
from resbench.data.pipeline import Pipeline, normalisation_of, to_device
from resbench.devices import is_out_of_memory, open_device
from resbench.errors import InputError, ModelError
from resbench.host_state import seed_generators
from resbench.inputs import Inputs
from resbench.measure.profile import Subject, measure_profile, profile_record
from resbench.measure.telemetry import Telemetry
from resbench.plugins import code_of, import_code, place_in
from resbench.precision import apply_precision
from resbench.provenance import package_digest
from resbench.ranks import ALONE, Ranks, device_of
from resbench.recipes import get_recipe
from resbench.recorder import Emit, Recorder
from resbench.registry import described, model_entry
from resbench.schema import MEASURING_VERSION, Trial, TrialRecord
from resbench.training.alone import train_alone
from resbench.training.checkpoint import Checkpoints
from resbench.training.engine import Engine
from resbench.training.feature_cost import count_feature_cost, plan_feature_spending
from resbench.training.features import Batches, train_head_only
from resbench.training.loop import DivergedError, Loop
from resbench.training.optimizer import initialise
from resbench.training.outcome import TrainingResult

ALONE_STEPS = 50
"""Training steps that tell the speed of a trial that is going to share its device, or that is measured again."""


def run_trial(
    trial: Trial, inputs: Inputs, emit: Emit, attempt: Attempt | None = None, *, ranks: Ranks = ALONE
) -> TrialRecord:
    """Runs one trial in this process and returns its record, however it ends.

    Args:
        trial: What to run.
        inputs: Where its data and weights are.
        emit: Told of everything as it comes, see :data:`~resbench.recorder.Emit`. Where several trials train
            together, a ``gate`` is emitted where what is measured alone ends.
        attempt: How many train together, in which parts the batch is taken, where checkpoints go.
        ranks: Where several processes run one trial: all of them call this, and the first one's record and what it
            emits are the trial's.
    """
    return TrialRun(trial, inputs, emit, attempt or Attempt(), ranks).run()


class TrialRun:
    """One trial on its way, phase by phase."""

    def __init__(self, trial: Trial, inputs: Inputs, emit: Emit, attempt: Attempt, ranks: Ranks = ALONE) -> None:
        import_code(inputs.imports)
        self.trial, self.inputs, self.attempt, self.ranks = trial, inputs, attempt, ranks
        self.entry = model_entry(trial.model)
        self.recipe = get_recipe(trial.recipe)
        self.subject = Subject(
            model=trial.model,
            stem=trial.stem,
            input=trial.input,
            num_classes=trial.num_classes,
            batch_size=ranks.share(trial.batch_size),
            engine=replace(trial.engine, device=device_of(trial.engine, ranks)),
            micro_batch_size=None if attempt.micro_batch_size is None else -(-attempt.micro_batch_size // ranks.size),
            seed=trial.seed,
        )
        self.recorder = Recorder(trial, attempt, emit)
        self.ledger, self.phase = self.recorder.ledger, self.recorder.phase

    def run(self) -> TrialRecord:
        """Runs every phase; an exception becomes the record's outcome."""
        recorder = self.recorder
        try:
            self._check_code()
            self.phase("data")
            self.set_up()
            dataset = self.load()
            engine = self.profile()
            self._train(*self.build(dataset, engine))
            recorder.judge(dataset.test)
            recorder.record.status, recorder.record.phase = "ok", "done"
        except DivergedError as error:
            recorder.record.steps = error.step
            recorder.ended("diverged", error)
        except InputError as error:
            recorder.ended("not_run", error)
        except Exception as error:
            traceback.print_exc()
            status = "oom" if is_out_of_memory(error) else "crashed"
            recorder.ended(status, error, where=place_in(self.entry, error))
        return recorder.close()

    def set_up(self) -> None:
        """Opens the device and notes where the trial runs."""
        apply_precision(self.trial.engine.precision)
        self.device = open_device(self.subject.engine.device)
        self.telemetry = Telemetry(self.device, together=self.attempt.together)
        self.recorder.place(self.device)

    def _check_code(self) -> None:
        """Checks that the network's code is the one that the trial was planned with.

        Raises:
            InputError: It was edited meanwhile.
        """
        here = code_of(self.entry)
        if self.trial.code not in (None, here):
            raise InputError(
                f"the code of {described(self.entry)} has changed since this trial was planned: it was "
                f"{self.trial.code} and is {here}. Put it back as it was and run the suite again, or give another "
                "--out."
            )

    def load(self) -> Dataset:
        """Loads the dataset that was planned with.

        Raises:
            InputError: It is not the same any more.
        """
        dataset = self.inputs.load(print)
        if dataset.fingerprint != self.trial.dataset_fingerprint:
            raise InputError(f"the dataset {dataset.name} has changed since this trial was planned: plan it again.")
        return dataset

    def _checkpoints(self) -> Checkpoints | None:
        """Says where the trial leaves checkpoints, and what has to be the same for it to go on from one."""
        attempt, record = self.attempt, self.recorder.record
        if attempt.checkpoint is None:
            return None
        made_with = {
            "trial": self.trial.trial_id,
            "device": str(record.device_name),
            "torch": str(record.torch),
            "resbench": str(record.resbench),
            "code": package_digest(),
            "measuring version": str(MEASURING_VERSION),
            "micro-batch size": str(record.micro_batch_size),
            "cached features": str(record.cached_features),
        }
        return Checkpoints(
            attempt.checkpoint, made_with, every_s=attempt.checkpoint_every_s, on_failure=self.recorder.note
        )

    def profile(self) -> Engine:
        """Measures what the network costs and notes it; returns the engine that was measured.

        Raises:
            ModelError: It is no classifier, or does not train at this batch size.
        """
        whole_batch = self.recipe.sync_batch_norm and self.ranks.size > 1  # a rank's share may be one image
        if not whole_batch and (reason := self.subject.untrainable(self.recipe)):
            self.phase("build")
            raise ModelError(reason)
        with self.ledger.part("profile"), self.telemetry.window("profile") as window:
            profile, engine = measure_profile(
                self.subject, self.recipe, self.device, with_step=False, on_phase=self.phase, ranks=self.ranks
            )
        self.ledger.add(self._cold, profile.warm_up_s)
        self.ledger.add("profile", -profile.warm_up_s)
        row = profile_record(
            self.subject, profile, engine, device_name=self.device.name, trial_id=self.trial.trial_id
        ).to_dict()
        self.recorder.profile(row, notes=profile.notes)
        self.recorder.window(window.report())
        return engine

    @property
    def _cold(self) -> str:
        """The ledger's part for what is done once before the first step."""
        return "compile" if self.trial.engine.compile else "warmup"

    def build(self, dataset: Dataset, engine: Engine) -> tuple[Engine, Batches]:
        """Draws the network's weights from the trial's seed, makes its pipeline, and warms that up.

        Returns:
            What is trained, on what: the engine and images, or the head of a frozen network and features.
        """
        trial, recipe = self.trial, self.recipe
        self.phase("build")
        with self.ledger.part("build"):
            engine.restart(self._initial_weights())
            # Not all that draws weights has a seed.
            self.ranks.follow(value for value in engine.model.state_dict().values() if torch.is_tensor(value))
            self.ranks.draw_apart(trial.seed)
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
                ranks=self.ranks,
            )
        self.phase("warm-up")
        with self.ledger.part(self._cold):
            pipeline.warm_up()
            head, refusal = train_head_only(engine, pipeline, recipe) if trial.engine.cache_features else (None, None)
            cost = count_feature_cost(head.backbone, trial.input) if head else None
            if cost and not cost.measures(parse_budget(trial.budget)):
                head, cost, refusal = None, None, "a step of the head has no FLOPs, which the budget counts"
            self.device.synchronize()
        fallbacks = (*engine.fallbacks, pipeline.fallback, *(head.fallbacks if head else ()))
        for reason in filter(None, fallbacks):
            self.recorder.note(reason)
        self.recorder.features(cost, refusal)
        return (head.engine, head.pipeline) if head else (engine, pipeline)

    def _train(self, engine: Engine, pipeline: Batches) -> None:
        """Trains in the engine that is warm already, from the beginning or from a checkpoint."""
        recorder, device, together = self.recorder, self.device, self.attempt.together
        checkpoints = self._checkpoints()
        if together > 1:
            with self.ledger.part("profile"):
                recorder.speed(self.train_alone(engine, pipeline, ALONE_STEPS))
            recorder.record.notes.append(f"{together} seeds trained at once: their clocks are of the shared device")
            recorder.emit("gate", {})
        spending = self._spending(pipeline)
        loop = Loop(
            engine,
            pipeline,
            device,
            self.recipe,
            spending,
            self.ledger,
            on_progress=recorder.progress,
            on_epoch=recorder.epoch,
            on_phase=self.phase,
            checkpoints=checkpoints,
        )
        self._go_on(loop, checkpoints)
        energy = self.ranks.total(device.energy_j())
        with self.telemetry.window("train") as window:
            result = loop.run()
        energy_after = self.ranks.total(device.energy_j())
        recorder.window(window.report())
        recorder.hits(result.correct)
        record = recorder.record
        record.stopped_by = spending.budget.unit
        record.overshoot = spending.overshoot(steps=result.steps, train_clock_s=result.train_clock_s)
        if together > 1:
            return
        if energy is not None and energy_after is not None and not record.resumed:
            record.energy_j = energy_after - energy
        recorder.speed(result)

    def _go_on(self, loop: Loop, checkpoints: Checkpoints | None) -> None:
        """Puts the loop where an earlier attempt stood, where that left a checkpoint."""
        state, reason = checkpoints.load() if checkpoints else (None, None)
        if reason is not None:
            self.recorder.note(reason)
        if state is not None:
            loop.load(state)
        resumed = checkpoints.resumed if checkpoints else 0
        self.recorder.training(loop.result, resumed=resumed)

    def _spending(self, pipeline: Batches) -> Spending:
        """Returns the budget in terms of this trial."""
        budget, cost = parse_budget(self.trial.budget), self.recorder.feature_cost
        size, steps = self.trial.batch_size, pipeline.steps_per_epoch
        if cost is None:
            flops = self.recorder.flops_per_image
            return plan_spending(budget, batch_size=size, steps_per_epoch=steps, train_flops_per_image=flops)
        images = len(pipeline.train)
        return plan_feature_spending(budget, cost, batch_size=size, steps_per_epoch=steps, train_images=images)

    def train_alone(self, engine: Engine, pipeline: Batches, steps: int, **options: Any) -> TrainingResult:
        """Trains for a few steps while no other trial does, see :func:`~resbench.training.alone.train_alone`."""
        return train_alone(engine, pipeline, self.device, self.recipe, self._spending(pipeline), steps, **options)

    def _initial_weights(self) -> dict[str, torch.Tensor]:
        """Builds the network from the trial's seed and returns its weights and buffers."""
        seed_generators(self.trial.seed)
        model = self.subject.create(self.inputs.weights_of(self.trial.weights))
        if self.trial.weights == "random":  # pretrained weights stay as they are
            initialise(model, self.recipe.initialisation)
        return model.state_dict()
