"""The engine on a machine with CUDA: every mode takes the same steps, recording leaves no trace, nothing waits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny_folder import make_tiny_folder
from torch import nn

from resbench.data.datasets import load_dataset
from resbench.data.pipeline import Batch, Pipeline, normalisation_of, to_device
from resbench.devices import CudaDevice
from resbench.precision import apply_precision
from resbench.recipes import Recipe, get_recipe
from resbench.registry import create_model
from resbench.schema import EngineSettings
from resbench.training.engine import Engine, Totals

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda")
COMMON = get_recipe("common")
BATCH, STEPS, CLASSES = 64, 50, 10
MODES = {"compiled": (True, False), "graph": (False, True), "compiled graph": (True, True)}


@dataclass(frozen=True)
class Tolerance:
    """How far a mode may be from eager code: the same sums in another order, rounded at other places."""

    loss: float
    """Relative, on the loss of one step from the same weights."""
    update: float
    """Of the weights after one step from the same weights and momentum, relative to how far the step moves them."""
    mean: float
    """Relative, on the mean of 50 losses where each mode goes its own way. Training multiplies any difference some
    tenfold a step until single losses are a few percent apart, whatever it began with; their mean is steadier."""


TOLERANCES = {
    "fp32": Tolerance(loss=1e-4, update=1e-2, mean=2e-2),
    # A gradient in bf16 is some 20 % rounding, measured against one in fp32; a term left out would be more than that.
    "bf16": Tolerance(loss=1e-2, update=0.5, mean=2e-2),
}


def task(seed: int) -> Batch:
    """Noise in which the class is how bright a channel is."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    images = torch.randn(BATCH, 3, 32, 32, generator=generator)
    images[:, 0] += labels[:, None, None] / 2 - 2.5
    return images.to(CUDA, memory_format=torch.channels_last), labels.to(CUDA)


def make_engine(
    model: nn.Module,
    recipe: Recipe = COMMON,
    *,
    precision: str = "fp32",
    compiled: bool = False,
    graph: bool = False,
    slots: int = 2,
    warm: bool = True,
) -> Engine:
    apply_precision(precision)
    settings = EngineSettings("cuda", precision, compile=compiled, cuda_graph=graph)
    places = [task(1000 + number) for number in range(slots)]
    engine = Engine(model.train(), recipe, settings, slots=places, device=CudaDevice(0))
    if warm:
        engine.warm_up(*places[0])
        engine.capture()
        assert (engine.compiled, engine.cuda_graph, engine.fallbacks) == (compiled, graph, [])
    return engine


def take_step(engine: Engine, step: int) -> float:
    """Takes a step on the batch with its number, in a slot, and returns its loss."""
    slot = engine.slots[step % len(engine.slots)]
    for tensor, value in zip(slot, task(step), strict=True):
        tensor.copy_(value)
    # A tenth of the recipe's rate: at the whole one the first losses jump about.
    engine.set_learning_rate(0.1 * COMMON.peak_learning_rate(BATCH) * COMMON.schedule((step + 0.5) / STEPS))
    engine.model.train()
    engine.train_step(*slot)
    return engine.read_totals().mean_loss


def evaluate(engine: Engine) -> Totals:
    engine.model.eval()
    engine.eval_step(*engine.slots[0])
    return engine.read_totals()


def weights(engine: Engine) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in engine.model.parameters()])


def optimizer_tensors(engine: Engine) -> list[torch.Tensor]:
    states = (engine.optimizer.state.get(parameter, {}) for parameter in engine.model.parameters())
    return [value for of in states for value in of.values() if torch.is_tensor(value)]


def follow(leader: Engine, follower: Engine) -> None:
    """Gives an engine the weights, the statistics and the momentum of another, in its own tensors."""
    follower.model.load_state_dict(leader.model.state_dict())
    for own, others in zip(optimizer_tensors(follower), optimizer_tensors(leader), strict=True):
        own.copy_(others)


