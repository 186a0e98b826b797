from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from resbench.devices import open_device
from resbench.measure.floor import (
    DeviceLimits,
    Floor,
    Kernel,
    Probe,
    default_probe,
    measure_limits,
    step_floor,
    step_kernels,
)
from resbench.measure.flops import count_training_flops
from resbench.registry import create_model, list_models, model_entry

H200 = DeviceLimits(matmul_flops=790e12, copy_bytes_per_second=4.3e12)
CIFAR = (3, 32, 32)
BATCH = 4


def on_meta(name: str, **arguments: object) -> nn.Module:
    with torch.device("meta"):
        weights = {"weights": "random"} if model_entry(name).accepts_weights else {}
        return create_model(name, **arguments, **weights)


@pytest.mark.parametrize(
    ("name", "images_per_second", "tolerance"),
    [
        ("d2l_resnet18", 126e3, 0.05),
        ("resnet34", 67e3, 0.05),
        ("resnet50", 30.7e3, 0.01),
        ("se_resnet50", 26.0e3, 0.07),
        ("resnet152", 13.5e3, 0.05),
    ],
)
def test_floor_agrees_with_an_independent_estimate(name, images_per_second, tolerance):
    floor = step_floor(on_meta(name, stem="cifar"), CIFAR, 512, H200, "bf16")
    assert floor.images_per_second == pytest.approx(images_per_second, rel=tolerance)


