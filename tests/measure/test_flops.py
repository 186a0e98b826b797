from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from counted_networks import VALUES, Network, bilinear, deformable
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from resbench.measure.flops import (
    Complexity,
    count_flops,
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


def deformable_network() -> nn.Module:
    def forward(self: Network, images: torch.Tensor) -> torch.Tensor:
        maps = self.stem(images)
        return self.head(self.deformed(maps, self.offsets(maps)).mean((2, 3)))

    return Network(
        forward,
        stem=nn.Conv2d(3, 16, 3, padding=1),
        offsets=nn.Conv2d(16, 18, 3, padding=1),
        deformed=torchvision.ops.DeformConv2d(16, 64, 3, padding=1),
        head=nn.Linear(64, 10),
    )


def test_a_deformable_convolution_counts_as_a_convolution_forward_and_backward():
    stem, offsets, deformed, head = 1024 * 27 * 16, 1024 * 144 * 18, 1024 * 144 * 64, 640
    assert stem + offsets + deformed + head == 12_534_400
    counted = measure_complexity(deformable_network, (3, 32, 32))
    assert counted.macs == 12_534_400
    assert counted.train_flops_per_image == 2 * (2 * stem + 3 * (offsets + deformed + head))
    assert counted.disagreement == "fvcore counts -75.3% MACs: fvcore does not know deform_conv2d"


def test_fvcore_agrees_with_no_operator_that_it_does_not_know():
    counted = measure_complexity(by_hand, (3, 8, 12))
    few = dataclasses.replace(counted, macs_fvcore=counted.macs, missed_by_fvcore=("dot",))
    assert few.disagreement == "fvcore does not know dot"
    assert few.notes == ["fvcore does not know dot"]


def after_features(head: Callable[..., torch.Tensor], *shapes: tuple[int, ...]) -> Callable[[], nn.Module]:
    """Makes networks with a linear layer 192-12 before what is counted."""

    def forward(self: Network, images: torch.Tensor, *own: torch.Tensor) -> torch.Tensor:
        return head(self.features(images.flatten(1)), *own)

    return lambda: Network(forward, *shapes, features=nn.Linear(VALUES, 12))


PRODUCTS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    # a head, its multiply-adds, and how many times as many it has forward and backward
    "mv": (after_features(lambda x, v: x @ v, (12,)), 12, 3),
    "linear to one": (after_features(lambda x, v: F.linear(x, v), (12,)), 12, 3),
    "dot": (after_features(lambda x, v: torch.stack([torch.dot(row, v) for row in x]), (12,)), 12, 3),
    "vdot": (after_features(lambda x, v: torch.stack([torch.vdot(row, v) for row in x]), (12,)), 12, 3),
    "addmv": (after_features(lambda x, v, b: torch.addmv(b, x, v), (12,), (1,)), 12, 3),
    "addmv in place": (after_features(lambda x, v: x.new_zeros(len(x)).addmv_(x, v), (12,)), 12, 3),
    "addbmm": (after_features(lambda x, w, b: torch.addbmm(b, x[None], w), (1, 12, 5), (5,)), 60, 3),
    "baddbmm": (after_features(lambda x, w, b: torch.baddbmm(b, x[None], w), (1, 12, 5), (1, 1, 5)), 60, 3),
    "addr": (after_features(lambda x, v, b: torch.addr(b, x[:, 0], v), (5,), (5,)), 5, 3),
    "inner": (after_features(lambda x, w: torch.inner(x, w), (5, 12)), 60, 3),
    "einsum": (after_features(lambda x, w: torch.einsum("bi,oi->bo", x, w), (5, 12)), 60, 3),
    # Three gradients of a product of three numbers.
    "bilinear": (after_features(lambda x, w: F.bilinear(x, x, w), (5, 12, 12)), 5 * 144, 4),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_with_a_formula_count_forward_and_backward_on_every_device(name):
    build, macs, times = PRODUCTS[name]
    first = VALUES * 12
    counted = count_flops(build, (3, 8, 8))
    assert (counted.forward, counted.training) == (2 * (first + macs), 2 * (2 * first + times * macs))
    assert counted.uncounted == ()
    assert count_forward_flops(build(), (3, 8, 8)) == counted.forward
    assert count_training_flops(build(), (3, 8, 8)) == counted.training


def test_a_frozen_matrix_has_no_gradient_by_a_vector():
    build, macs, _ = PRODUCTS["mv"]
    model = build()
    model.features.requires_grad_(False)
    assert count_training_flops(model, (3, 8, 8)) == 2 * (VALUES * 12 + 2 * macs)


def test_a_bilinear_layer_counts_every_product_of_its_sum():
    assert count_forward_flops(nn.Sequential(nn.Flatten(), Twice(192, 10)), (3, 8, 8)) == 2 * 368_640
    assert count_flops(bilinear, (3, 8, 8)).forward == 2 * 192 * 192 * 2


class Twice(nn.Module):
    """Takes the same features on both sides."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.both = nn.Bilinear(width, width, classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.both(features, features)


class Recurrent(nn.Module):
    """Reads 24 values at each of 8 rows."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.read = kind(24, 5, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.read(images.transpose(1, 2).flatten(2))[0][:, -1]


class Attention(nn.Module):
    """Attends to 64 pixels of 4 channels, in 2 heads, in a transformer's layer or by the function."""

    def __init__(self, *, whole: bool) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 4)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True) if whole else None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.inner(images.flatten(2).transpose(1, 2))
        if self.layer is not None:
            return self.layer(tokens).mean(1)
        parts = tokens.unflatten(2, (2, 2)).transpose(1, 2)
        return F.scaled_dot_product_attention(parts, parts, parts).flatten(1)


