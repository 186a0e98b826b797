"""Parameters, multiply-adds and shapes of every network against published figures and closed forms."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resbench.errors import InputError
from resbench.registry import STEMS, create_model, list_models, model_entry

MILLION = 10**6
RESIDUAL = [name for name in list_models() if name != "cnn"]
STAGES = {
    name: ("layer1", "layer2", "layer3", "layer4")
    if name.startswith("resnet152")
    else ("stage1", "stage2", "stage3", "stage4")
    for name in RESIDUAL
}
BASIC = ("d2l_resnet18", "resnet34")


@dataclass
class Shapes:
    """A network on the meta device, where nothing is computed but shapes."""

    name: str
    num_classes: int = 10
    size: int = 32
    stem: str = "source"
    in_channels: int = 3

    def network(self) -> nn.Module:
        weights = "random" if model_entry(self.name).accepts_weights else None
        with torch.device("meta"):
            return create_model(
                self.name,
                num_classes=self.num_classes,
                in_channels=self.in_channels,
                stem=self.stem,
                input_size=(self.size, self.size),
                weights=weights,
            ).eval()

    def images(self, count: int = 1) -> torch.Tensor:
        return torch.empty(count, self.in_channels, self.size, self.size, device="meta")

    def params(self) -> int:
        return sum(parameter.numel() for parameter in self.network().parameters())

    def macs(self) -> int:
        return forward_macs(self.network(), self.images())


def forward_macs(network: nn.Module, images: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        network(images)
    return counter.get_total_flops() // 2


def stem_params_saved(in_channels: int = 3) -> int:
    """A 7x7 kernel holds 49 - 9 = 40 weights more than a 3x3 one, for each of 64 outputs and every input."""
    return 64 * in_channels * 40


def bottleneck_macs(size: int, num_classes: int, *, stem: str, pool: bool, stride_in_3x3: bool) -> int:
    """Multiply-adds of a 3-4-6-3 bottleneck network: over its layers, in x out x kernel x pixels."""
    pixels = size**2 if stem == "cifar" else (size // 2) ** 2
    total = 3 * 64 * (9 if stem == "cifar" else 49) * pixels
    if pool and stem == "source":
        pixels //= 4
    for stage, ((before, out), depth) in enumerate(
        zip(pairwise((64, 256, 512, 1024, 2048)), (3, 4, 6, 3), strict=True)
    ):
        width, incoming = out // 4, pixels
        pixels = pixels // 4 if stage else pixels
        total += before * width * (incoming if stride_in_3x3 else pixels) + before * out * pixels
        total += (9 * width**2 + width * out) * pixels
        total += (depth - 1) * (2 * width * out + 9 * width**2) * pixels
    return total + 2048 * num_classes


def se_macs() -> int:
    """Multiply-adds of the gates: two 1x1 convolutions between C and C / 16 channels on one pixel a block."""
    return sum(depth * 2 * c * c // 16 for depth, c in zip((3, 4, 6, 3), (256, 512, 1024, 2048), strict=True))


@pytest.mark.parametrize(
    ("name", "num_classes", "expected"),
    [
        ("d2l_resnet18", 1000, 11_692_520),
        ("d2l_resnet18", 10, 11_184_650),
        ("resnet34", 1000, torchvision.models.ResNet34_Weights.DEFAULT.meta["num_params"]),
        ("resnet34", 10, 21_289_802),
        ("resnet50", 1000, torchvision.models.ResNet50_Weights.DEFAULT.meta["num_params"]),
        ("resnet50", 10, 23_528_522),
        ("resnet50_nopool", 1000, torchvision.models.ResNet50_Weights.DEFAULT.meta["num_params"]),
        ("resnet50_nopool", 10, 23_528_522),
        ("resnet50_half", 10, 23_528_522),
        ("se_resnet50", 1000, 28_088_024),
        ("se_resnet50", 10, 26_059_514),
        ("resnet152", 1000, torchvision.models.ResNet152_Weights.DEFAULT.meta["num_params"]),
        ("resnet152", 10, 58_164_298),
        ("resnet152_frozen", 1000, 60_192_808),
        ("resnet152_frozen", 10, 58_164_298),
    ],
)
def test_parameters_with_the_source_stem_are_the_published_ones(name, num_classes, expected):
    assert Shapes(name, num_classes).params() == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("d2l_resnet18", 11_176_970), ("resnet34", 21_282_122), ("resnet152", 58_156_618)],
)
def test_parameters_with_the_cifar_stem_are_the_published_ones(name, expected):
    assert Shapes(name, stem="cifar").params() == expected


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("name", RESIDUAL)
def test_the_cifar_stem_saves_the_weights_between_7x7_and_3x3(name, in_channels):
    source, cifar = (Shapes(name, stem=stem, in_channels=in_channels).params() for stem in STEMS)
    assert source - cifar == stem_params_saved(in_channels)


@pytest.mark.parametrize(
    ("name", "num_classes", "size", "stem", "expected"),
    [
        ("d2l_resnet18", 1000, 224, "source", 1_814_073_344),
        ("d2l_resnet18", 10, 32, "source", 37_016_576),
        ("d2l_resnet18", 10, 32, "cifar", 555_422_720),
        ("resnet34", 1000, 224, "source", 3_663_761_408),
        ("resnet34", 10, 32, "source", 74_765_312),
        ("resnet34", 10, 32, "cifar", 1_159_402_496),
        ("resnet152", 1000, 224, "source", 11_513_626_624),
        ("resnet152", 10, 32, "source", 234_950_656),
        ("resnet152", 10, 32, "cifar", 3_722_137_600),
        ("resnet152_frozen", 1000, 224, "source", 11_513_626_624),
    ],
)
def test_multiply_adds_are_the_published_ones(name, num_classes, size, stem, expected):
    assert Shapes(name, num_classes, size, stem).macs() == expected


@pytest.mark.parametrize(
    ("name", "num_classes", "size", "expected_millions"),
    [
        ("resnet50", 1000, 224, 3857.97),
        ("resnet50", 10, 32, 78.71),
        ("se_resnet50", 1000, 224, 3860.49),
        ("se_resnet50", 10, 32, 81.23),
        ("cnn", 20, 256, 922.75),
    ],
)
def test_multiply_adds_round_to_the_published_ones(name, num_classes, size, expected_millions):
    assert round(Shapes(name, num_classes, size).macs() / MILLION, 2) == expected_millions


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize(("num_classes", "size"), [(1000, 224), (10, 32)])
def test_multiply_adds_of_the_bottleneck_networks_have_a_closed_form(num_classes, size, stem):
    paper = bottleneck_macs(size, num_classes, stem=stem, pool=True, stride_in_3x3=False)
    assert Shapes("resnet50", num_classes, size, stem).macs() == paper
    assert Shapes("resnet50_half", num_classes, size, stem).macs() == paper
    assert Shapes("se_resnet50", num_classes, size, stem).macs() == paper + se_macs()
    no_pool = bottleneck_macs(size, num_classes, stem=stem, pool=False, stride_in_3x3=True)
    assert Shapes("resnet50_nopool", num_classes, size, stem).macs() == no_pool


def test_nopool_costs_what_torchvisions_resnet50_costs_without_its_pool():
    with torch.device("meta"):
        theirs = torchvision.models.resnet50().eval()
        theirs.maxpool = nn.Identity()
    ours = Shapes("resnet50_nopool", 1000, 224)
    assert ours.macs() == forward_macs(theirs, ours.images())


def test_cnn_has_the_published_parameters_at_its_sources_size():
    assert Shapes("cnn", num_classes=20, size=256).params() == 5_333_844


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (4, 4), (64, 32)])
def test_cnns_linear_layer_follows_the_input_size(height, width):
    network = create_model("cnn", input_size=(height, width))
    convolutions = 25 * (3 * 16 + 16 * 32 + 32 * 32 + 32 * 64) + 16 + 32 + 32 + 64
    linear = 10 * (64 * (height // 4) * (width // 4) + 1)
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + linear
    assert network(torch.zeros(2, 3, height, width)).shape == (2, 10)


def test_cnn_refuses_images_that_leave_nothing_for_its_linear_layer():
    with pytest.raises(InputError, match="at least 4x4 pixels, not 32x3"):
        create_model("cnn", input_size=(32, 3))


def test_cnn_is_the_same_network_with_both_stems():
    source, cifar = (Shapes("cnn", stem=stem).network() for stem in STEMS)
    assert str(source) == str(cifar)


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("name", RESIDUAL)
def test_logits_have_one_row_an_image_and_one_column_a_class(name, stem, in_channels):
    """One residual network takes images of every size."""
    network = Shapes(name, 7, stem=stem, in_channels=in_channels).network()
    for size in (32, 64, 224):
        images = Shapes(name, size=size, in_channels=in_channels).images(count=2)
        assert network(images).shape == (2, 7)


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("size", [32, 64, 224])
def test_logits_of_the_cnn_have_one_row_an_image_and_one_column_a_class(size, in_channels):
    case = Shapes("cnn", 7, size, in_channels=in_channels)
    assert case.network()(case.images(count=2)).shape == (2, 7)


@pytest.mark.parametrize("size", [32, 224])
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("name", RESIDUAL)
def test_stages_double_the_channels_and_halve_the_sides(name, stem, size):
    case = Shapes(name, size=size, stem=stem)
    network = case.network()
    seen = []
    for stage in STAGES[name]:
        network.get_submodule(stage).register_forward_hook(lambda *call: seen.append(tuple(call[2].shape)))
    network(case.images())
    first_side = size if stem == "cifar" else size // 2 if name == "resnet50_nopool" else size // 4
    first_channels = 64 if name in BASIC else 256
    assert seen == [(1, first_channels * 2**k, first_side // 2**k, first_side // 2**k) for k in range(4)]
