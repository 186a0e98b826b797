"""The kernel-sum floor: the least time that a training step's kernels need, one after another, on a given device.

Every kernel takes the longer of its arithmetic at the device's matmul rate and its bytes at the device's copy
bandwidth, and a step is the sum of its kernels. Both rates are measured (:func:`measure_limits`); the kernels are
those of one step on the meta device, where nothing is computed (:func:`step_kernels`). What is assumed:

* *Kernels.* Every aten operator of the forward pass and of the loss is one kernel: a convolution, BN, ReLU, a
  residual addition, an SE block's mean and its product. Nothing is fused with a neighbour. In the backward pass one
  autograd function is one kernel: what it makes and itself uses up never reaches memory. Convolutions and linear
  layers have one kernel for each gradient, that of the bias included. Adding up the gradients of a branch is a
  kernel. Views and allocation are free.
* *Bytes.* A kernel reads each tensor that is handed to it once, an expanded one as the numbers it holds, and writes
  each result once; no cache holds anything from one kernel to the next. So BN moves its map twice forward and three
  times backward. That is generous: it cannot normalise before it knows its statistics, so of a map that is larger
  than the cache it reads everything again. With three and five, the rates below would be 9 to 12 % lower.
* *Types.* ``bf16`` is autocast: convolutions and matrix products read and write 2 bytes an element, so maps and their
  gradients have 2; weights are kept in 4, and casting them before use and their gradients after it are kernels. BN's
  weights and statistics have 4, and so has everything from the logits on. ``fp32`` and ``tf32``: 4 throughout.
* *Arithmetic.* That of convolutions and matrix products only (one multiply-add is two FLOPs), at the measured rate.
* *Update.* One kernel, SGD with momentum in 4 bytes: reads weights, gradients and momenta, writes weights and momenta.
* *Left out.* Launching kernels, making batches, metrics and the host. Where kernels are small, these are what counts.

A compiler that fuses, or a cache that holds whole maps, as a processor's may, can beat this floor.

From 790 TFLOP/s and 4.3 TB/s (H200; CIFAR stem, 32x32, bf16, batch 512) it gives, beside an independent estimate:
ResNet-18 120.8k images/s (126k, -4.1 %), ResNet-34 65.2k (67k, -2.7 %), ResNet-50 30.8k (30.7k, +0.2 %), SE-ResNet-50
24.4k (26.0k, -6.3 %), ResNet-152 12.9k (13.5k, -4.7 %). What departs: this ResNet-18 has biased convolutions, whose
gradients read every map's once more (-0.7 % without them); casts and update of the weights are 1 to 2 % of a step;
an SE block moves its map ten times here and about seven there, as if its backward pass were a single kernel.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from resbench.devices import Device
from resbench.measure.latency import MAX_SECONDS, time_calls
from resbench.precision import apply_precision

UPDATE_BYTES = 5 * 4
"""Of a trained parameter, see *Update* above."""

_aten = torch.ops.aten
_ALLOCATIONS = {_aten.empty, _aten.empty_like, _aten.empty_strided, _aten.new_empty, _aten.new_empty_strided}

# What such networks call of that which autocast runs in bf16. All else works in the type that reaches it.
_CONVOLUTIONS = {torch.conv1d, torch.conv2d, torch.conv3d, torch.conv_transpose2d}
_CAST = {*_CONVOLUTIONS, F.linear, torch.matmul, torch.Tensor.__matmul__, torch.bmm, F.scaled_dot_product_attention}


@dataclass(frozen=True)
class DeviceLimits:
    """What a device reaches at best, as measured."""

    matmul_flops: float
    """FLOP/s of a dense matrix product."""
    copy_bytes_per_second: float
    """Bytes read and written a second while copying."""


@dataclass(frozen=True)
class Probe:
    """How large the work is that limits are measured on."""

    matmul_side: int
    """Rows and columns of the matrices."""
    copy_bytes: int
    """Of the tensor that is copied: far more than caches hold."""
    calls: int
    """In one timed window: several where one is so short that a clock which rises for a moment would show."""


@dataclass(frozen=True)
class Kernel:
    """One kernel's work."""

    name: str
    """The aten operator's; in the backward pass that of the autograd function."""
    flops: int
    bytes: int

    def seconds(self, limits: DeviceLimits) -> tuple[float, float]:
        """Returns the seconds of the arithmetic and those of the bytes; the kernel takes the longer."""
        return self.flops / limits.matmul_flops, self.bytes / limits.copy_bytes_per_second


