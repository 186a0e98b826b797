"""torchvision's networks by their names there: what is built, and what is refused with which words."""

from __future__ import annotations

import pytest
import torch
import torchvision

from resbench.errors import InputError
from resbench.registry import create_model, list_models, model_entry

NAMES = list_models("torchvision:*")
SMALL = [
    name
    for name in NAMES
    if name.endswith(("net121", "_b0", "_x_400mf", "_x0_5", "0_5", "v3_small", "vgg11", "1_1", "_t", "_tiny", "b_32"))
]
SIZES = {"torchvision:inception_v3": 75, "torchvision:maxvit_t": 224, "torchvision:swin_v2_t": 64}
"""Pixels a side that these need; the others are looked at with 32."""


def on_meta(name, **options):
    with torch.device("meta"):
        return create_model(name, **options)


def test_every_classifier_of_torchvisions_is_listed_and_nothing_else():
    there = torchvision.models.list_models(module=torchvision.models)
    assert sorted(NAMES) == sorted(f"torchvision:{name}" for name in there)
    assert NAMES.index("torchvision:resnet50") < NAMES.index("torchvision:resnet101")
    assert not any("maskrcnn" in name or "quantized" in name for name in NAMES)


@pytest.mark.parametrize("name", [*SMALL, "torchvision:googlenet", "torchvision:inception_v3"])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_the_logits_are_as_wide_as_asked_for_and_come_alone(name, in_channels):
    """Auxiliary heads would make a tuple of them in training mode, which `create_model` returns networks in."""
    size = (SIZES.get(name, 32),) * 2
    network = on_meta(name, num_classes=7, in_channels=in_channels, input_size=size)
    assert network.training
    assert network(torch.empty(2, in_channels, *size, device="meta")).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # torchvision's documentation, 1000 classes
        ("resnet18", 11_689_512),
        ("resnet152", 60_192_808),
        ("densenet121", 7_978_856),
        ("mobilenet_v2", 3_504_872),
        ("regnet_y_400mf", 4_344_144),
        ("vit_b_16", 86_567_656),
        ("inception_v3", 27_161_264 - 3_326_696),  # without the auxiliary head
    ],
)
def test_parameters_are_the_published_ones(name, expected):
    network = on_meta(f"torchvision:{name}", num_classes=1000, input_size=(224, 224))
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_the_network_is_the_one_torchvision_builds():
    torch.manual_seed(0)
    ours = create_model("torchvision:shufflenet_v2_x0_5", num_classes=7).state_dict()
    torch.manual_seed(0)
    theirs = torchvision.models.shufflenet_v2_x0_5(num_classes=7).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_for_gray_images_the_first_convolution_starts_as_torchvisions_does():
    """Kaiming-normal over the fan-out, which the number of input channels is no part of."""
    torch.manual_seed(0)
    convolution = create_model("torchvision:resnet18", in_channels=1).conv1
    assert convolution.weight.shape == (64, 1, 7, 7)
    assert convolution.weight.std().item() == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.05)
    assert len(convolution.weight.unique()) > 0.7 * convolution.weight.numel()


def test_the_entry_says_which_torchvision_it_is():
    entry = model_entry("torchvision:resnet50")
    assert (entry.name, entry.source) == ("torchvision:resnet50", f"torchvision {torchvision.__version__}")
    assert entry.summary == "torchvision's resnet50, from random weights."


@pytest.mark.parametrize(("name", "close"), [("resnt18", "torchvision:resnet18"), ("ResNet50", "torchvision:resnet50")])
def test_an_unknown_name_is_met_with_the_nearest_ones(name, close):
    with pytest.raises(InputError, match=rf"unknown model 'torchvision:{name}'\. Did you mean .*{close}\b"):
        model_entry(f"torchvision:{name}")


@pytest.mark.parametrize("name", ["fcn_resnet50", "quantized_resnet18", "raft_small"])
def test_a_network_that_is_no_classifier_is_an_unknown_name(name):
    with pytest.raises(InputError, match="Accepted: any name that `resbench list 'torchvision:"):
        model_entry(f"torchvision:{name}")


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("vit_h_14", (32, 32), "indivisible by patch size"),
        ("vit_b_16", (32, 64), "square images only"),
        ("maxvit_t", (32, 32), "Input size"),
    ],
)
def test_a_size_that_a_network_cannot_be_built_for_is_refused(name, size, reason):
    shown = "x".join(map(str, size))
    message = rf"'torchvision:{name}' cannot be built for images of {shown} pixels \(.*{reason}.*\)\. Give another"
    with pytest.raises(InputError, match=message):
        on_meta(f"torchvision:{name}", input_size=size)


def test_what_a_library_raises_for_this_machines_sake_is_passed_on(monkeypatch):
    def out_of_memory(**options):
        if torch.get_default_device().type != "meta":
            raise RuntimeError("not enough memory")

    monkeypatch.setattr(torchvision.models, "get_model_builder", lambda name: out_of_memory)
    with pytest.raises(RuntimeError, match="not enough memory"):
        create_model("torchvision:resnet18")
