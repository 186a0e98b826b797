"""timm's networks by their names there: what is built, and what is refused with which words."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn.functional import cross_entropy

from resbench.errors import InputError
from resbench.planning.arms import expand_models
from resbench.registry import create_model, list_models, model_entry

timm = pytest.importorskip("timm")


@pytest.fixture
def without_timm(monkeypatch):
    """What Python does where timm is not installed."""
    monkeypatch.setitem(sys.modules, "timm", None)


@pytest.mark.parametrize(
    ("name", "num_classes", "in_channels", "expected"),
    [
        ("timm:resnet18", 1000, 3, 11_689_512),
        ("timm:resnet18", 10, 3, 11_181_642),
        ("timm:resnet18", 10, 1, 11_181_642 - 2 * 64 * 49),
        ("timm:resnet50", 1000, 3, 25_557_032),
    ],
)
def test_parameters_are_the_published_ones(name, num_classes, in_channels, expected):
    with torch.device("meta"):
        network = create_model(name, num_classes=num_classes, in_channels=in_channels)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_the_network_is_the_one_timm_builds():
    torch.manual_seed(0)
    ours = create_model("timm:resnet18", num_classes=7).state_dict()
    torch.manual_seed(0)
    theirs = timm.create_model("resnet18", pretrained=False, num_classes=7, in_chans=3).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("in_channels", [1, 3])
def test_a_gradient_reaches_every_parameter(in_channels):
    """In the second step: timm starts each block's last BN at zero, which at first holds back its body's gradient."""
    torch.manual_seed(0)
    network = create_model("timm:resnet18", num_classes=5, in_channels=in_channels)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    images, labels = torch.randn(4, in_channels, 32, 32), torch.arange(4)
    for _ in range(2):
        optimizer.zero_grad()
        logits = network(images)
        assert logits.shape == (4, 5)
        cross_entropy(logits, labels).backward()
        optimizer.step()
    assert all(parameter.grad.any() for parameter in network.parameters())


def test_the_entry_says_which_timm_it_is_and_what_the_network_takes():
    entry = model_entry("timm:resnet50")
    assert entry.name == "timm:resnet50"
    assert entry.source == f"timm {timm.__version__}"
    assert entry.summary == "timm's resnet50, from random weights."
    assert entry.default_weights == "random"
    assert not entry.accepts_weights


def test_a_suite_takes_timms_names_and_wildcards_among_others():
    assert expand_models(["timm:resnet18", "cnn", "timm:resnet18*"]) == ["timm:resnet18", "cnn", "timm:resnet18d"]


def test_all_of_timms_networks_are_listed_by_their_whole_names():
    listed = list_models("timm:*")
    assert sorted(listed) == sorted(f"timm:{name}" for name in timm.list_models())
    assert listed.index("timm:resnet50") < listed.index("timm:resnet101")
    assert [model_entry(name).name for name in listed] == listed


@pytest.mark.slow
def test_a_fresh_process_needs_no_registration():
    """Trials run in processes that are spawned, which have nothing of their parent's."""
    code = "from resbench.registry import model_entry; print(model_entry('timm:resnet18').name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "timm:resnet18"


@pytest.mark.parametrize(("name", "close"), [("resnt18", "timm:resnet18"), ("ResNet50", "timm:resnet50")])
def test_an_unknown_name_is_met_with_the_nearest_ones(name, close):
    with pytest.raises(InputError, match=rf"unknown model 'timm:{name}'\. Did you mean .*{close}\b") as caught:
        model_entry(f"timm:{name}")
    assert "Accepted: any name that `resbench list 'timm:*'` shows" in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_name_like_none_is_met_with_where_the_names_are():
    with pytest.raises(InputError, match=r"unknown model 'timm:0'\. Accepted: any name that `resbench list"):
        model_entry("timm:0")


def test_a_path_or_hub_name_behind_the_prefix_is_an_unknown_name():
    """timm itself would load these."""
    for name in ("hf-hub:timm/resnet18.a1_in1k", "local-dir:weights"):
        with pytest.raises(InputError, match=f"unknown model 'timm:{name}'"):
            create_model(f"timm:{name}")


def test_a_tag_of_pretrained_weights_is_refused():
    with pytest.raises(InputError, match=r"names the pretrained weights 'a1_in1k'.*Give timm:resnet18\."):
        model_entry("timm:resnet18.a1_in1k")


@pytest.mark.parametrize(
    ("name", "size"), [("vit_tiny_patch16_224", (32, 48)), ("swin_tiny_patch4_window7_224", (64, 64))]
)
def test_a_network_made_for_one_size_is_built_for_the_images(name, size):
    with torch.device("meta"):
        network = create_model(f"timm:{name}", num_classes=7, input_size=size)
        assert network(torch.empty(2, 3, *size)).shape == (2, 7)


@pytest.mark.usefixtures("without_timm")
@pytest.mark.parametrize(
    ("ask", "wanted"), [(model_entry, "resnet18"), (create_model, "resnet18"), (list_models, "resnet*")]
)
def test_without_timm_the_message_says_how_to_install_it(ask, wanted):
    with pytest.raises(InputError, match=r"'timm:.*' needs timm, .* Install it: pip install 'resbench\[timm\]'\."):
        ask(f"timm:{wanted}")


@pytest.mark.usefixtures("without_timm")
def test_without_timm_the_other_networks_are_there():
    assert model_entry("cnn").name == "cnn"
    assert create_model("cnn", num_classes=3)(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
