from __future__ import annotations

import copy
import dataclasses
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resbench.data.pipeline import PADDING
from resbench.recipes import Constant, Recipe
from resbench.schema import EngineSettings
from resbench.training.engine import Engine, Totals, initialise, make_optimizer

CLASSES, BATCH = 5, 8
CPU = EngineSettings("cpu", "fp32")
COMPILED = EngineSettings("cpu", "fp32", compile=True)
SGD = Recipe(
    name="sgd",
    source="test",
    batch_size=BATCH,
    budget="1ep",
    optimizer="sgd",
    learning_rate=0.1,
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    schedule=Constant(),
    label_smoothing=0.1,
)
PLAIN_SGD = dataclasses.replace(SGD, momentum=0.0, nesterov=False, weight_decay=0.0, label_smoothing=0.0)
ADAM = dataclasses.replace(SGD, optimizer="adam", momentum=0.0, nesterov=False, weight_decay=1e-3)
RECIPES = {"sgd-nesterov": SGD, "plain-sgd": PLAIN_SGD, "adam": ADAM}
LEARNING_RATES = [0.05, 0.1, 0.02, 0.0, 0.01, 0.03]


def network(*, dropout: float = 0.0, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),  # a bias before BN has gradient 0, and Adam blows its noise up
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, CLASSES),
    )


def batch(seed: int = 0, count: int = BATCH) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 6, 6, generator=generator).contiguous(memory_format=torch.channels_last)
    return images, torch.randint(CLASSES, (count,), generator=generator)


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def train(engine: Engine, steps: int = 6) -> None:
    engine.model.train()
    for step in range(steps):
        engine.set_learning_rate(LEARNING_RATES[step])
        engine.train_step(*batch(step))


