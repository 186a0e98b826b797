from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from small_engines import (
    BATCH,
    CLASSES,
    CPU,
    LEARNING_RATES,
    PLAIN_SGD,
    RECIPES,
    SGD,
    batch,
    network,
    same,
    snapshot,
    train,
)
from torch import nn

from resbench.data.pipeline import PADDING
from resbench.recipes import Recipe
from resbench.schema import EngineSettings
from resbench.training.engine import Engine, Totals
from resbench.training.optimizer import initialise, make_optimizer


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
    logits = engine.forward(images)
    target = F.one_hot(labels, CLASSES) * 0.9 + 0.1 / CLASSES
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    loss, sums = engine.loss(images, labels)
    torch.testing.assert_close(loss, expected)
    hits = int((logits.argmax(1) == labels).sum())
    assert sums.tolist() == [pytest.approx(expected.item() * BATCH), hits, BATCH, 1]
    assert not sums.requires_grad


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

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_of_evaluation_equal_hand_computation_and_leave_padding_and_smoothing_out(self, smoothing):
        recipe = dataclasses.replace(PLAIN_SGD, label_smoothing=smoothing)
        engine = Engine(self.Fixed(self.LOGITS.clone()), recipe, CPU)
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


class TestMicroBatches:
    @pytest.mark.parametrize("size", [1, 3, 4, 7, BATCH])
    def test_gradients_are_those_of_the_whole_batch_where_no_statistics_are_taken_over_it(self, size):
        def train(micro_batch_size: int | None) -> Engine:
            engine = Engine(network().eval(), SGD, CPU, micro_batch_size=micro_batch_size)
            engine.model.train = lambda mode=True: engine.model  # batch norm keeps its running statistics
            engine.set_learning_rate(0.1)
            for step in range(3):
                engine.train_step(*batch(step))
            return engine

        whole, parts = train(None), train(size)
        for name, value in whole.model.state_dict().items():
            torch.testing.assert_close(parts.model.state_dict()[name], value, atol=1e-6, rtol=1e-5, msg=name)
        left, right = whole.read_totals(), parts.read_totals()
        assert left.loss == pytest.approx(right.loss, rel=1e-5)
        assert (left.correct, left.images, left.finite_steps) == (right.correct, right.images, right.finite_steps)
        assert left.finite_steps == 3

    def test_parts_differ_by_one_image_at_most(self):
        engine = Engine(network(), SGD, CPU, micro_batch_size=3)
        parts = engine.micro_batches(*batch())
        assert [len(labels) for _, labels in parts] == [3, 3, 2]
        assert torch.equal(torch.cat([images for images, _ in parts]), batch()[0])

    def test_a_step_with_one_part_that_is_no_number_is_not_finite(self):
        engine = Engine(network(), SGD, CPU, micro_batch_size=4)
        images, labels = batch()
        images[0] = float("nan")
        engine.train_step(images, labels)
        assert engine.read_totals().finite_steps == 0

    def test_an_evaluation_says_which_images_it_got_right_whatever_the_parts(self):
        engines = [Engine(network(), SGD, CPU, micro_batch_size=size) for size in (None, 3)]
        images, labels = batch()
        labels = labels.clone()
        labels[5] = PADDING
        for engine in engines:
            engine.model.eval()
            engine.eval_step(images, labels)
        right = engines[0].forward(images).argmax(1) == labels
        for engine in engines:
            assert torch.equal(engine.correct, right)
            assert engine.read_totals().correct == int(right.sum())
        assert not right[5]
