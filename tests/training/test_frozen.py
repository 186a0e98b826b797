"""Frozen parameters cost nothing backward, and frozen batch norm does what the recipe says."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from frozen_networks import BATCH, BN_TRAIN, CLASSES, FEATURES, SETTINGS, engine_of, frozen_network, image_pipeline
from frozen_networks import statistics as statistics_of
from small_engines import same
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resbench.budget import parse_budget, plan_spending
from resbench.devices import CpuDevice
from resbench.measure.latency import measure_latency
from resbench.measure.memory import measure_memory
from resbench.registry import create_model
from resbench.training.frozen import frozen_batch_norms, possible_heads, train_mode
from resbench.training.ledger import Ledger
from resbench.training.loop import Loop
from resbench.training.state import engine_state, load_engine_state

CONV, HEAD = 2 * 8 * 8 * 8 * 3 * 9, 2 * 32 * CLASSES
"""FLOPs of one image's forward pass through the convolution and the head."""
RECIPES = {"train": BN_TRAIN, "eval": FEATURES}
BOTH_MODES = pytest.mark.parametrize("mode", ["train", "eval"])


def norms(model: nn.Module) -> set[str]:
    """Names of the frozen batch-norm layers."""
    found = {id(layer) for layer in frozen_batch_norms(model)}
    return {name for name, module in model.named_modules() if id(module) in found}


class TestNothingIsComputedBackwardThroughAFrozenBackbone:
    def step_flops(self, model: nn.Module, mode: str) -> int:
        engine = engine_of(model, RECIPES[mode])
        engine.train_mode()
        batch = next(image_pipeline().epoch())
        with FlopCounterMode(display=False) as counter:
            engine.train_step(*batch)
        return counter.get_total_flops()

    @BOTH_MODES
    def test_a_step_costs_the_forward_pass_and_the_gradient_of_the_heads_weight(self, mode):
        assert self.step_flops(frozen_network(), mode) == BATCH * (CONV + 2 * HEAD)
        # Of the same network, trained: every weight's gradient, and that of what goes into the head.
        trained = frozen_network().requires_grad_(True)
        assert self.step_flops(trained, mode) == BATCH * (2 * CONV + 3 * HEAD)

    @BOTH_MODES
    def test_no_frozen_parameter_has_a_gradient_and_the_heads_input_wants_none(self, mode):
        engine = engine_of(frozen_network(), RECIPES[mode])
        model, inputs = engine.model, []
        model.head.register_forward_hook(lambda module, args, output: inputs.append(args[0]))
        engine.train_mode()
        loss, _ = engine.loss(*next(image_pipeline().epoch()))
        loss.backward()
        assert [(tensor.requires_grad, tensor.grad_fn) for tensor in inputs] == [(False, None)]
        with_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
        assert with_gradient == {"head.weight", "head.bias"}
        held = [parameter for group in engine.optimizer.param_groups for parameter in group["params"]]
        assert {id(parameter) for parameter in held} == {id(model.head.weight), id(model.head.bias)}

    def test_the_same_holds_of_the_whole_resnet152(self):
        with torch.device("meta"):
            model = create_model("resnet152_frozen", weights="random")
            images, labels = torch.empty(2, 3, 32, 32), torch.empty(2, dtype=torch.int64)
        inputs = []
        model.fc.register_forward_hook(lambda module, args, output: inputs.append(args[0]))
        with torch.no_grad(), FlopCounterMode(display=False) as forward:
            model(images)
        with FlopCounterMode(display=False) as step:
            nn.functional.cross_entropy(model(images), labels).backward()
        assert step.get_total_flops() == forward.get_total_flops() + 2 * 2 * 2048 * 10
        assert not any(tensor.requires_grad for tensor in inputs)
        assert {name for name, p in model.named_parameters() if p.grad is not None} == {"fc.weight", "fc.bias"}


class TestTrainMode:
    def test_freezes_no_statistics_where_a_parameter_is_trained(self):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4))
        model[1].requires_grad_(False)
        model[2].weight.requires_grad_(False)  # its bias is trained
        assert norms(model) == {"1"}
        train_mode(model, "eval")
        assert [module.training for module in model] == [True, False, True, True]
        train_mode(model, "train")
        assert all(module.training for module in model)

    def test_leaves_dropout_and_all_else_in_train_mode(self):
        model = frozen_network(backbone=nn.Dropout(0.5))
        train_mode(model.eval(), "eval")
        assert {name for name, module in model.named_modules() if not module.training} == {"norm"}

    def test_another_mode_is_refused(self):
        with pytest.raises(ValueError, match="'train' or 'eval', not 'frozen'"):
            train_mode(nn.ReLU(), "frozen")

    @pytest.mark.parametrize(
        ("model", "frozen"),
        [
            # The smallest module around it that has parameters decides, here the network or the head.
            (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)), {"1"}),
            (frozen_network(head=nn.Sequential(nn.BatchNorm1d(32, affine=False), nn.Linear(32, 3))), {"norm"}),
            # Where it holds both kinds, the layer before does; for the first one, the layer after.
            (frozen_network(backbone=nn.BatchNorm2d(8, affine=False)), {"norm", "more"}),
            (nn.Sequential(nn.BatchNorm2d(3, affine=False), frozen_network()), {"0", "1.norm"}),
            (nn.BatchNorm2d(3, affine=False), set()),  # no parameter at all: nothing is frozen
        ],
        ids=["all frozen", "in a trained head", "after a frozen layer", "first", "alone"],
    )
    def test_batch_norm_without_parameters_goes_with_what_it_stands_beside(self, model, frozen):
        if isinstance(model, nn.Sequential) and isinstance(model[0], nn.Conv2d) and len(model) == 2:
            model.requires_grad_(False)
        assert norms(model) == frozen

    def test_batch_norm_without_parameters_after_a_trained_layer_is_trained(self):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, affine=False))
        model[0].requires_grad_(False)
        assert norms(model) == set()


