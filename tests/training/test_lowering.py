"""Convolutions as matrix products: the same function, in every shape that is taken."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_engines import SGD
from torch import nn

from resbench.registry import create_model
from resbench.schema import EngineSettings
from resbench.training import lowering
from resbench.training.engine import Engine
from resbench.training.lowering import LoweredAvgPool2d, LoweredConv2d, constant_weights, lower, plan_of

NETWORKS = ["d2l_resnet18", "resnet34", "resnet50", "se_resnet50", "torchvision:resnext50_32x4d", "timm:resnet26d"]


def lowered(network: nn.Module) -> nn.Module:
    copied = copy.deepcopy(network)
    lower(copied, "auto")
    return copied


def gradients(network: nn.Module, images: torch.Tensor, weight: torch.Tensor | None = None) -> list[torch.Tensor]:
    """The output, and the gradients of images and parameters."""
    images = images.clone().requires_grad_()
    output = network(images)
    generator = torch.Generator().manual_seed(1)
    output.backward(torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output.dtype))
    return [output.detach(), images.grad, *(parameter.grad for parameter in network.parameters())]


def apart(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """The largest difference of each pair, relative to what is largest in it."""
    return max(float((a - b).norm() / (b.norm() + 1e-30)) for a, b in zip(one, other, strict=True))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Conv2d, torch.Tensor]:
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding: Any = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)) | st.sampled_from(["valid", "same"]))
    pads = kernel if padding == "same" else (0, 0) if padding == "valid" else padding
    size = [draw(st.integers(max(1, side - 2 * pad), 8)) for side, pad in zip(kernel, pads, strict=True)]
    inputs, outputs = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    module = nn.Conv2d(
        inputs,
        outputs,
        kernel,
        stride=1 if padding == "same" else stride,
        padding=padding,
        bias=draw(st.booleans()),
        dtype=torch.float64,
    )
    images = torch.randn(draw(st.sampled_from([1, 7, 8, 64])), inputs, *size, dtype=torch.float64)
    layout = draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
    return module.to(memory_format=layout), images.contiguous(memory_format=layout)  # type: ignore[call-overload]


class TestOneConvolution:
    @settings(deadline=None, max_examples=300)
    @given(convolutions())
    def test_output_and_gradients(self, drawn):
        module, images = drawn
        assert apart(gradients(lowered(module), images), gradients(module, images)) < 1e-13

    @pytest.mark.parametrize(
        ("kernel", "stride", "size", "images", "products"),
        [
            (1, 1, 2, 65, 1),
            (1, 1, 8, 4, 1),
            (1, 2, 8, 40, 1),
            (3, 1, 1, 1, 1),
            (3, 2, 2, 1, 1),
            (3, 1, 2, 2, 1),
            (3, 1, 2, 64, 4),
        ],
    )
    def test_these_are_products(self, kernel, stride, size, images, products, monkeypatch):
        calls: list[int] = []
        linear = lowering.F.linear
        monkeypatch.setattr(lowering.F, "linear", lambda *given: (calls.append(1), linear(*given))[1])
        module = lowered(nn.Conv2d(3, 5, kernel, stride, kernel // 2))
        module(torch.zeros(images, 3, size, size))
        assert sum(calls) == products

    @pytest.mark.parametrize(
        ("kernel", "size", "images", "in_bf16"),
        [
            (1, 4, 17, True),  # more than 256 output pixels in the batch
            (1, 16, 1, True),
            (3, 2, 1, True),
            (1, 8, 5, False),
            (1, 2, 1, True),
            (3, 4, 64, False),
            (7, 32, 64, False),
        ],
    )
    def test_some_are_products_in_bf16_only_and_some_never(self, kernel, size, images, in_bf16):
        for dtype, expected in ((torch.bfloat16, in_bf16), (torch.float32, False)):
            plan = plan_of(images, (size, size), (kernel,) * 2, (1, 1), (kernel // 2,) * 2, dtype)
            assert (plan is not None) == expected

    @pytest.mark.parametrize(
        "module",
        [
            nn.Conv2d(4, 4, 1, groups=2),
            nn.Conv2d(4, 4, 3, dilation=2),
            nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
            nn.ConvTranspose2d(4, 4, 1),
            type("Own", (nn.Conv2d,), {})(4, 4, 1),
        ],
        ids=["groups", "dilation", "padding", "transposed", "subclass"],
    )
    def test_others_are_left_alone(self, module):
        kind = type(module)
        lower(module, "auto")
        assert type(module) is kind

    def test_nothing_of_the_module_changes(self):
        plain = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(inplace=True))
        seen: list[torch.Size] = []
        plain[0].register_forward_hook(lambda module, given, output: seen.append(output.shape))
        state, text = {name: id(value) for name, value in plain.named_parameters()}, repr(plain)
        lower(plain, "auto")
        assert type(plain[0]) is LoweredConv2d
        plain(torch.randn(2, 3, 1, 1)).sum().backward()  # changed in place by the activation
        assert seen == [(2, 5, 1, 1)]
        assert repr(plain) == text
        assert {name: id(value) for name, value in plain.named_parameters()} == state
        lower(plain, "off")
        assert type(plain[0]) is nn.Conv2d

    def test_gradients_of_gradients(self):
        module = lowered(nn.Conv2d(2, 3, 3, padding=1, dtype=torch.float64))
        images = torch.randn(2, 2, 1, 1, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradgradcheck(module, images)

    def test_functional_transforms(self):
        module = lowered(nn.Conv2d(2, 3, 1, dtype=torch.float64))
        images = torch.randn(5, 2, 2, 1, 1, dtype=torch.float64)
        mapped = torch.func.vmap(module)(images)
        assert torch.allclose(mapped, torch.stack([module(one) for one in images]))

    def test_wrong_images_are_told_as_by_torch(self):
        module = nn.Conv2d(3, 5, 1)
        for images in (torch.zeros(2, 4, 1, 1), torch.zeros(2, 3, 1, 1, dtype=torch.float64), torch.zeros(3, 3)):
            with pytest.raises(RuntimeError) as plain:
                module(images)
            with pytest.raises(RuntimeError) as other:
                lowered(module)(images)
            assert str(other.value) == str(plain.value)

    def test_autocast_gives_its_type_and_gradients_in_the_parameters(self):
        module, images = nn.Conv2d(64, 32, 3, padding=1), torch.randn(64, 64, 2, 2)
        with torch.autocast("cpu", torch.bfloat16):
            results = [gradients(one, images) for one in (lowered(module), copy.deepcopy(module))]
        assert [value.dtype for value in results[0]] == [value.dtype for value in results[1]]
        assert apart(*[[value.float() for value in of] for of in results]) < 0.01


class TestMean:
    @pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
    @pytest.mark.parametrize("size", [(1, 1), (4, 3)])
    def test_output_and_gradient(self, size, layout):
        images = torch.randn(3, 5, *size, dtype=torch.float64).contiguous(memory_format=layout)
        pool = nn.AdaptiveAvgPool2d(1)
        assert apart(gradients(lowered(pool), images), gradients(pool, images)) < 1e-15

    def test_the_gradient_has_the_layout_of_the_map(self):
        images = torch.randn(3, 5, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
        (gradient,) = torch.autograd.grad(lowered(nn.AdaptiveAvgPool2d((1, 1)))(images).sum(), images)
        assert gradient.is_contiguous(memory_format=torch.channels_last)

    def test_images_without_a_batch_and_other_sizes_are_torchs(self):
        images = torch.randn(5, 4, 4)
        assert torch.equal(lowered(nn.AdaptiveAvgPool2d(1))(images), images.mean((1, 2), keepdim=True))
        assert type(lowered(nn.AdaptiveAvgPool2d(2))) is type(lowered(nn.AdaptiveAvgPool2d((1, None))))
        assert type(lowered(nn.AdaptiveAvgPool2d(2))) is nn.AdaptiveAvgPool2d

    def test_nothing_of_the_module_changes_and_it_may_be_undone(self):
        pool = nn.AdaptiveAvgPool2d(1)
        one = lowered(pool)
        assert repr(one) == repr(pool)
        assert isinstance(one, LoweredAvgPool2d)
        lower(one, "off")
        assert type(one) is nn.AdaptiveAvgPool2d


class TestConstantWeights:
    def test_a_kept_weight_gives_the_same_bits(self):
        module, images = lowered(nn.Conv2d(16, 8, 3, padding=1)), torch.randn(8, 16, 2, 2)

        def run() -> torch.Tensor:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                return module(images)

        plain = run()
        with constant_weights():
            assert all(torch.equal(run(), plain) for _ in range(2))

    def test_it_is_made_anew_outside(self):
        module, images = lowered(nn.Conv2d(4, 4, 1)), torch.randn(2, 4, 1, 1)
        with torch.no_grad():
            with constant_weights():
                before = module(images)
            module.weight.mul_(2)
            with constant_weights():
                assert not torch.equal(module(images), before)


@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks(name):
    torch.manual_seed(0)
    network = create_model(name, stem="source").double().train()
    images = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    other = lowered(network)
    assert sum(type(module) is LoweredConv2d for module in other.modules()) > 10
    one, two = gradients(other, images), gradients(network, images)
    assert apart(*[[torch.cat([value.flatten() for value in of])] for of in (one, two)]) < 1e-9
    assert apart(one[:1], two[:1]) < 1e-12
    assert other.state_dict().keys() == network.state_dict().keys()


class TestEngine:
    def engine(self, **changes: Any) -> Engine:
        return Engine(nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten()), SGD, EngineSettings("cpu", "fp32", **changes))

    def test_it_is_on_by_default_and_may_be_off(self):
        assert self.engine().lowering == "auto"
        assert type(self.engine().model[0]) is LoweredConv2d
        assert self.engine(lowering="off").lowering == "off"
        assert type(self.engine(lowering="off").model[0]) is nn.Conv2d

    def test_compiled_networks_are_not_lowered(self):
        assert self.engine(compile=True).lowering == "off"

    def test_evaluation_keeps_its_bits_where_weights_are_cast_once(self):
        torch.manual_seed(0)
        network = create_model("resnet34", stem="source")
        engine = Engine(network, SGD, EngineSettings("cpu", "bf16"))
        images = torch.randn(8, 3, 32, 32)
        engine.model.eval()
        run = engine.inference(images)
        plain = run()
        with engine.constant_weights():
            assert all(torch.equal(run(), plain) for _ in range(2))
