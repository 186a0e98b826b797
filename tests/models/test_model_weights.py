"""Pretrained weights: what is taken over, what stays new, and what is refused with which words."""

from __future__ import annotations

import os
import pickle
import urllib.error
import zlib
from collections import OrderedDict

import pytest
import torch
import torchvision
from torch import nn

from resbench.errors import InputError
from resbench.models.parts.pretrained import PrefixWarning, load_body
from resbench.registry import create_model

PRETRAINABLE = ["resnet152", "resnet152_frozen"]


@pytest.fixture(scope="module")
def imagenet_state():
    """A state dict with torchvision's names and shapes for 1000 classes, each tensor one repeated number.

    A repeated number is stored once, so that the file takes kilobytes instead of 240 MB.
    """
    with torch.device("meta"):
        theirs = torchvision.models.resnet152()
    return {
        name: torch.tensor(marker(name)).to(tensor.dtype).expand(tensor.shape)
        for name, tensor in theirs.state_dict().items()
    }


def marker(name: str) -> float:
    """A number that differs from name to name."""
    return float(1 + zlib.crc32(name.encode()) % 1000)


@pytest.fixture
def save(tmp_path):
    def save_state(state):
        path = tmp_path / "weights.pth"
        torch.save(state, path)
        return path

    return save_state


def build_shapes(name: str, **options):
    """A network without memory: the checks on given weights come before any copy."""
    with torch.device("meta"):
        return create_model(name, **options)


def assert_body_taken_over(network, state) -> None:
    for name, tensor in network.state_dict().items():
        if name.startswith("fc."):
            assert tensor.shape[0] == 10
            assert not (tensor == marker(name)).any(), name
        else:
            assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("name", PRETRAINABLE)
def test_a_file_with_1000_classes_fills_all_but_the_new_head(name, imagenet_state, save):
    network = create_model(name, weights=save(imagenet_state))
    assert_body_taken_over(network, imagenet_state)


def test_a_file_without_a_head_or_batch_counters_does_as_well(imagenet_state, save):
    """torchvision's older files lack the counters, and features saved for transfer lack the head."""
    left = ("fc.", "num_batches_tracked")
    state = {name: tensor for name, tensor in imagenet_state.items() if not any(part in name for part in left)}
    network = create_model("resnet152", weights=str(save(state)))
    assert torch.equal(network.layer4[2].conv3.weight, imagenet_state["layer4.2.conv3.weight"])
    assert network.bn1.num_batches_tracked == 0


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "model._orig_mod.module."])
def test_the_prefix_of_wrappers_is_left_out_and_told(prefix, imagenet_state, save):
    wrapped = {prefix + name: tensor for name, tensor in imagenet_state.items()}
    with pytest.warns(PrefixWarning, match=rf"begins with '{prefix}'"):
        network = create_model("resnet152", weights=save(wrapped))
    assert_body_taken_over(network, imagenet_state)


@pytest.mark.parametrize(
    "named",
    [
        lambda name: f"module.{name}" if name.startswith("layer") else name,  # not all of them
        lambda name: f"encoder.{name}",  # nobody's wrapper
        lambda name: f"module.encoder.{name}",  # what is left is not the network's either
    ],
)
def test_another_prefix_is_refused_with_the_names_of_the_file(named, imagenet_state, save):
    with pytest.raises(InputError, match=f"{named('layer1.0.conv1.weight')} is not expected|is missing"):
        build_shapes("resnet152", weights=save({named(name): tensor for name, tensor in imagenet_state.items()}))


def test_a_prefix_that_is_the_networks_own_stays():
    network = nn.Sequential(OrderedDict(model=nn.Linear(2, 2), other=nn.Linear(2, 2)))
    state = {"model.model.weight": torch.zeros(2, 2), "model.model.bias": torch.zeros(2)}
    with pytest.raises(InputError, match=r"\(8 differences\): model\.weight is missing"):
        load_body(network, state | {f"model.other.{name}": each for name, each in network.other.state_dict().items()})


@pytest.mark.parametrize(("name", "weights"), [("resnet152", "default"), ("resnet152_frozen", None)])
def test_torchvisions_default_weights_are_asked_for_and_taken_over(name, weights, imagenet_state, monkeypatch):
    asked = []

    def get_state_dict(self, **options):
        asked.append(self)
        return imagenet_state

    monkeypatch.setattr(torchvision.models.ResNet152_Weights, "get_state_dict", get_state_dict)
    network = create_model(name, weights=weights)
    assert asked == [torchvision.models.ResNet152_Weights.DEFAULT]
    assert_body_taken_over(network, imagenet_state)