@pytest.mark.parametrize(
    ("build", "macs"),
    [
        (lambda: Recurrent(nn.LSTM), 8 * 20 * (24 + 5)),
        (lambda: Recurrent(nn.GRU), 8 * 15 * (24 + 5)),
        (lambda: Attention(whole=False), 64 * 12 + 2 * 64 * 64 * 4),
        (lambda: Attention(whole=True), 64 * 12 + 2 * 64 * 64 * 4 + 64 * (3 * 16 + 16 + 2 * 32)),
        (lambda: Attention(whole=True).requires_grad_(False), 64 * 12 + 2 * 64 * 64 * 4 + 64 * (3 * 16 + 16 + 2 * 32)),
        (deformable, 64 * 9 * 3 * (18 + 4) + 8),
    ],
    ids=["LSTM", "GRU", "attention", "transformer", "frozen transformer", "deformable"],
)
def test_what_a_processor_fuses_counts_as_on_the_meta_device(build, macs):
    counted = count_flops(build, (3, 8, 8), passes=["forward"])
    assert (counted.forward, counted.uncounted) == (2 * macs, ())
    assert count_forward_flops(build(), (3, 8, 8)) == 2 * macs
    model = build()
    if isinstance(getattr(model, "read", None), nn.LSTM):  # its fused kernel computes the images' gradient too
        assert count_training_flops(model, (3, 8, 8)) == 3 * 2 * macs
    elif any(parameter.requires_grad for parameter in model.parameters()):
        assert count_training_flops(model, (3, 8, 8)) == count_training_flops(on_meta(build), (3, 8, 8))


def test_attention_that_asks_for_a_fused_kernel_has_the_same_macs():
    class Fused(Attention):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                return super().forward(images)

    model = Fused(whole=False)
    assert count_forward_flops(model, (3, 8, 8)) == 2 * (64 * 12 + 2 * 64 * 64 * 4)
    # The scores' and the sum's two gradients each.
    assert count_training_flops(model, (3, 8, 8)) == 2 * (2 * 64 * 12 + 3 * 2 * 64 * 64 * 4)


@torch.library.custom_op("resbench_tests::doubled", mutates_args=())
def doubled(values: torch.Tensor) -> torch.Tensor:
    return 2 * values


doubled.register_fake(torch.empty_like)
doubled.register_autograd(lambda context, gradient: doubled(gradient))


@pytest.mark.parametrize(
    ("head", "shapes", "named"),
    [
        (lambda x, w: torch.cdist(x, w), [(5, 12)], ("cdist",)),
        (lambda x, w: torch.cdist(x, w), [(30, 12)], ("cdist",)),
        (lambda x, w: torch.fft.irfft(torch.fft.rfft(x) * w), [(7,)], ("fft_r2c", "fft_c2r", "fft_c2c")),
        (lambda x, w: x @ torch.linalg.inv(w), [(12, 12)], ("linalg_inv_ex",)),
        (lambda x, w: doubled(x) * w, [(12,)], ("resbench_tests::doubled",)),
    ],
    ids=["cdist", "cdist of many", "fft", "inverse", "custom"],
)
def test_an_operator_that_no_counter_knows_is_named(head, shapes, named):
    counted = count_flops(after_features(head, *shapes), (3, 8, 8))
    assert counted.uncounted == named
    assert (
        f"MACs leave out {', '.join(named)}, which no counter knows"
        in measure_complexity(after_features(head, *shapes), (3, 8, 8)).notes
    )


def test_what_is_not_counted_by_convention_is_not_named():
    def forward(self: Network, images: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        maps = F.gelu(self.norms(self.conv(images))) * scale
        maps = F.max_pool2d(maps, 2) + F.avg_pool2d(maps, 2)
        maps = F.interpolate(maps, scale_factor=2, mode="bilinear")
        places = F.affine_grid(torch.eye(2, 3).to(maps.device).expand(len(maps), 2, 3), list(maps.shape))
        maps = F.grid_sample(maps, places, align_corners=False)
        maps = maps * torch.sigmoid(maps.mean((2, 3), keepdim=True))
        boxes = torch.tensor([[0.0, 0, 0, 4, 4]], device=maps.device).repeat(len(maps), 1)
        maps = maps + torchvision.ops.roi_align(maps, boxes, 8)
        return F.normalize(maps.flatten(1)).softmax(1).cumsum(1)

    norms = nn.Sequential(nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4))
    counted = count_flops(
        lambda: Network(forward, (4, 1, 1), conv=nn.Conv2d(3, 4, 3, padding=1, bias=False), norms=norms), (3, 8, 8)
    )
    assert counted.uncounted == ()
    assert counted.failure is None


def test_counting_leaves_the_generator_and_the_switches_as_they_were():
    state, fast = torch.get_rng_state(), torch.backends.mha.get_fastpath_enabled()
    counted = count_flops(lambda: Attention(whole=True).to("cpu"), (3, 8, 8))  # a processor draws its weights
    assert counted.forward
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("name", "billions"),
    [("timm:cait_xxs24_224", 2.5), ("timm:pit_ti_224", 0.7)],  # of the papers: arXiv 2103.17239 and 2103.16302
)
def test_networks_with_class_tokens_are_counted_with_gradients_or_without(name, billions):
    skeleton = on_meta(lambda: create_model(name, num_classes=1000, input_size=(224, 224)))
    with torch.no_grad():
        forward = count_forward_flops(skeleton, IMAGENET)
    assert forward == count_forward_flops(skeleton, IMAGENET)
    assert round(forward / 2e9, 1) == billions