@pytest.mark.slow
@pytest.mark.parametrize("precision", TOLERANCES)
def test_every_mode_takes_the_steps_that_eager_code_takes(precision):
    # One test a precision, because compiling takes a minute and serves both modes that are compiled.
    tolerance = TOLERANCES[precision]

    def build(compiled: bool, graph: bool) -> Engine:
        torch.manual_seed(0)
        model = create_model("d2l_resnet18", stem="cifar")
        return make_engine(model, precision=precision, compiled=compiled, graph=graph)

    eager = build(False, False)
    others = {name: build(*mode) for name, mode in MODES.items()}
    initial = {name: value.clone() for name, value in eager.model.state_dict().items()}
    expected_losses = []
    for step in range(STEPS):
        before = weights(eager)
        for engine in others.values():
            follow(eager, engine)
        expected_losses.append(take_step(eager, step))
        moved = (weights(eager) - before).norm()
        for name, engine in others.items():
            assert take_step(engine, step) == pytest.approx(expected_losses[-1], rel=tolerance.loss), (name, step)
            assert (weights(engine) - weights(eager)).norm() < tolerance.update * moved, (name, step)
    expected_end = evaluate(eager)
    assert expected_losses[-1] < 0.7 * expected_losses[0]  # there was something to agree about

    for name, engine in others.items():
        follow(eager, engine)
        assert evaluate(engine).mean_loss == pytest.approx(expected_end.mean_loss, rel=tolerance.loss), name
        engine.restart(initial)
        own_way = [take_step(engine, step) for step in range(STEPS)]
        mean = sum(expected_losses) / STEPS
        assert sum(own_way) / STEPS == pytest.approx(mean, rel=tolerance.mean), name


def with_dropout() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )


class TestRecording:
    @pytest.mark.parametrize("recipe", ["common", "resnet50_adam"])
    @pytest.mark.parametrize("trained", [0, 3])
    def test_and_warming_up_leave_everything_as_it_was(self, recipe, trained):
        engine = make_engine(with_dropout(), get_recipe(recipe), graph=True, warm=False)
        for step in range(trained):
            take_step(engine, step)
        model = {name: value.clone() for name, value in engine.model.state_dict().items()}
        optimizer = [value.clone() for value in optimizer_tensors(engine)]
        generators, rate = (torch.get_rng_state(), torch.cuda.get_rng_state()), float(engine.learning_rate)
        engine.warm_up(*engine.slots[0])
        engine.capture()
        assert engine.cuda_graph
        assert torch.equal(torch.get_rng_state(), generators[0])
        assert torch.equal(torch.cuda.get_rng_state(), generators[1])
        assert all(torch.equal(value, model[name]) for name, value in engine.model.state_dict().items())
        after = optimizer_tensors(engine)
        expected = optimizer or [torch.zeros_like(value) for value in after]  # a first step makes it, of zeros
        assert all(torch.equal(value, other) for value, other in zip(after, expected, strict=True))
        assert all(parameter.grad is None for parameter in engine.model.parameters())
        assert float(engine.learning_rate) == rate
        assert engine.read_totals() == Totals(0.0, 0, 0)

    @pytest.mark.parametrize("slots", [1, 2])
    def test_replays_draw_and_learn_what_eager_steps_do(self, slots):
        losses = []
        for graph in (False, True):
            engine = make_engine(with_dropout(), graph=graph, slots=slots)
            torch.manual_seed(7)
            losses.append([take_step(engine, step) for step in range(10)] + [evaluate(engine).mean_loss])
        assert losses[1] == pytest.approx(losses[0], rel=1e-4)

    def test_survives_a_restart(self):
        used = make_engine(with_dropout(), graph=True)
        for step in range(5):
            take_step(used, 60 + step)
        fresh = make_engine(with_dropout())
        used.restart(fresh.model.state_dict())
        ends = []
        for engine in (fresh, used):
            torch.manual_seed(7)
            ends.append([take_step(engine, step) for step in range(10)])
        assert ends[1] == pytest.approx(ends[0], rel=1e-4)


class BreakingOff(nn.Module):
    """Cannot be recorded, and says so in one of two ways."""

    def __init__(self, *, out_of_memory: bool) -> None:
        super().__init__()
        self.network, self.out_of_memory = with_dropout(), out_of_memory

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.network(images)
        if self.out_of_memory and torch.cuda.is_current_stream_capturing():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if not self.out_of_memory:
            logits.sum().item()
        return logits


class TestNetworkThatCannotBeRecorded:
    def test_goes_on_eager_as_if_nothing_had_been_tried(self):
        stream = torch.cuda.current_stream()
        plain = make_engine(with_dropout())
        engine = make_engine(BreakingOff(out_of_memory=False), graph=True, warm=False)
        engine.warm_up(*engine.slots[0])
        generators = torch.get_rng_state(), torch.cuda.get_rng_state()
        engine.capture()
        assert not engine.cuda_graph
        (reason,) = engine.fallbacks
        assert reason.startswith("the step cannot be recorded as a CUDA graph (")
        assert torch.equal(torch.get_rng_state(), generators[0])
        assert torch.equal(torch.cuda.get_rng_state(), generators[1])
        assert torch.cuda.current_stream() == stream
        ends = []
        for subject in (plain, engine):
            torch.manual_seed(7)  # dropout draws from the generator that the recording was to use
            ends.append([take_step(subject, step) for step in range(5)])
        assert ends[1] == pytest.approx(ends[0], rel=1e-4)

    def test_stands_in_no_others_way(self):
        engine = make_engine(BreakingOff(out_of_memory=False), graph=True, warm=False)
        engine.warm_up(*engine.slots[0])
        engine.capture()
        other = Engine(with_dropout(), COMMON, engine.settings, slots=engine.slots, device=engine.seam)
        other.warm_up(*other.slots[0])
        other.capture()
        assert (other.cuda_graph, other.fallbacks) == (True, [])
        assert 0 < take_step(other, 0) < 10

    def test_for_lack_of_memory_raises(self):
        stream = torch.cuda.current_stream()
        engine = make_engine(BreakingOff(out_of_memory=True), graph=True, warm=False)
        engine.warm_up(*engine.slots[0])
        with pytest.raises(torch.OutOfMemoryError):
            engine.capture()
        assert engine.fallbacks == []
        assert torch.cuda.current_stream() == stream