def test_resnet152_starts_from_random_weights_unless_told(monkeypatch):
    monkeypatch.setattr(torchvision.models.ResNet152_Weights, "get_state_dict", None)
    untold, told = build_shapes("resnet152"), build_shapes("resnet152", weights="random")  # asking for any would fail
    assert untold.state_dict().keys() == told.state_dict().keys()


@pytest.mark.parametrize(
    "failure",
    [urllib.error.URLError("no route to host"), TimeoutError("timed out"), PermissionError("read-only")],
)
def test_without_a_network_the_message_says_what_to_do(failure, monkeypatch, tmp_path):
    def unreachable(*args, **kwargs):
        raise failure

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(InputError, match=r"could not be downloaded from https://.*give its path as weights"):
        build_shapes("resnet152_frozen")


def test_a_damaged_file_in_torchs_hub_folder_is_met_the_same_way(monkeypatch, tmp_path):
    url = torchvision.models.ResNet152_Weights.DEFAULT.url
    cached = tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half a download")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match="could not be downloaded"):
        build_shapes("resnet152", weights="default")


@pytest.mark.parametrize("name", PRETRAINABLE)
def test_a_missing_file_is_named(name, tmp_path):
    with pytest.raises(InputError, match=r"no weights file '.*absent\.pth'.*'random', 'default'"):
        build_shapes(name, weights=tmp_path / "absent.pth")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="no weights file"):
        build_shapes("resnet152", weights=tmp_path)


def test_wrong_shapes_are_named_with_both_shapes(imagenet_state, save):
    state = imagenet_state | {"conv1.weight": torch.zeros(64, 1, 7, 7), "bn1.bias": torch.tensor(0.0)}
    with pytest.raises(InputError) as caught:
        build_shapes("resnet152", weights=save(state))
    assert "(2 differences)" in str(caught.value)
    assert "conv1.weight is 64x1x7x7 instead of 64x3x7x7" in str(caught.value)
    assert "bn1.bias is a number instead of 64" in str(caught.value)


def test_missing_and_unexpected_names_are_named(imagenet_state, save):
    state = {name: tensor for name, tensor in imagenet_state.items() if name != "layer1.0.bn1.weight"}
    with pytest.raises(InputError) as caught:
        build_shapes("resnet152", weights=save(state | {"layer5.0.conv1.weight": torch.zeros(1)}))
    assert "layer1.0.bn1.weight is missing" in str(caught.value)
    assert "layer5.0.conv1.weight is not expected" in str(caught.value)


def test_only_the_first_differences_of_another_networks_weights_are_shown(save):
    with torch.device("meta"):
        names = torchvision.models.resnet18().state_dict()
    with pytest.raises(InputError) as caught:
        build_shapes("resnet152", weights=save({name: torch.zeros(1) for name in names}))
    assert len(str(caught.value)) < 300


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("writer", [torch.save, lambda trap, path: path.write_bytes(pickle.dumps(trap, 2))])
def test_a_pickle_with_code_in_it_is_refused_and_does_not_run(writer, tmp_path):
    path, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    writer(Trap(str(sprung)), path)
    with pytest.raises(InputError, match="refused"):
        build_shapes("resnet152", weights=path)
    assert not sprung.exists()


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 half an archive", b"\x80\x02}"])
def test_a_damaged_file_is_refused(content, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.pth' was refused"):
        build_shapes("resnet152", weights=path)


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {}}, {1: torch.zeros(1)}, torch.zeros(3)])
def test_a_file_with_something_else_in_it_is_refused(content, save):
    with pytest.raises(InputError, match="does not hold a state dict"):
        build_shapes("resnet152", weights=save(content))


@pytest.mark.parametrize("options", [{"stem": "cifar"}, {"in_channels": 1}])
@pytest.mark.parametrize(("name", "weights"), [("resnet152", "default"), ("resnet152_frozen", None)])
def test_pretrained_weights_do_not_go_into_another_stem(name, weights, options):
    with pytest.raises(InputError, match=r"7x7 stem for 3 channels.*weights 'random'"):
        build_shapes(name, weights=weights, **options)