class TestStatistics:
    @BOTH_MODES
    def test_move_in_a_training_in_train_mode_alone(self, mode):
        engine, pipeline = engine_of(frozen_network(), RECIPES[mode]), image_pipeline()
        before = statistics_of(engine.model)
        spending = plan_spending(parse_budget("2.5ep"), batch_size=BATCH, steps_per_epoch=pipeline.steps_per_epoch)
        Loop(engine, pipeline, CpuDevice(), RECIPES[mode], spending, Ledger()).run()
        assert same(before, statistics_of(engine.model)) == (mode == "eval")
        moved = {name for name, value in statistics_of(engine.model).items() if not torch.equal(value, before[name])}
        assert moved == (set() if mode == "eval" else {"norm.running_mean", "norm.running_var", *TRACKED})

    @BOTH_MODES
    def test_are_as_they_were_after_warm_up_and_recording(self, mode):
        engine = engine_of(frozen_network(), RECIPES[mode], dataclasses.replace(SETTINGS, cuda_graph=True))
        engine.train_mode()
        before = statistics_of(engine.model)
        engine.warm_up(*engine.slots[0])
        engine.capture()
        assert engine.cuda_graph
        assert same(before, statistics_of(engine.model))
        assert engine.model.norm.training == (mode == "train")
        assert engine.model.head.training

    @pytest.mark.parametrize("begin", ["restart", "state", "latency", "memory", "preserved"])
    def test_stay_in_eval_mode_however_training_begins(self, begin):
        engine = engine_of(frozen_network())
        before = statistics_of(engine.model)
        if begin == "restart":
            engine.restart(frozen_network().state_dict())
        elif begin == "state":
            load_engine_state(engine, engine_state(engine))
        elif begin == "latency":
            measure_latency(engine, CpuDevice(), with_step=True, max_seconds=0.0)
        elif begin == "memory":
            measure_memory(engine, CpuDevice(), level_mib=0.0)
        else:
            with engine.preserved():
                engine.model.eval()
        assert (engine.model.training, engine.model.norm.training) == (True, False)
        engine.train_step(*next(image_pipeline().epoch()))
        assert same(before, statistics_of(engine.model))

    def test_are_what_images_are_normalised_by_in_eval_mode(self):
        engine, (images, _) = engine_of(frozen_network()), next(image_pipeline().epoch())
        reference = frozen_network().eval()
        engine.train_mode()
        torch.testing.assert_close(engine.forward(images), reference(images))
        by_batch = engine_of(frozen_network(), BN_TRAIN)
        by_batch.train_mode()
        assert not torch.allclose(by_batch.forward(images), reference(images), atol=1e-3)


TRACKED = {"norm.num_batches_tracked"}


class TestPossibleHeads:
    def names(self, model: nn.Module) -> list[str]:
        return [name for name, _ in possible_heads(model)]

    def test_is_the_one_trained_module_and_those_around_it(self):
        nested = nn.Sequential(nn.BatchNorm1d(32, affine=False), nn.Linear(32, 3))
        assert self.names(frozen_network()) == ["head"]
        assert self.names(frozen_network(head=nested)) == ["head.1", "head"]
        with torch.device("meta"):
            assert self.names(create_model("resnet152_frozen", weights="random")) == ["fc"]

    def test_is_none_where_the_backbone_is_trained_nothing_is_or_nothing_is_frozen(self):
        trained = frozen_network()
        trained.norm.bias.requires_grad_(True)
        assert self.names(trained) == []
        assert self.names(frozen_network().requires_grad_(False)) == []
        assert self.names(nn.Sequential(nn.Flatten(), nn.Linear(4, 2))) == []

    def test_is_none_where_a_frozen_part_shares_a_trained_tensor(self):
        model = frozen_network(head=nn.Linear(32, 32))
        model.twin = nn.Linear(32, 32)
        model.twin.weight = model.head.weight
        model.twin.bias.requires_grad_(False)
        assert self.names(model) == []