@dataclass(frozen=True)
class Floor:
    """The least time of one training step."""

    batch_size: int
    flops: int
    bytes: int
    compute_bound_s: float
    """Of the kernels whose arithmetic takes longer than their bytes."""
    memory_bound_s: float
    """Of the others."""

    @property
    def seconds(self) -> float:
        """Seconds a step."""
        return self.compute_bound_s + self.memory_bound_s

    @property
    def images_per_second(self) -> float:
        """Images a second."""
        return self.batch_size / self.seconds


def default_probe(device: Device) -> Probe:
    """Returns work that is large enough to show the limits of a kind of device."""
    return Probe(8192, 2**30, calls=10) if device.torch_device.type == "cuda" else Probe(2048, 2**28, calls=1)


def measure_limits(
    device: Device, precision: str, probe: Probe | None = None, *, max_seconds: float = MAX_SECONDS
) -> DeviceLimits:
    """Measures a dense matrix product of random numbers and a copy: the best of several timed windows of each.

    The process is left with the switches of that precision (:func:`resbench.precision.apply_precision`).

    Args:
        device: Where.
        precision: ``fp32``, ``tf32`` or ``bf16``.
        probe: How large the work is, by default what suits the device.
        max_seconds: About how long each of the two takes.
    """
    probe = probe or default_probe(device)
    apply_precision(precision)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    side, elements = probe.matmul_side, probe.copy_bytes // 4
    # Zeros would be multiplied faster: they draw less power.
    left, right = (torch.randn(side, side, device=device.torch_device).to(dtype) for _ in range(2))
    product = torch.empty_like(left)
    source = torch.rand(elements, device=device.torch_device)
    target = torch.empty_like(source)

    def per_second(work: float, call: Callable[[], object]) -> float:
        def window() -> None:
            for _ in range(probe.calls):
                call()

        best_s = time_calls(window, device, max_seconds=max_seconds).ms(0) / 1000
        return probe.calls * work / best_s

    return DeviceLimits(
        matmul_flops=per_second(2.0 * side**3, lambda: torch.mm(left, right, out=product)),
        copy_bytes_per_second=per_second(2.0 * 4 * elements, lambda: target.copy_(source)),
    )


def step_floor(
    model: nn.Module, input_shape: tuple[int, int, int], batch_size: int, limits: DeviceLimits, precision: str
) -> Floor:
    """Returns the floor of one training step; the model is left as it is.

    Args:
        model: On any device; parameters that need no gradient cost no backward pass. Batch norm takes statistics of its
            batch, frozen or not.
        input_shape: Channels, height, width of one image.
        batch_size: Images a step.
        limits: The device's.
        precision: ``fp32``, ``tf32`` or ``bf16``.
    """
    kernels = list(step_kernels(model, input_shape, batch_size, precision))
    times = [kernel.seconds(limits) for kernel in kernels]
    return Floor(
        batch_size,
        flops=sum(kernel.flops for kernel in kernels),
        bytes=sum(kernel.bytes for kernel in kernels),
        compute_bound_s=sum(compute for compute, memory in times if compute > memory),
        memory_bound_s=sum(memory for compute, memory in times if compute <= memory),
    )


