"""The CIFAR stem of libraries' networks: known figures, what is changed, what is refused and why."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resbench.errors import InputError
from resbench.models.parts.stem_change import Stem, StemError, change_stem, find_stem
from resbench.registry import check_stem, create_model, model_entry

pytest.importorskip("timm")


def on_meta(name, **options):
    with torch.device("meta"):
        return create_model(name, stem="cifar", **options).eval()


def size_of(network):
    """Returns the parameters, and the multiply-adds of a 32x32 image."""
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, 32, 32, device="meta"))
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        # the ResNet-18 of CIFAR-10, as everyone has it
        ("timm:resnet18", 11_173_962, 555_422_720),
        ("torchvision:resnet18", 11_173_962, 555_422_720),
        # the registry's own, where the stride is in the 3x3 convolution
        ("timm:resnet50", 23_520_842, 1_297_829_888),
        ("torchvision:resnet50", 23_520_842, 1_297_829_888),
        ("torchvision:resnet152", 58_156_618, 3_722_137_600),
    ],
)
def test_parameters_and_multiply_adds_are_the_known_ones(name, params, macs):
    assert size_of(on_meta(name)) == (params, macs)


@pytest.mark.parametrize(("ours", "theirs"), [("resnet34", "timm:resnet34"), ("resnet50_nopool", "timm:resnet50")])
def test_a_librarys_network_is_the_registrys_where_both_have_the_same_structure(ours, theirs):
    assert size_of(on_meta(ours)) == size_of(on_meta(theirs))


CHANGED = {
    "timm:resnet50d": ("conv1.0", ("maxpool",)),
    "timm:resnetblur18": ("conv1", ("maxpool.0", "maxpool.1")),
    "timm:resnetv2_50x1_bit": ("stem.conv", ("stem.pad", "stem.pool")),
    "timm:legacy_seresnet18": ("layer0.conv1", ("pool0",)),
    "timm:inception_v4": ("features.0.conv", ()),
    "timm:regnetx_080": ("stem.conv", ()),
    "timm:tf_efficientnet_b0": ("conv_stem", ()),
    "timm:mobilenetv4_conv_aa_medium": ("conv_stem", ()),
    "torchvision:densenet121": ("features.conv0", ("features.pool0",)),
    "torchvision:regnet_x_400mf": ("stem.0", ()),
    "torchvision:mobilenet_v3_small": ("features.0.0", ()),
    "torchvision:shufflenet_v2_x0_5": ("conv1.0", ("maxpool",)),
    "torchvision:googlenet": ("conv1.conv", ("maxpool1",)),
    "torchvision:inception_v3": ("Conv2d_1a_3x3.conv", ("maxpool1",)),
}
"""Networks, and what is changed of each, by the names of its modules."""


@pytest.mark.parametrize("name", CHANGED)
def test_the_first_convolution_and_the_pool_behind_it_are_changed_and_nothing_else(name):
    network = on_meta(name)
    with torch.device("meta"):
        source = create_model(name, stem="source")
    convolution, removed = CHANGED[name]
    first = network.get_submodule(convolution)
    assert (first.kernel_size, first.stride) == ((3, 3), (1, 1))
    assert first.weight.shape[2:] == (3, 3)
    modules, before = dict(network.named_modules()), dict(source.named_modules())
    different = {key for key in before if type(modules[key]) is not type(before[key])}
    assert different == set(removed)
    assert all(type(modules[key]) is nn.Identity for key in removed)
    weights = network.state_dict()
    changed = [key for key, weight in source.state_dict().items() if weights[key].shape != weight.shape]
    assert changed in ([], [f"{convolution}.weight"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("torchvision:vgg11", "it begins at the image's full size already: .* is 3x3 with stride 1"),
        ("torchvision:convnext_tiny", "it cuts the image into patches: .* is 4x4 with stride 4"),
        ("torchvision:vit_b_32", "it cuts the image into patches: .* is 32x32 with stride 32"),
        ("torchvision:swin_t", "it cuts the image into patches"),
        ("torchvision:alexnet", "is 11x11 with stride 4, and only 3x3, 5x5 and 7x7 with stride 2"),
        ("torchvision:maxvit_t", "its later layers do not take the larger maps"),
        ("timm:hrnet_w18_small", r"two convolutions of its stem have a stride \(conv1 and conv2\)"),
        ("timm:resnetrs50", r"two convolutions of its stem have a stride \(conv1.0 and maxpool.0\)"),
        ("timm:repvgg_a0", "first convolution"),
        ("timm:mixer_s32_224", "it cuts the image into patches"),
    ],
)
def test_what_is_not_such_a_stem_is_refused_with_the_reason_and_what_to_do(name, reason):
    with pytest.raises(InputError, match=rf"model '{name}' has no stem .*: .*{reason}.*\. Take the stem 'source'"):
        check_stem(model_entry(name), "cifar")


def test_a_larger_kernel_is_drawn_as_the_source_draws_its_own():
    """torchvision: Kaiming-normal over the fan-out, which is 9 x 64 for a 3x3 kernel."""
    torch.manual_seed(0)
    weight = create_model("torchvision:resnet18", stem="cifar").conv1.weight
    assert weight.mean().item() == pytest.approx(0, abs=0.005)
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)


def test_looking_at_a_stem_takes_no_random_numbers():
    """A trial seeds them before it builds its network, in a process that may have looked already."""
    from resbench.models import library_networks

    library_networks._stem_of.cache_clear()
    draws = []
    for _ in range(2):
        torch.manual_seed(0)
        draws.append(create_model("timm:resnet10t", stem="cifar").fc.weight)
    assert torch.equal(*draws)


def test_a_changed_network_trains_on_gray_images():
    network = create_model("torchvision:shufflenet_v2_x0_5", num_classes=3, in_channels=1, stem="cifar")
    network(torch.randn(2, 1, 8, 8)).sum().backward()
    assert network.conv1[0].weight.grad.abs().sum() > 0


class Begins(nn.Module):
    """A network in three parts, whose middle can be anything."""

    def __init__(self, first, middle, *, functional=None):
        super().__init__()
        self.first, self.middle, self.functional = first, middle, functional
        self.head = nn.Linear(8, 10)

    def forward(self, images):
        maps = self.first(images)
        if self.functional:
            maps = self.functional(maps)
        return self.head(self.middle(maps).mean((2, 3)))


def found(first, middle=None, **options):
    middle = middle or nn.Sequential(nn.Conv2d(8, 8, 3, padding=1))
    return find_stem(Begins(first, middle, **options).to("meta"), (3, 32, 32))


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_an_overlapping_kernel_of_any_padding_is_a_stem(kernel):
    assert found(nn.Conv2d(3, 8, kernel, 2)) == Stem("first", ())


@pytest.mark.parametrize(
    ("first", "options", "reason"),
    [
        (nn.Conv2d(3, 8, 4, 2), {}, "4x4 with stride 2, and only"),
        (nn.Conv2d(3, 8, 2, 2), {}, "patches"),
        (nn.Conv2d(3, 8, 3, 2, dilation=2), {}, "dilated"),
        (
            nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 8, 3, 2)),
            {},
            "does not begin with a convolution on the image",
        ),
        (
            nn.Conv2d(3, 8, 3, 2),
            {"functional": lambda maps: nn.functional.max_pool2d(maps, 2)},
            "in a way that is no layer",
        ),
        (nn.Conv2d(3, 8, 3, 2), {"functional": lambda maps: maps.reshape(7)}, "cannot be followed"),
    ],
)
def test_other_beginnings_are_none(first, options, reason):
    with pytest.raises(StemError, match=reason):
        found(first, **options)


def test_a_pool_that_is_a_branch_of_a_block_stays():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool, self.convolution = nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)

        def forward(self, maps):
            return torch.cat([self.pool(maps), self.convolution(maps)], dim=2)

    assert found(nn.Conv2d(3, 8, 3, 2, 1), Branches()) == Stem("first", ())


def test_a_bias_stays_and_a_kernel_of_three_keeps_its_numbers():
    network = Begins(nn.Conv2d(3, 8, 3, 2), nn.Identity())
    weight, bias = network.first.weight.clone(), network.first.bias.clone()
    change_stem(network, Stem("first", ()))
    assert torch.equal(network.first.weight, weight)
    assert torch.equal(network.first.bias, bias)
    assert network.first(torch.zeros(1, 3, 6, 6)).shape == (1, 8, 6, 6)