class TestByHand:
    """Kernels of single layers on BATCH images, counted by hand; E is the size of an element in bytes."""

    @pytest.fixture(params=["fp32", "tf32", "bf16"])
    def precision(self, request):
        return request.param

    @pytest.fixture
    def e(self, precision):
        return 2 if precision == "bf16" else 4

    def kernels(self, model: nn.Module, shape: tuple[int, int, int], precision: str, *names: str) -> list[Kernel]:
        return [kernel for kernel in step_kernels(model, shape, BATCH, precision) if kernel.name in names]

    def test_convolutions(self, precision, e):
        # 3x3 with bias from 3 to 8 channels, then strided without from 8 to 16, on 3x8x12 images.
        first = nn.Conv2d(3, 8, 3, padding=1)
        second = nn.Conv2d(8, 16, 3, padding=1, stride=2, bias=False)
        model = nn.Sequential(first, second, nn.Flatten())
        images, between, end = BATCH * 3 * 8 * 12, BATCH * 8 * 8 * 12, BATCH * 16 * 4 * 6
        w1, w2 = 8 * 3 * 9, 16 * 8 * 9
        f1, f2 = 2 * between * 3 * 9, 2 * end * 8 * 9
        assert self.kernels(model, (3, 8, 12), precision, "convolution", "convolution_backward") == [
            Kernel("convolution", f1, e * (images + w1 + 8 + between)),
            Kernel("convolution", f2, e * (between + w2 + end)),
            Kernel("convolution_backward", f2, e * (end + w2 + between)),
            Kernel("convolution_backward", f2, e * (end + between + w2)),
            # The images need no gradient.
            Kernel("convolution_backward", f1, e * (between + images + w1)),
            Kernel("convolution_backward", 0, e * (between + 8)),
        ]

    def test_linear_layer_and_update(self, precision, e):
        model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5))
        flops = 2 * BATCH * 6 * 5
        x, w, y = BATCH * 6, 5 * 6, BATCH * 5
        assert self.kernels(model, (6, 1, 1), precision, "addmm", "mm", "AddmmBackward0", "update") == [
            Kernel("addmm", flops, e * (x + w + 5 + y)),
            Kernel("mm", flops, e * (y + x + w)),
            Kernel("AddmmBackward0", 0, e * (y + 5)),
            Kernel("update", 0, 5 * 4 * (w + 5)),
        ]

    def test_casts_of_weights_and_their_gradients(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5))
        down = [(4 + 2) * count for count in (BATCH * 6, 5 * 6, 5)]
        up = [(2 + 4) * count for count in (BATCH * 5,)]  # the logits
        cast = self.kernels(model, (6, 1, 1), "bf16", "_to_copy")
        assert [kernel.bytes for kernel in cast] == down + up
        back = self.kernels(model, (6, 1, 1), "bf16", "ToCopyBackward0")
        assert sorted(kernel.bytes for kernel in back) == sorted(up + down[1:])  # the images have no gradient
        assert self.kernels(model, (6, 1, 1), "fp32", "_to_copy", "ToCopyBackward0") == []

    @pytest.mark.parametrize("inplace", [False, True])
    def test_batch_norm_and_relu(self, precision, e, inplace):
        convolution = nn.Conv2d(3, 8, 1, bias=False)
        model = nn.Sequential(convolution, nn.BatchNorm2d(8), nn.ReLU(inplace), nn.Flatten())
        map_ = e * BATCH * 8 * 5 * 7
        channels = 4 * 8  # bytes of a number a channel, fp32 in every precision
        forward, backward = "native_batch_norm", "NativeBatchNormBackward0"
        relu = "relu_" if inplace else "relu"
        assert self.kernels(model, (3, 5, 7), precision, forward, backward, relu, "ReluBackward0") == [
            # Weight, bias, running mean and variance in; the batch's mean and deviation out.
            Kernel(forward, 0, 2 * map_ + (4 + 2) * channels),
            Kernel(relu, 0, 2 * map_),
            Kernel("ReluBackward0", 0, 3 * map_),
            # Weight, running and saved statistics in; the gradients of weight and bias out.
            Kernel(backward, 0, 3 * map_ + (5 + 2) * channels),
        ]

    def test_residual_addition_and_the_branch_of_its_gradient(self, precision, e):
        class Residual(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem, self.body = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = self.stem(x)
                return (x + self.body(x)).flatten(1)

        map_ = e * BATCH * 8 * 5 * 7
        assert self.kernels(Residual(), (3, 5, 7), precision, "add", "AddBackward0") == [
            Kernel("add", 0, 3 * map_),  # forward
            Kernel("add", 0, 3 * map_),  # backward: the shortcut's gradient and the body's
        ]

    def test_gate_reads_expanded_tensors_once_and_keeps_products_on_the_chip(self, precision, e):
        class Gate(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem, self.squeeze = nn.Conv2d(3, 8, 1), nn.AdaptiveAvgPool2d(1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = self.stem(x)
                return (x * self.squeeze(x)).flatten(1)

        map_, gate = e * BATCH * 8 * 5 * 7, e * BATCH * 8
        assert self.kernels(Gate(), (3, 5, 7), precision, "mean", "mul", "MulBackward0", "MeanBackward1", "add") == [
            Kernel("mean", 0, map_ + gate),
            Kernel("mul", 0, map_ + gate + map_),
            # In: the gradient, the map and the gate. Out: the gradients of both.
            Kernel("MulBackward0", 0, 2 * map_ + gate + map_ + gate),
            Kernel("MeanBackward1", 0, gate + map_),
            Kernel("add", 0, 3 * map_),
        ]

    def test_parts_of_one_tensor_are_read_as_such(self):
        class Parts(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem = nn.Conv2d(3, 8, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                left, right = self.stem(x).chunk(2, dim=1)
                return torch.cat([right, left], dim=1).flatten(1) + left.flatten(1).repeat(1, 2)

        map_ = 4 * BATCH * 8 * 5 * 7
        assert self.kernels(Parts(), (3, 5, 7), "fp32", "cat") == [Kernel("cat", 0, 2 * map_)]


class TestFloor:
    def test_a_kernel_takes_the_longer_of_its_arithmetic_and_its_bytes(self):
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
        limits = DeviceLimits(1e8, 1e9)
        kernels = list(step_kernels(model, (3, 8, 8), BATCH, "fp32"))
        floor = step_floor(model, (3, 8, 8), BATCH, limits, "fp32")
        times = [(kernel.flops / 1e8, kernel.bytes / 1e9) for kernel in kernels]
        assert floor.seconds == pytest.approx(sum(max(pair) for pair in times))
        assert floor.compute_bound_s == pytest.approx(sum(flops for flops, moved in times if flops > moved))
        assert floor.compute_bound_s > 0
        assert floor.memory_bound_s > 0
        assert floor.flops == sum(kernel.flops for kernel in kernels)
        assert floor.bytes == sum(kernel.bytes for kernel in kernels)
        assert floor.images_per_second == BATCH / floor.seconds

    def test_the_split_adds_up(self):
        floor = Floor(batch_size=8, flops=1, bytes=1, compute_bound_s=0.25, memory_bound_s=0.75)
        assert floor.seconds == 1.0
        assert floor.images_per_second == 8.0

    @pytest.mark.parametrize("faster", ["matmul_flops", "copy_bytes_per_second"])
    def test_one_limit_moves_only_its_own_part(self, faster):
        model = on_meta("resnet34", stem="cifar")
        unlimited = DeviceLimits(**{"matmul_flops": 1e12, "copy_bytes_per_second": 1e12, faster: 1e30})
        floor = step_floor(model, CIFAR, 8, unlimited, "fp32")
        if faster == "matmul_flops":
            assert floor.compute_bound_s == 0
            assert floor.seconds == pytest.approx(floor.bytes / 1e12)
        else:
            assert floor.compute_bound_s == pytest.approx(floor.flops / 1e12)
            assert floor.memory_bound_s < 1e-9

    def test_work_grows_with_the_batch_but_for_that_on_the_weights(self):
        model = on_meta("d2l_resnet18", stem="cifar")
        floors = [step_floor(model, CIFAR, batch, H200, "bf16") for batch in (64, 128, 192)]
        assert [floor.flops / floors[0].flops for floor in floors] == [1, 2, 3]
        assert floors[2].bytes - floors[1].bytes == floors[1].bytes - floors[0].bytes
        # What the batch does not change: at least the update's 20 bytes a parameter and the casts' 12.
        fixed = 2 * floors[0].bytes - floors[1].bytes
        params = sum(parameter.numel() for parameter in model.parameters())
        assert fixed > 31 * params
        assert floors[0].images_per_second < floors[1].images_per_second < floors[2].images_per_second

    def test_half_the_bytes_an_element_is_nearly_twice_as_fast_where_memory_limits(self):
        model, limits = on_meta("resnet50", stem="cifar"), DeviceLimits(1e30, 1e12)
        fp32, bf16 = (step_floor(model, CIFAR, 512, limits, precision) for precision in ("fp32", "bf16"))
        assert 1.9 < fp32.seconds / bf16.seconds < 2

    @pytest.mark.parametrize("name", list_models())
    @pytest.mark.parametrize(("stem", "shape"), [("cifar", CIFAR), ("source", (1, 224, 224))])
    def test_every_registered_network_has_one_with_the_arithmetic_of_its_training(self, name, stem, shape):
        channels, height, width = shape
        model = on_meta(name, stem=stem, in_channels=channels, input_size=(height, width))
        floor = step_floor(model, shape, 2, H200, "bf16")
        assert math.isfinite(floor.images_per_second)
        assert floor.images_per_second > 0
        assert floor.flops == 2 * count_training_flops(model, shape)

    def test_frozen_layers_cost_no_backward_pass(self):
        frozen = list(step_kernels(on_meta("resnet152_frozen"), CIFAR, 2, "bf16"))
        trained = list(step_kernels(on_meta("resnet152"), CIFAR, 2, "bf16"))
        backward = [kernel for kernel in frozen if "ackward" in kernel.name]
        assert not [kernel for kernel in backward if "onvolution" in kernel.name or "BatchNorm" in kernel.name]
        forward = [kernel for kernel in trained if kernel.name in ("convolution", "native_batch_norm")]
        assert [kernel for kernel in frozen if kernel.name in ("convolution", "native_batch_norm")] == forward
        assert frozen[-1] == Kernel("update", 0, 20 * (2048 * 10 + 10))

    def test_the_model_is_left_as_it_was(self):
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.LazyLinear(5)).eval()
        model(torch.zeros(1, 3, 8, 8))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        step_floor(model, (3, 8, 8), BATCH, H200, "bf16")
        after = model.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        assert all(parameter.grad is None for parameter in model.parameters())
        assert not model.training


class Clock:
    """The processor's seam, but every window seems to take as long as the script says."""

    queue_depth = 0
    torch_device = torch.device("cpu")
    name = "scripted"

    def __init__(self, *seconds: float) -> None:
        self.seconds, self.now, self.marks = seconds, 0.0, 0

    def synchronize(self) -> None:
        self.marks = 0

    def mark(self) -> float:
        if self.marks:
            self.now += self.seconds[(self.marks - 1) % len(self.seconds)]
        self.marks += 1
        return self.now

    def elapsed_s(self, start: float, end: float) -> float:
        return end - start

    def wait(self, mark: float) -> None:
        pass


class TestLimits:
    def test_rates_are_of_the_best_window(self):
        probe = Probe(matmul_side=16, copy_bytes=4096, calls=3)
        limits = measure_limits(Clock(0.5, 0.25, 1.0), "fp32", probe)
        assert limits.matmul_flops == pytest.approx(3 * 2 * 16**3 / 0.25)
        assert limits.copy_bytes_per_second == pytest.approx(3 * 2 * 4096 / 0.25)

    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_they_are_positive_and_finite_here(self, precision):
        limits = measure_limits(open_device("cpu"), precision, Probe(32, 2**12, calls=1), max_seconds=0.01)
        for value in (limits.matmul_flops, limits.copy_bytes_per_second):
            assert value > 0
            assert math.isfinite(value)

    def test_work_is_larger_on_a_gpu(self):
        class Gpu(Clock):
            torch_device = torch.device("cuda", 1)

        assert default_probe(Gpu()) == Probe(8192, 2**30, calls=10)
        assert default_probe(open_device("cpu")) == Probe(2048, 2**28, calls=1)

    @pytest.mark.gpu
    @pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
    def test_they_are_below_the_datasheet_on_a_gpu(self, precision):
        from resbench.precision import peak_flops

        device = open_device("cuda")
        limits = measure_limits(device, precision, max_seconds=0.2)
        peak = peak_flops(device.name, precision) or math.inf
        assert 0 < limits.matmul_flops < peak
        assert limits.copy_bytes_per_second > 0


def test_a_model_on_the_processor_gives_what_one_on_the_meta_device_gives():
    floors = [step_floor(model, CIFAR, BATCH, H200, "bf16") for model in (create_model("cnn"), on_meta("cnn"))]
    assert floors[0] == floors[1]
