"""Networks against torchvision's under the same weights, and initialisation against its closed form."""

from __future__ import annotations

import math
import re

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.functional import relu

from resbench.models.parts.blocks import SqueezeExcitation
from resbench.registry import create_model

# torchvision's names on the left, ours on the right, applied in this order.
RENAMES = [
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"^fc\.", "head."),
    (r"^layer(\d)\.(\d+)\.(conv|bn)(\d)", r"stage\1.\2.body.\3\4"),
    (r"^layer(\d)\.(\d+)\.downsample\.0", r"stage\1.\2.shortcut.conv"),
    (r"^layer(\d)\.(\d+)\.downsample\.1", r"stage\1.\2.shortcut.norm"),
    (r"\.bn(\d)", r".norm\1"),
]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    def ours(name: str) -> str:
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        return name

    return {ours(name): tensor for name, tensor in state.items()}


def with_cifar_stem(network: torchvision.models.ResNet) -> torchvision.models.ResNet:
    network.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


def assert_same_network(ours: nn.Module, theirs: nn.Module, size: int = 32) -> None:
    """The same logits in training and in evaluation, and the same BN statistics after both."""
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours.train()(images), theirs.train()(images), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-5, atol=1e-6)
    theirs_now = list(theirs.state_dict().values())
    for mine, other in zip(ours.state_dict().values(), theirs_now, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stem", ["source", "cifar"])
def test_resnet34_gives_torchvisions_outputs_under_the_same_weights(stem):
    theirs = torchvision.models.resnet34(num_classes=10)
    if stem == "cifar":
        with_cifar_stem(theirs)
    ours = create_model("resnet34", stem=stem)
    ours.load_state_dict(renamed(theirs.state_dict()))
    assert_same_network(ours, theirs, size=32 if stem == "source" else 16)


@pytest.mark.parametrize("stem", ["source", pytest.param("cifar", marks=pytest.mark.slow)])
def test_resnet152_gives_torchvisions_outputs_under_the_same_weights(stem):
    theirs = torchvision.models.resnet152(num_classes=10)
    if stem == "cifar":
        with_cifar_stem(theirs)
    ours = create_model("resnet152", stem=stem)
    ours.load_state_dict(theirs.state_dict())
    assert_same_network(ours, theirs, size=32 if stem == "source" else 8)


def test_resnet50_nopool_gives_torchvisions_outputs_without_its_pool():
    theirs = torchvision.models.resnet50(num_classes=10)
    theirs.maxpool = nn.Identity()
    ours = create_model("resnet50_nopool")
    ours.load_state_dict(renamed(theirs.state_dict()))
    assert_same_network(ours, theirs)


def test_resnet50_is_torchvisions_with_each_stride_moved_to_the_first_1x1():
    theirs = torchvision.models.resnet50(num_classes=10)
    for stage in (theirs.layer2, theirs.layer3, theirs.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    ours = create_model("resnet50")
    ours.load_state_dict(renamed(theirs.state_dict()))
    assert_same_network(ours, theirs)


@pytest.mark.parametrize(("bias", "name"), [(100.0, "resnet50"), (0.0, "resnet50_half")])
def test_se_resnet50_with_constant_gates_is_its_control(bias, name):
    """Gates of sigmoid(100) = 1 leave the plain network, and of sigmoid(0) = 0.5 the one with halved branches."""
    se = create_model("se_resnet50")
    gates = [module for module in se.modules() if isinstance(module, SqueezeExcitation)]
    assert len(gates) == 3 + 4 + 6 + 3
    for gate in gates:
        nn.init.zeros_(gate.gate.expand.weight)
        nn.init.constant_(gate.gate.expand.bias, bias)
    plain = create_model(name)
    plain.load_state_dict({name: tensor for name, tensor in se.state_dict().items() if ".se." not in name})
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(se(images), plain(images))


def test_gates_begin_at_a_half_so_that_resnet50_half_is_their_control():
    se = create_model("se_resnet50")
    seen = []
    for module in se.modules():
        if isinstance(module, SqueezeExcitation):
            module.gate.register_forward_hook(lambda module, args, out: seen.append(out.detach().flatten()))
    with torch.no_grad():
        se(torch.rand(8, 3, 32, 32))
    gates = torch.cat(seen)
    assert gates.mean().item() == pytest.approx(0.5, abs=0.005)
    assert gates.std().item() < 0.1


def test_resnet50_half_draws_the_weights_of_resnet50():
    drawn = []
    for name in ("resnet50", "resnet50_half"):
        torch.manual_seed(1)
        drawn.append(create_model(name).state_dict())
    assert drawn[0].keys() == drawn[1].keys()
    assert all(torch.equal(tensor, drawn[1][name]) for name, tensor in drawn[0].items())


def test_cnn_equals_its_formula():
    """Four 5x5 convolutions, each with a ReLU behind it, max-pools after the first and the third, one linear layer."""
    network = create_model("cnn", num_classes=7, input_size=(12, 8))
    weights = network.state_dict()
    images = torch.randn(4, 3, 12, 8)
    maps = images
    for layer in (1, 2, 3, 4):
        maps = relu(nn.functional.conv2d(maps, weights[f"conv{layer}.weight"], weights[f"conv{layer}.bias"], padding=2))
        if layer in (1, 3):
            maps = nn.functional.max_pool2d(maps, 2)
    torch.testing.assert_close(network(images), maps.flatten(1) @ weights["head.weight"].T + weights["head.bias"])


def test_squeeze_and_excitation_equals_torchvisions():
    theirs = torchvision.ops.SqueezeExcitation(64, 4)
    ours = SqueezeExcitation(64)
    ours.load_state_dict(
        {
            name.replace("fc1", "gate.reduce").replace("fc2", "gate.expand"): tensor
            for name, tensor in theirs.state_dict().items()
        }
    )
    maps = torch.randn(2, 64, 5, 3)
    torch.testing.assert_close(ours(maps), theirs(maps))


def test_a_d2l_block_adds_a_bare_1x1_to_its_two_convolutions():
    """The block's formula, written with convolutions and batch normalisation only."""
    block = create_model("d2l_resnet18").stage2[0].train()
    x = torch.randn(4, 64, 8, 8)
    body, shortcut = block.body, block.shortcut

    def normalised(y: torch.Tensor) -> torch.Tensor:
        return nn.functional.batch_norm(y, None, None, training=True)

    inner = relu(normalised(nn.functional.conv2d(x, body.conv1.weight, body.conv1.bias, 2, 1)))
    outer = normalised(nn.functional.conv2d(inner, body.conv2.weight, body.conv2.bias, 1, 1))
    expected = relu(outer + nn.functional.conv2d(x, shortcut.weight, shortcut.bias, 2))
    torch.testing.assert_close(block(x), expected)


def test_d2l_weights_fill_the_xavier_uniform_interval():
    """Uniform over +-sqrt(6 / (fan in + fan out)), so with that bound over sqrt(3) as standard deviation."""
    for name, parameter in create_model("d2l_resnet18").named_parameters():
        if parameter.dim() < 2:
            continue
        kernel = math.prod(parameter.shape[2:])
        bound = math.sqrt(6 / (kernel * (parameter.shape[0] + parameter.shape[1])))
        largest = parameter.abs().max().item()
        assert 0.98 * bound < largest <= bound * (1 + 1e-6), name
        assert parameter.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05), name


def test_nopool_convolutions_start_kaiming_normal_over_their_fan_out():
    """Standard deviation sqrt(2 / fan out); a normal sample of this size exceeds three of them."""
    network = create_model("resnet50_nopool")
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            std = math.sqrt(2 / (module.out_channels * math.prod(module.kernel_size)))
            assert module.weight.std().item() == pytest.approx(std, rel=0.05), name
            assert module.weight.abs().max().item() > 3 * std, name
        elif isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight)), name
            assert torch.equal(module.bias, torch.zeros_like(module.bias)), name


@pytest.mark.parametrize(("stem", "in_channels"), [("cifar", 3), ("cifar", 1), ("source", 1)])
def test_a_replaced_stem_of_resnet152_starts_as_torchvisions_own(stem, in_channels):
    weight = create_model("resnet152", stem=stem, in_channels=in_channels).conv1.weight
    fan_out = weight.shape[0] * weight.shape[2] * weight.shape[3]
    assert weight.shape[1] == in_channels
    assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)