def make_pipeline(folder: Path, recipe: Recipe = COMMON, *, batch_size: int = 8, compiled: bool = False) -> Pipeline:
    dataset = load_dataset(f"folder:{folder}")
    pipeline = Pipeline(
        to_device(dataset.train, CUDA),
        to_device(dataset.test, CUDA),
        input_size=(32, 32),
        batch_size=batch_size,
        augmentation=recipe.augmentation,
        normalisation=normalisation_of(dataset, recipe.normalisation),
        seed=0,
        compiled=compiled,
    )
    pipeline.warm_up()
    assert pipeline.fallback is None
    return pipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("data") / "shades", size=32)


def test_batches_made_ahead_equal_those_made_in_turn(folder):
    plain, ahead = make_pipeline(folder, batch_size=4), make_pipeline(folder, batch_size=4)
    slots = [ahead.new_batch() for _ in range(2)]
    for _ in range(3):
        expected = list(plain.epoch())
        seen = []
        for images, labels in CudaDevice(0).run_ahead(ahead.epoch(slots)):
            torch.cuda._sleep(2_000_000)  # about 1 ms: the host is far ahead of the step that reads the slot
            seen.append((images.clone(), labels.clone()))
        assert len(seen) == len(expected) == 8
        for (images, labels), (others, other_labels) in zip(seen, expected, strict=True):
            assert torch.equal(labels, other_labels)
            assert torch.equal(images, others)


@pytest.mark.slow
def test_batches_of_compiled_code_equal_eager_ones(folder):
    eager, compiled = make_pipeline(folder), make_pipeline(folder, compiled=True)
    for (images, labels), (others, other_labels) in zip(eager.epoch(), compiled.epoch(), strict=True):
        torch.testing.assert_close(others, images, atol=2e-6, rtol=0)
        assert torch.equal(labels, other_labels)


class TestNothingWaits:
    def run(
        self, folder: Path, *, recipe: str = "common", slots: int = 2, compiled: bool = False, graph: bool = False
    ) -> bool:
        """Trains for an epoch in which anything that waits raises; returns whether every image was trained on."""
        apply_precision("bf16")
        settings = EngineSettings("cuda", "bf16", compile=compiled, cuda_graph=graph)
        pipeline, device = make_pipeline(folder, get_recipe(recipe), compiled=compiled), CudaDevice(0)
        places = [pipeline.new_batch() for _ in range(slots)]
        for slot, batch in zip(places, pipeline.epoch(), strict=False):
            for tensor, value in zip(slot, batch, strict=True):
                tensor.copy_(value)
        model = create_model("cnn", num_classes=2)
        engine = Engine(model, get_recipe(recipe), settings, slots=places, device=device)
        engine.warm_up(*places[0])
        engine.capture()
        assert (engine.compiled, engine.cuda_graph) == (compiled, graph)
        batches = pipeline.epoch(places)
        torch.cuda.set_sync_debug_mode("error")  # any operation that waits raises
        try:
            for images, labels in device.run_ahead(batches) if slots > 1 else batches:
                engine.set_learning_rate(0.01)
                engine.train_step(images, labels)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return engine.read_totals().images == len(pipeline.train)

    @pytest.mark.parametrize("graph", [False, True])
    @pytest.mark.parametrize("slots", [1, 2])
    @pytest.mark.parametrize("recipe", ["common", "resnet50_adam"])
    def test_inside_an_epoch(self, folder, recipe, slots, graph):
        assert self.run(folder, recipe=recipe, slots=slots, graph=graph)

    @pytest.mark.slow
    @pytest.mark.parametrize("graph", [False, True])
    def test_inside_an_epoch_of_compiled_code(self, folder, graph):
        assert self.run(folder, compiled=True, graph=graph)
