from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torchvision
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resbench.measure.flops import (
    Complexity,
    count_forward_flops,
    count_training_flops,
    count_with_fvcore,
    measure_complexity,
)
from resbench.registry import create_model

IMAGENET = (3, 224, 224)
RESNETS: dict[str, Callable[[], nn.Module]] = {
    "d2l_resnet18": lambda: create_model("d2l_resnet18", num_classes=1000),
    "resnet34": lambda: create_model("resnet34", num_classes=1000),
    "torchvision's resnet50": torchvision.models.resnet50,
    "resnet152": lambda: create_model("resnet152", num_classes=1000),
}


def by_hand() -> nn.Sequential:
    """3x3 convolution 3-8, strided 3x3 convolution 8-16, linear 16-5, on 3x8x12 images."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


FIRST = 8 * 12 * 8 * 3 * 9
SECOND = 4 * 6 * 16 * 8 * 9
HEAD = 16 * 5
ACTIVATIONS = 8 * 12 * 8 + 4 * 6 * 16 + 5


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build()


def test_every_count_of_a_small_network_equals_its_closed_form():
    counted = measure_complexity(by_hand, (3, 8, 12))
    params = 8 * 27 + 2 * 8 + 16 * 8 * 9 + 16 + 16 * 5 + 5
    batch_norm_and_pool = 2 * 8 * 12 * 8 + 4 * 6 * 16  # fvcore: 2 an element in eval mode, and 1
    assert counted == Complexity(
        params=params,
        trainable_params=params,
        macs=FIRST + SECOND + HEAD,
        forward_flops=2 * (FIRST + SECOND + HEAD),
        # The gradient of weights and that of the input each cost a forward pass; the first layer has no second.
        train_flops_per_image=2 * (2 * FIRST + 3 * SECOND + 3 * HEAD),
        macs_fvcore=FIRST + SECOND + HEAD + batch_norm_and_pool,
        activations=ACTIVATIONS,
    )


@pytest.mark.parametrize("groups", [1, 2, 16])
def test_a_convolution_in_groups_costs_twice_its_forward_pass_to_train(groups):
    model = nn.Sequential(
        nn.Conv2d(3, 16, 1, bias=False),
        nn.Conv2d(16, 32, 3, padding=1, groups=groups, bias=False),
        nn.ConvTranspose2d(32, 16, 2, stride=2, groups=groups, bias=False),
    )
    first, grouped, up = 64 * 3 * 16, 64 * 9 * 16 // groups * 32, 64 * 32 * 4 * 16 // groups
    assert count_forward_flops(model.to("meta"), (3, 8, 8)) == 2 * (first + grouped + up)
    assert count_training_flops(model, (3, 8, 8)) == 2 * (2 * first + 3 * grouped + 3 * up)


def test_frozen_layers_cost_no_training():
    model = by_hand()
    model[:5].requires_grad_(False)
    forward = 2 * (FIRST + SECOND + HEAD)
    assert count_training_flops(model.to("meta"), (3, 8, 12)) == forward + 2 * HEAD
    frozen = on_meta(lambda: create_model("resnet152_frozen", weights="random"))
    trained = on_meta(lambda: create_model("resnet152"))
    forward = count_forward_flops(trained, (3, 32, 32))
    assert count_forward_flops(frozen, (3, 32, 32)) == forward
    assert count_training_flops(frozen, (3, 32, 32)) == forward + 2 * 2048 * 10
    assert count_training_flops(trained, (3, 32, 32)) > 2.9 * forward


def test_trainable_parameters_of_a_frozen_network_are_its_heads():
    def build() -> nn.Module:
        model = by_hand()
        model[:5].requires_grad_(False)
        return model

    counted = measure_complexity(build, (3, 8, 12))
    assert counted.trainable_params == 16 * 5 + 5
    assert counted.params > counted.trainable_params


@pytest.mark.parametrize(
    ("name", "ratio"),
    [("d2l_resnet18", 2.935), ("resnet34", 2.968), ("torchvision's resnet50", 2.971), ("resnet152", 2.990)],
)
def test_training_over_forward_flops_is_the_published_ratio(name, ratio):
    model = on_meta(RESNETS[name])
    forward, training = count_forward_flops(model, IMAGENET), count_training_flops(model, IMAGENET)
    assert training / forward == pytest.approx(ratio, abs=5e-4)


def test_training_flops_equal_those_counted_on_the_processor():
    model = create_model("d2l_resnet18")
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(4, 3, 32, 32)).sum().backward()
    skeleton = on_meta(lambda: create_model("d2l_resnet18"))
    assert count_training_flops(skeleton, (3, 32, 32)) == counter.get_total_flops() / 4


@pytest.mark.parametrize("name", [name for name in RESNETS if name != "resnet152"])
def test_fvcore_counts_a_little_more_of_a_residual_network(name):
    macs_fvcore, _, _ = count_with_fvcore(RESNETS[name](), IMAGENET)
    assert macs_fvcore is not None
    apart = macs_fvcore / (count_forward_flops(on_meta(RESNETS[name]), IMAGENET) / 2) - 1
    assert 0.002 <= apart <= 0.006


@pytest.mark.parametrize("name", [name for name in RESNETS if name != "resnet152"])
def test_fvcore_counts_the_same_without_batch_norm_and_pooling(name):
    analysis = FlopCountAnalysis(RESNETS[name]().eval(), torch.zeros(1, *IMAGENET))
    analysis.unsupported_ops_warnings(False)
    for operator in ("aten::batch_norm", "aten::adaptive_avg_pool2d", "aten::mean"):
        analysis.set_op_handle(operator, lambda inputs, outputs: 0)
    assert 2 * analysis.total() == count_forward_flops(on_meta(RESNETS[name]), IMAGENET)


def test_counting_with_fvcore_leaves_batch_norm_statistics_alone():
    model = by_hand()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_with_fvcore(model, (3, 8, 12))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Untraceable(nn.Module):
    """What tracing cannot follow: its forward pass raises unless it is skipped."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.head = nn.Linear(3 * 8 * 12, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing():
            raise self.error
        return self.head(images.flatten(1))


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyError("no"), AttributeError("no"), AssertionError("no")])
def test_what_fvcore_cannot_trace_is_counted_without_it(error):
    counted = measure_complexity(lambda: Untraceable(error), (3, 8, 12))
    assert counted.macs == 3 * 8 * 12 * 5
    assert counted.macs_fvcore is None
    assert counted.activations is None
    assert counted.disagreement is not None
    assert "no cross-check" in counted.disagreement


@pytest.mark.parametrize(
    ("macs_fvcore", "text"),
    [
        (1_000_000, None),
        (1_009_900, None),
        (990_100, None),
        (1_010_600, "fvcore counts +1.1% MACs"),
        (1_254_321, "fvcore counts +25.4% MACs"),
        (985_000, "fvcore counts -1.5% MACs"),
    ],
)
def test_a_disagreement_of_more_than_one_percent_is_said(macs_fvcore, text):
    counted = measure_complexity(by_hand, (3, 8, 12))
    assert dataclasses.replace(counted, macs=1_000_000, macs_fvcore=macs_fvcore).disagreement == text
