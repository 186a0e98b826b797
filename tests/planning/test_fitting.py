"""Networks that cannot be run as asked: refused where they are named, left out where a wildcard means them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resbench.errors import InputError
from resbench.models import torchvision_models
from resbench.planning import fitting
from resbench.planning.arms import plan_arms
from resbench.planning.fitting import check_images, keep_fitting, some_of
from resbench.planning.plan import plan_suite
from resbench.profiling import profile_models
from resbench.registry import check_stem, create_model, model_entry
from resbench.suite import load_suite


def check_even(model):
    if int(model) % 2:
        raise InputError(f"{model} is odd.")


def fit(models, named=()):
    told = []
    kept = keep_fitting(models, named, check_even, what="pairs", on_left_out=told.append)
    return kept, told


def test_what_a_wildcard_means_and_does_not_fit_is_left_out_and_told_of():
    kept, (told,) = fit(["1", "2", "3", "4"], named=["*", "2"])
    assert kept == ["2", "4"]
    assert told == "2 of the 4 networks do not go with pairs and are left out: 1, 3. The first: 1 is odd."


def test_what_fits_is_not_talked_about():
    assert fit(["2", "4"]) == (["2", "4"], [])


def test_what_is_named_and_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"^3 is odd\.$"):
        fit(["1", "2", "3"], named=["*", "3"])


def test_where_nothing_is_left_the_reason_is_the_first_ones():
    with pytest.raises(InputError, match=r"^1 is odd\. The other 2 that the wildcard means do not fit either\.$"):
        fit(["1", "3", "5"])


def test_a_check_of_many_networks_is_told_of(monkeypatch):
    monkeypatch.setattr(fitting, "MANY", 2)
    told = []
    keep_fitting(["2", "4"], [], check_even, what="pairs", on_left_out=told.append, on_message=told.append)
    assert told == ["checking 2 networks for pairs"]


def test_of_many_names_some_are_written():
    assert some_of(["a", "b"], limit=2) == "a, b"
    assert some_of(["a"] * 2000, limit=2) == "a, a and 1,998 more"


def test_networks_with_another_stem_than_the_suites_are_left_out_of_a_wildcard():
    told = []
    suite = load_suite("smoke", models=["torchvision:*t_tiny", "torchvision:vgg11*", "cnn"], stem="cifar")
    assert [arm.model for arm in plan_arms(suite, on_left_out=told.append)] == ["cnn"]
    (text,) = told
    names = "torchvision:convnext_tiny, torchvision:vgg11, torchvision:vgg11_bn"
    assert f"3 of the 4 networks do not go with the stem 'cifar' and are left out: {names}. The first: " in text


def test_a_plan_leaves_out_what_does_not_take_its_images_and_names_it():
    changes = {"dataset": "shapes10", "train_images": 64, "test_images": 32, "seeds": 1}
    plan = plan_suite(load_suite("smoke", models=["torchvision:inception*", "torchvision:*1_1"], **changes))
    assert [trial.model for trial in plan.trials] == ["torchvision:squeezenet1_1"]
    (notice,) = [text for text in plan.notices if "left out" in text]
    assert notice.startswith("1 of the 2 networks do not go with images of 3x32x32 and are left out: torchvision:incep")


def test_images_that_a_network_does_not_take_are_refused_with_what_to_do():
    message = (
        r"'torchvision:inception_v3' does not take images of 3x32x32 with the stem 'source' \(.*too small\)\. Give"
    )
    with pytest.raises(InputError, match=message):
        check_images("torchvision:inception_v3", "source", (3, 32, 32), 10)
    check_images("torchvision:inception_v3", "cifar", (3, 32, 32), 10)


@pytest.mark.parametrize(
    ("network", "what"), [(nn.Flatten(), "2x3072"), (nn.Sequential(nn.Flatten(), nn.RNN(3072, 10)), "a tuple")]
)
def test_a_network_without_logits_is_no_classifier(monkeypatch, network, what):
    monkeypatch.setattr(fitting, "create_model", lambda *name, **options: network.to("meta"))
    message = (
        f"model 'timm:x' is no classifier: of 2 images it makes {what} in the place of logits, 2x10. Leave it out."
    )
    with pytest.raises(InputError, match=f"^{message}$"):
        check_images("timm:x", "source", (3, 32, 32), 10)


def test_a_profile_refuses_before_it_measures():
    with pytest.raises(InputError, match="model 'torchvision:inception_v3' does not take images of 3x8x8"):
        profile_models(["torchvision:inception_v3"], input_shape="3x8x8", batch_sizes=[1])


@pytest.fixture
def reading(monkeypatch):
    """Makes a network of a library one that reads numbers when it is built and when it runs."""

    class Reads(nn.Module):
        def __init__(self, classes, side):
            super().__init__()
            self.conv = nn.Conv2d(3, int(torch.linspace(4, 8, 3)[-1]), 3, stride=2, padding=1)
            self.head = nn.Linear(8, classes)
            self.side = side

        def forward(self, images):
            assert images.shape[2] == self.side
            maps = self.conv(images)
            return self.head(maps.mean((2, 3)) if maps.abs().max() < 1e9 else maps.amax((2, 3)))

    def make(name, *, num_classes, in_channels, input_size):
        return Reads(num_classes, 224 if input_size is None else input_size[0])

    monkeypatch.setattr(torchvision_models, "_make", make)


@pytest.mark.usefixtures("reading")
def test_a_librarys_network_that_reads_numbers_is_checked_on_the_processor():
    check_images("torchvision:resnet18", "source", (3, 32, 32), 10)
    check_stem(model_entry("torchvision:resnet18"), "cifar")
    network = create_model("torchvision:resnet18", stem="cifar")
    assert (network.conv.stride, network.conv.kernel_size) == ((1, 1), (3, 3))
