"""One network, warm and ready to be timed: in the suite's own loop, and as a bare step on one fixed batch."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from benchmarks.harness.rows import CLASSES, SIZE, Setting
from resbench.budget import parse_budget, plan_spending
from resbench.data.datasets import Split, load_dataset
from resbench.data.pipeline import Normalisation, Pipeline, to_device
from resbench.devices import Device, open_device
from resbench.measure.profile import Subject
from resbench.planning.settings import resolve_engine
from resbench.precision import apply_precision
from resbench.recipes import Recipe, get_recipe
from resbench.store import Store
from resbench.suite import EngineOptions
from resbench.training.engine import Engine
from resbench.training.ledger import Ledger
from resbench.training.loop import EpochReport, Loop

IMAGES = 50_000
"""As many as CIFAR-10 trains on."""
NORMALISATION = Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def training_images(setting: Setting) -> Split:
    """Returns the images to train on, on the processor: noise of CIFAR-10's shape, or a dataset that was asked for.

    What the pixels hold changes no time: they are decoded beforehand.
    """
    if setting.dataset != "noise":
        return load_dataset(setting.dataset).train
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (IMAGES, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    return Split(images, torch.randint(CLASSES, (IMAGES,), generator=generator))


def make_pipeline(setting: Setting, images: Split, recipe: Recipe, *, compiled: bool = False) -> Pipeline:
    """Returns the suite's pipeline on the setting's device; it evaluates one batch only, since that is not timed."""
    device = torch.device(setting.device)
    on_device = to_device(images, device)
    one_batch = Split(on_device.images[: setting.batch_size], on_device.labels[: setting.batch_size])
    pipeline = Pipeline(
        on_device,
        one_batch,
        input_size=(SIZE, SIZE),
        batch_size=setting.batch_size,
        augmentation=recipe.augmentation,
        normalisation=NORMALISATION,
        seed=0,
        compiled=compiled,
    )
    pipeline.warm_up()
    return pipeline


@dataclass
class Workbench:
    """A network with everything that its training needs."""

    subject: Subject
    engine: Engine
    pipeline: Pipeline
    device: Device
    recipe: Recipe

    @property
    def described(self) -> str:
        """Says what is measured, for a row: the modes are those that run."""
        subject, engine = self.subject, self.engine
        modes = ["compiled"] * engine.compiled + ["CUDA graph"] * engine.cuda_graph
        how = " + ".join(modes) if modes else "eager"
        return f"{subject.model}, {subject.stem} stem, batch {subject.batch_size}, {subject.engine.precision}, {how}"

    def steps_in(self, seconds: float) -> int:
        """Returns how many steps take about that long, at least three."""
        self.bare_steps(1)
        images_per_second = self.bare_steps(2)
        return max(3, round(seconds * images_per_second / self.subject.batch_size))

    def loop_steps(self, steps: int) -> float:
        """Trains for that many steps as a trial does, and returns images a second by the host's clock.

        Data, augmentation, schedule, metrics, progress and the records on disk are in that time, evaluation is not.
        """
        ledger = Ledger()
        batch_size = self.subject.batch_size
        spending = plan_spending(
            parse_budget(f"{steps}steps"), batch_size=batch_size, steps_per_epoch=self.pipeline.steps_per_epoch
        )
        with tempfile.TemporaryDirectory(prefix="resbench-") as folder:
            store = Store(Path(folder), create=True)

            def record(report: EpochReport) -> None:
                store.append("epoch", asdict(report))

            loop = Loop(
                self.engine,
                self.pipeline,
                self.device,
                replace(self.recipe, learning_rate=1e-6),  # noise is nothing to learn, and weights must stay finite
                spending,
                ledger,
                on_epoch=record,
            )
            self.device.synchronize()
            began = time.perf_counter()
            loop.run()
            seconds = time.perf_counter() - began - ledger["eval"]
        return steps * batch_size / seconds

    def bare_steps(self, steps: int, step: Callable[[], object] | None = None) -> float:
        """Takes that many bare steps on one fixed batch and returns images a second.

        Args:
            steps: How many.
            step: The step, by default :meth:`bare_step`.
        """
        step = step or self.bare_step
        self.engine.set_learning_rate(1e-6)
        self.engine.train_mode()
        self.device.synchronize()
        began = time.perf_counter()
        for _ in range(steps):
            step()
        self.device.synchronize()
        return steps * self.subject.batch_size / (time.perf_counter() - began)

    def __post_init__(self) -> None:
        self.bare_step: Callable[[], object] = self._bare_step
        if self.engine.cuda_graph:
            self.bare_step = self.device.capture(self._bare_step)

    def _bare_step(self) -> None:
        """Forward, loss, backward, update, and nothing else: no metrics."""
        engine = self.engine
        loss, _ = engine.loss(*engine.slots[0])
        loss.backward()
        engine.optimizer.step()
        engine.optimizer.zero_grad(set_to_none=True)


def workbench(
    setting: Setting, model: str, images: Split, *, slots: int = 1, engine: dict[str, str] | None = None
) -> Workbench:
    """Builds a network and makes it warm.

    Args:
        setting: What the command line decides.
        model: A name that the registry takes.
        images: From :func:`training_images`.
        slots: Two to make each batch during the step before it (CUDA).
        engine: Fields of :class:`~resbench.suite.EngineOptions` that differ from the setting's and the defaults.
    """
    options = EngineOptions(device=setting.device, precision=setting.precision).model_copy(update=engine or {})
    settings = resolve_engine(options)
    apply_precision(settings.precision)
    device, chosen = open_device(settings.device), get_recipe("common")
    subject = Subject(model, setting.stem, (3, SIZE, SIZE), CLASSES, setting.batch_size, settings)
    warm = subject.engine_for(chosen, device, slots=slots)
    warm.warm_up(*warm.slots[0])
    warm.capture()
    on_cuda = settings.device.startswith("cuda")
    pipeline = make_pipeline(setting, images, chosen, compiled=warm.compiled and on_cuda)
    return Workbench(subject, warm, pipeline, device, chosen)