def step_kernels(
    model: nn.Module, input_shape: tuple[int, int, int], batch_size: int, precision: str
) -> Iterator[Kernel]:
    """Yields the kernels of one training step in their order; the arguments are those of :func:`step_floor`."""
    skeleton = copy.deepcopy(model).to("meta").train()
    images = torch.empty(batch_size, *input_shape, device="meta")
    labels = torch.empty(batch_size, dtype=torch.int64, device="meta")
    with _KernelLog() as log:
        with _Autocast(enabled=precision == "bf16"):
            logits = skeleton(images)
        loss = F.cross_entropy(logits.float(), labels)
        log.watch(loss)
        loss.backward()
    yield from log.kernels
    trained = sum(parameter.numel() for parameter in skeleton.parameters() if parameter.requires_grad)
    yield Kernel("update", 0, UPDATE_BYTES * trained)


class _Autocast(TorchFunctionMode):
    """Casts what goes into convolutions and matrix products to bf16: torch.autocast has no meta device."""

    def __init__(self, *, enabled: bool) -> None:
        super().__init__()
        self.enabled = enabled

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.enabled and func in _CAST:
            args, kwargs = tree_map_only(torch.Tensor, lambda tensor: tensor.to(torch.bfloat16), (args, kwargs))
        return func(*args, **(kwargs or {}))


class _KernelLog(TorchDispatchMode):
    """Notes the kernels of all that runs under it."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[Kernel] = []
        # What the autograd function that runs was given and has made: bytes by storage. Its tensors are held, so
        # that no later one gets the name of their storage.
        self._given: dict[int, int] = {}
        self._made: dict[int, int] = {}
        self._held: list[object] = []
        self._in_function = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        operator = func.overloadpacket
        read, written = _bytes_by_storage((args, kwargs)), _bytes_by_storage(out)
        is_view = not func._schema.is_mutable and written.keys() <= read.keys()
        if is_view or operator in _ALLOCATIONS:
            return out
        flops = 0
        if operator in flop_registry:
            flops = flop_registry[operator](*args, **(kwargs or {}), out_val=out)
        elif self._in_function:
            self._given |= {storage: size for storage, size in read.items() if storage not in self._made}
            self._made |= written
            self._held += [args, kwargs, out]
            return out
        if operator is _aten.convolution_backward:
            self.kernels += _convolution_gradients(flops, *args[:3], *out)
        else:
            self.kernels.append(Kernel(operator.__name__, flops, sum(read.values()) + sum(written.values())))
        return out

    def watch(self, loss: torch.Tensor) -> None:
        """Has every autograd function that the loss comes from say when its backward pass begins and ends."""
        seen, found = set(), [loss.grad_fn]
        while found:
            function = found.pop()
            if function is not None and function not in seen:
                seen.add(function)
                function.register_prehook(self._begin)
                function.register_hook(partial(self._end, function.name()))
                found += [behind for behind, _ in function.next_functions]

    def _begin(self, gradients: Any) -> None:
        self._in_function = True

    def _end(self, name: str, results: Any, gradients: Any) -> None:
        if self._made:
            returned = sum(size for storage, size in _bytes_by_storage(results).items() if storage in self._made)
            self.kernels.append(Kernel(name, 0, sum(self._given.values()) + returned))
        self._given, self._made, self._held, self._in_function = {}, {}, [], False


def _convolution_gradients(
    flops: int, gradient: torch.Tensor, images: torch.Tensor, weight: torch.Tensor, *results: torch.Tensor | None
) -> Iterator[Kernel]:
    """Yields a kernel for each gradient that is asked for: input's, weight's (as much arithmetic each), bias's."""
    products = sum(result is not None for result in results[:2])
    for result, other in zip(results, (weight, images, None), strict=True):
        if result is not None:
            moved = sum(_bytes_by_storage([gradient, result, other]).values())
            yield Kernel("convolution_backward", 0 if other is None else flops // products, moved)


def _bytes_by_storage(values: Any) -> dict[int, int]:
    """Returns how much of each storage the tensors among nested values reach: all that it holds, at most."""
    reached: dict[int, int] = {}
    for value in tree_leaves(values):
        if isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            elements = reached.get(storage._cdata, 0) + value.numel() * value.element_size()
            reached[storage._cdata] = min(elements, storage.nbytes())
    return reached