def reference_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Plain, neither fused nor over lists of tensors, with a number as its learning rate."""
    common = {"lr": 0.0, "weight_decay": recipe.weight_decay, "foreach": False, "fused": False}
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), **common)
    return torch.optim.SGD(model.parameters(), momentum=recipe.momentum, nesterov=recipe.nesterov, **common)


@pytest.mark.parametrize("name", RECIPES)
def test_training_steps_equal_a_plain_reference(name):
    recipe, model = RECIPES[name], network()
    reference = copy.deepcopy(model)
    optimizer = reference_optimizer(reference, recipe)
    engine = Engine(model, recipe, CPU)
    train(engine)
    loss_sum = 0.0
    for step, learning_rate in enumerate(LEARNING_RATES):
        images, labels = batch(step)
        loss = F.cross_entropy(reference(images.contiguous()), labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = learning_rate
        optimizer.step()
        loss_sum += loss.item() * BATCH
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(engine.model.state_dict()[name], value, atol=1e-6, rtol=1e-5, msg=name)
    assert engine.read_totals().loss == pytest.approx(loss_sum, rel=1e-6)


def test_label_smoothing_equals_its_definition():
    engine = Engine(network(), SGD, CPU)
    images, labels = batch()
    loss, logits = engine.loss(images, labels)
    target = F.one_hot(labels, CLASSES) * 0.9 + 0.1 / CLASSES
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss, expected)


def test_a_learning_rate_of_0_changes_no_parameter():
    engine = Engine(network(), SGD, CPU)
    before = {name: value.clone() for name, value in engine.model.named_parameters()}
    engine.set_learning_rate(0.0)
    engine.train_step(*batch())
    assert same(before, dict(engine.model.named_parameters()))


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_the_optimizer_has_the_recipes_hyperparameters(momentum, nesterov):
    recipe = dataclasses.replace(SGD, momentum=momentum, nesterov=nesterov)
    learning_rate = torch.tensor(0.25)
    group = make_optimizer(network(), recipe, learning_rate).param_groups[0]
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (momentum, nesterov, 5e-4)
    assert group["lr"] is learning_rate
    assert group["fused"]


class TestTotals:
    class Fixed(nn.Module):
        """Gives the logits that it is told to."""

        def __init__(self, logits: torch.Tensor) -> None:
            super().__init__()
            self.logits = nn.Parameter(logits)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.logits[: len(images)]

    LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.5]])

    def engine(self) -> Engine:
        return Engine(self.Fixed(self.LOGITS.clone()), PLAIN_SGD, CPU)

    def nll(self, row: int, label: int) -> float:
        logits = self.LOGITS[row].tolist()
        return math.log(sum(math.exp(value) for value in logits)) - logits[label]

    def test_of_evaluation_equal_hand_computation_and_leave_padding_out(self):
        engine = self.engine()
        engine.eval_step(torch.zeros(4, 3, 2, 2), torch.tensor([0, 2, 1, 0]))
        engine.eval_step(torch.zeros(4, 3, 2, 2), torch.tensor([0, PADDING, PADDING, PADDING]))
        totals = engine.read_totals()
        expected = self.nll(0, 0) + self.nll(1, 2) + self.nll(2, 1) + self.nll(3, 0) + self.nll(0, 0)
        assert totals.loss == pytest.approx(expected, rel=1e-6)
        assert (totals.correct, totals.images) == (3, 5)
        assert totals.accuracy == 3 / 5
        assert totals.mean_loss == pytest.approx(expected / 5, rel=1e-6)

    def test_of_training_equal_hand_computation(self):
        engine = self.engine()
        for _ in range(2):
            engine.train_step(torch.zeros(4, 3, 2, 2), torch.tensor([0, 2, 1, 0]))
        totals = engine.read_totals()
        expected = 2 * (self.nll(0, 0) + self.nll(1, 2) + self.nll(2, 1) + self.nll(3, 0))
        assert totals.loss == pytest.approx(expected, rel=1e-6)
        assert (totals.correct, totals.images) == (4, 8)

    def test_start_anew_when_they_are_read(self):
        engine = self.engine()
        engine.eval_step(torch.zeros(4, 3, 2, 2), torch.tensor([0, 2, 1, 0]))
        engine.read_totals()
        assert engine.read_totals() == Totals(0.0, 0, 0)

    def test_of_evaluation_leave_the_model_as_it_is(self):
        engine = Engine(network(), SGD, CPU)
        engine.model.eval()
        before = snapshot(engine.model)
        engine.eval_step(*batch())
        assert same(before, engine.model.state_dict())
        assert all(parameter.grad is None for parameter in engine.model.parameters())


class TestWarmUp:
    @pytest.mark.parametrize("name", RECIPES)
    def test_leaves_everything_as_it_was(self, name):
        engine = Engine(network(dropout=0.5), RECIPES[name], CPU)
        before, generator = snapshot(engine.model), torch.get_rng_state()
        engine.warm_up(*batch())
        assert same(before, engine.model.state_dict())
        assert engine.model[1].num_batches_tracked == 0
        assert torch.equal(torch.get_rng_state(), generator)
        assert not engine.optimizer.state
        assert all(parameter.grad is None for parameter in engine.model.parameters())
        assert engine.read_totals() == Totals(0.0, 0, 0)
        assert engine.model.training

    @pytest.mark.parametrize("name", RECIPES)
    def test_does_not_change_what_training_ends_with(self, name):
        ends = []
        for warm in (False, True):
            engine = Engine(network(dropout=0.5), RECIPES[name], CPU)
            torch.manual_seed(7)
            if warm:
                engine.warm_up(*batch(99), steps=3)
            train(engine)
            ends.append((snapshot(engine.model), engine.read_totals()))
        assert same(ends[0][0], ends[1][0])
        assert ends[0][1] == ends[1][1]

    def test_runs_both_kinds_of_step(self):
        modes = []
        model = network()
        model.register_forward_hook(lambda module, inputs, output: modes.append(module.training))
        Engine(model, SGD, CPU).warm_up(*batch(), steps=3)
        assert modes == [True, True, True, False]


class TestFrozenParameters:
    def engine(self, recipe: Recipe) -> Engine:
        model = network()
        model[0].requires_grad_(False)
        return Engine(model, recipe, CPU)

    @pytest.mark.parametrize("name", RECIPES)
    def test_are_not_updated_and_the_others_are(self, name):
        engine = self.engine(RECIPES[name])
        before = snapshot(engine.model)
        train(engine)
        changed = {name for name, value in engine.model.named_parameters() if not torch.equal(value, before[name])}
        assert changed == {"1.weight", "1.bias", "6.weight", "6.bias"}

    def test_are_not_in_the_optimizer(self):
        engine = self.engine(SGD)
        held = {id(parameter) for group in engine.optimizer.param_groups for parameter in group["params"]}
        trained = {id(parameter) for parameter in engine.model.parameters() if parameter.requires_grad}
        assert held == trained


class TestInitialise:
    def test_xavier_uniform_stays_inside_its_bound_and_fills_it(self):
        model = nn.Sequential(nn.Conv2d(16, 32, 3), nn.Flatten(), nn.Linear(300, 100))
        initialise(model, "xavier_uniform")
        for weight, bound in (
            (model[0].weight.detach(), math.sqrt(6 / (16 * 9 + 32 * 9))),
            (model[2].weight.detach(), math.sqrt(6 / (300 + 100))),
        ):
            assert weight.abs().max() <= bound
            assert weight.abs().max() > 0.99 * bound
            assert float(weight.std(correction=0)) == pytest.approx(bound / math.sqrt(3), rel=0.05)

    def test_xavier_uniform_leaves_biases_and_batch_norm_alone(self):
        model = network()
        before = snapshot(model)
        initialise(model, "xavier_uniform")
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == {"0.weight", "6.weight"}

    def test_model_leaves_everything_alone(self):
        model = network()
        before = snapshot(model)
        initialise(model, "model")
        assert same(before, model.state_dict())


class TestPrecisionAndLayout:
    def conv_output(self, engine: Engine) -> torch.Tensor:
        outputs: list[torch.Tensor] = []
        handle = engine.model[0].register_forward_hook(lambda module, inputs, output: outputs.append(output))
        engine.forward(batch()[0])
        handle.remove()
        return outputs[0]

    def test_bf16_computes_in_bf16_and_keeps_weights_statistics_and_logits_in_fp32(self):
        engine = Engine(network(), SGD, EngineSettings("cpu", "bf16"))
        assert self.conv_output(engine).dtype == torch.bfloat16
        assert engine.forward(batch()[0]).dtype == torch.float32
        train(engine)
        floating = [value for value in engine.model.state_dict().values() if value.is_floating_point()]
        assert {value.dtype for value in floating} == {torch.float32}
        assert {value.dtype for value in engine.optimizer.state[engine.model[0].weight].values()} == {torch.float32}
        assert engine.read_totals().images == 6 * BATCH

    def test_bf16_learns_nearly_what_fp32_learns(self):
        losses = []
        for precision in ("fp32", "bf16"):
            engine = Engine(network(), SGD, EngineSettings("cpu", precision))
            train(engine)
            losses.append(engine.read_totals().mean_loss)
        assert losses[0] != losses[1]
        assert losses[0] == pytest.approx(losses[1], rel=0.01)

    def test_fp32_computes_in_fp32(self):
        assert self.conv_output(Engine(network(), SGD, CPU)).dtype == torch.float32

    @pytest.mark.parametrize(
        ("memory_format", "layout"),
        [("channels_last", torch.channels_last), ("contiguous", torch.contiguous_format)],
    )
    @pytest.mark.parametrize("given", [torch.channels_last, torch.contiguous_format])
    def test_the_memory_format_is_that_of_the_settings_whatever_the_batch_has(self, given, memory_format, layout):
        engine = Engine(network(), SGD, EngineSettings("cpu", "fp32", memory_format=memory_format))
        seen = []
        engine.model[0].register_forward_hook(lambda module, inputs, output: seen.extend([*inputs, output]))
        images, labels = batch()
        engine.train_step(images.contiguous(memory_format=given), labels)
        assert len(seen) == 2
        assert all(tensor.is_contiguous(memory_format=layout) for tensor in seen)
        assert engine.model[0].weight.is_contiguous(memory_format=layout)


class TestCompileFallback:
    @pytest.fixture(autouse=True)
    def _failing_compiler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail_after_a_forward_pass(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
            def forward(images: torch.Tensor) -> torch.Tensor:
                model(images)  # batch-norm statistics and dropout's draws have moved
                raise NotImplementedError("no lowering for this operator\nand a long explanation")

            return forward

        monkeypatch.setattr(torch, "compile", fail_after_a_forward_pass)

    def test_runs_eager_and_says_why(self):
        engine = Engine(network(), SGD, COMPILED)
        assert engine.compiled
        engine.warm_up(*batch())
        assert not engine.compiled
        assert engine.fallback == (
            "torch.compile failed (NotImplementedError: no lowering for this operator), eager instead"
        )

    def test_ends_as_a_run_that_was_eager_from_the_start(self):
        ends = []
        for settings in (CPU, COMPILED):
            engine = Engine(network(dropout=0.5), SGD, settings)
            torch.manual_seed(7)
            before, generator = snapshot(engine.model), torch.get_rng_state()
            engine.warm_up(*batch(99))
            assert same(before, engine.model.state_dict())
            assert torch.equal(torch.get_rng_state(), generator)
            train(engine)
            ends.append(snapshot(engine.model))
        assert same(*ends)

    def test_there_may_be_no_compiler_at_all(self, monkeypatch):
        def refuse(model: nn.Module) -> nn.Module:
            raise RuntimeError("Dynamo is not supported on this Python")

        monkeypatch.setattr(torch, "compile", refuse)
        engine = Engine(network(), SGD, COMPILED)
        assert not engine.compiled
        assert engine.fallback is not None
        assert "Dynamo is not supported on this Python" in engine.fallback
        engine.warm_up(*batch())
        train(engine)

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            MemoryError(),
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes."),
        ],
    )
    def test_running_out_of_memory_is_not_taken_for_it(self, error, monkeypatch):
        def exhausted(images: torch.Tensor) -> torch.Tensor:
            raise error

        monkeypatch.setattr(torch, "compile", lambda model: exhausted)
        engine = Engine(network(), SGD, COMPILED)
        with pytest.raises(type(error)):
            engine.warm_up(*batch())
        assert engine.fallback is None

    def test_an_error_of_the_model_itself_is_raised(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(1, CLASSES))  # does not fit the images
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            Engine(model, SGD, COMPILED).warm_up(*batch())
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            Engine(copy.deepcopy(model), SGD, CPU).warm_up(*batch())


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
def test_compiled_steps_equal_eager_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    losses = []
    for settings in (CPU, COMPILED):
        engine = Engine(network(), SGD, settings)
        before = snapshot(engine.model)
        engine.warm_up(*batch())
        assert same(before, engine.model.state_dict())
        assert engine.compiled == settings.compile
        assert engine.fallback is None
        for step in range(4):
            engine.set_learning_rate(0.05)
            engine.train_step(*batch(step))
            losses.append(engine.read_totals().mean_loss)
    assert losses[:4] == pytest.approx(losses[4:], rel=1e-4)
