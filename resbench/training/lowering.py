"""Convolutions on small maps as matrix products, which a processor computes several times as fast.

Convolution kernels for processors (oneDNN's) are made for large maps. On maps of 4x4 pixels and less they run at a
tenth of the rate at which the same sum is computed as a matrix product. A *lowered* convolution takes the product
there: the inputs that an output pixel sees, as a row, times the weights of the taps that see them. Taps that only see
padding are left out: of a 3x3 kernel on a 1x1 map, the centre alone is multiplied.

It is the same function of the same parameters, but for rounding. The module stays what it is, with its parameters,
hooks and ``state_dict``; only its class changes, see :func:`lower`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

Axis = tuple[tuple[slice, slice], ...]
"""Of each output coordinate along an axis: the inputs that it sees, and the taps of the kernel that see them."""

_kept: dict[tuple[int, int], tuple[torch.Tensor, Plan, list[torch.Tensor]]] | None = None
"""What :func:`constant_weights` keeps: matrices by the ids of weight and plan, and both, so that ids stay their own."""


class Block(NamedTuple):
    """Output pixels that one product computes."""

    shape: tuple[int, int, int, int]
    """Pixels down and across, taps down and across."""
    taps: tuple[slice, slice]
    """Those that some of the pixels see an input by."""
    views: tuple[tuple[Any, Any], ...]
    """Pairs of views of the same numbers: in the inputs [B, H, W, C], and in rows [B, *shape, C]."""


class Plan(NamedTuple):
    """How one convolution is computed."""

    blocks: tuple[Block, ...]
    size: tuple[int, int]
    """Of the output."""
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dtype: torch.dtype


def lower(model: nn.Module, lowering: str) -> None:
    """Lets every convolution of a model choose between a convolution kernel and matrix products, in place.

    Args:
        model: Taken is what is an ``nn.Conv2d`` itself, not a subclass, with zeros as padding, without groups and
            dilation; and an ``nn.AdaptiveAvgPool2d`` to one pixel.
        lowering: ``auto``, or ``off`` to undo it.
    """
    for module in model.modules():
        lowered = LOWERED.get(type(module))
        if lowering == "off" and isinstance(module, (LoweredConv2d, LoweredAvgPool2d)):
            module.__class__ = type(module).__bases__[0]
        elif lowering == "auto" and lowered is not None and lowered.takes(module):
            module.__class__ = lowered


@contextmanager
def constant_weights() -> Iterator[None]:
    """Inside, a parameter is cast to the precision of the passes once, and nothing may change it there.

    Each pass reads the same bits as outside: autocast keeps its casts until the outermost context ends, also where that
    is one that casts nothing, and matrices of lowered convolutions are kept here.
    """
    global _kept
    before, _kept = _kept, {}
    try:
        with torch.autocast("cpu", enabled=False):
            yield
    finally:
        _kept = before


class LoweredConv2d(nn.Conv2d):
    """A convolution that is computed as matrix products where :func:`plan_of` says so."""

    @staticmethod
    def takes(module: Any) -> bool:
        """Returns whether some of a convolution's shapes could be computed as products."""
        return module.groups == 1 and set(module.dilation) == {1} and module.padding_mode == "zeros"

    def _get_name(self) -> str:
        return "Conv2d"

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        plan = self._plan(input, weight)
        if plan is None:
            return super()._conv_forward(input, weight, bias)
        if torch.is_grad_enabled():
            output: torch.Tensor = Products.apply(input, weight, bias, plan)
        else:
            output, *_ = _products(input, weight, bias, plan)
        return _as_map(output.view(len(input), *plan.size, len(weight)))

    def _plan(self, images: torch.Tensor, weight: torch.Tensor) -> Plan | None:
        """Returns how these images are to be convolved, None for a convolution kernel (which knows what is wrong)."""
        dtype = _common_dtype(images, weight)
        if (
            dtype is None
            or images.device.type != "cpu"
            or images.dim() != 4
            or images.shape[1] != self.in_channels
            or torch.compiler.is_compiling()
            or torch._C._are_functorch_transforms_active()  # which have rules for a convolution, not for Products
        ):
            return None
        padding = self.padding
        if isinstance(padding, str):
            padding = (0, 0) if padding == "valid" else tuple(side // 2 for side in self.kernel_size)
            if self.padding == "same" and not all(side % 2 for side in self.kernel_size):  # more on one side
                return None
        return plan_of(len(images), images.shape[2:], self.kernel_size, self.stride, padding, dtype)


class LoweredAvgPool2d(nn.AdaptiveAvgPool2d):
    """The mean of all pixels, taken in the order in which channels_last has them in memory.

    It is the gradient that gains: torch's own comes in the other layout, and adding it to that of the map's other use,
    as in squeeze and excitation, takes several times as long.
    """

    @staticmethod
    def takes(module: Any) -> bool:
        """Returns whether a pool leaves one pixel."""
        return module.output_size in (1, (1, 1))

    def _get_name(self) -> str:
        return "AdaptiveAvgPool2d"

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Returns [B, C, 1, 1] of [B, C, H, W]."""
        if input.dim() != 4 or not input.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input)
        return _as_map(input.permute(0, 2, 3, 1).mean((1, 2), keepdim=True))


LOWERED: dict[type[nn.Module], Any] = {nn.Conv2d: LoweredConv2d, nn.AdaptiveAvgPool2d: LoweredAvgPool2d}


@lru_cache(maxsize=4096)
def plan_of(
    images: int,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dtype: torch.dtype,
) -> Plan | None:
    """Decides from shapes alone how a convolution is computed: one rule for every network.

    One product over all output pixels multiplies the padding that some of them see. A product a pixel does not, but
    reads the weights once a pixel. The limits are where both ways took as long, in shapes of residual networks on two
    cores of an AMD EPYC with AVX512-BF16: forward and backward pass of 32 and 128 images, forward pass of 1 to 64.

    Args:
        images: In the batch.
        size: Height and width of the images.
        kernel: Its height and width.
        stride: Down and across.
        padding: On either side, below and beside.
        dtype: That is computed in.

    Returns:
        None for a convolution kernel.
    """
    if any(pad >= side for pad, side in zip(padding, kernel, strict=True)):  # some outputs see no input at all
        return None
    rows, columns = (seen(*axis) for axis in zip(size, kernel, stride, padding, strict=True))
    pixels = len(rows) * len(columns)
    if not pixels or not images:
        return None
    blocks: tuple[Block, ...] = (_block(rows, columns, stride),)
    in_bf16 = dtype == torch.bfloat16
    if tuple(kernel) == (1, 1):
        lowered = pixels <= (16 if in_bf16 or max(stride) > 1 else 4) or images * pixels <= 256
        lowered &= images > 1 or in_bf16  # torch has a product of its own for one image in fp32
    else:
        lowered = pixels == 1 or (pixels <= 4 and (images > 1 or in_bf16))
        if 1 < pixels <= 4 and images >= 64:
            blocks = tuple(_block((row,), (column,), stride) for row in rows for column in columns)
    return Plan(blocks, (len(rows), len(columns)), tuple(stride), tuple(padding), dtype) if lowered else None


def seen(size: int, kernel: int, stride: int, padding: int) -> Axis:
    """Returns what the output coordinates along an axis of ``size`` inputs see."""
    axis = []
    for first in range(-padding, size + padding - kernel + 1, stride):
        begin, end = max(first, 0), min(first + kernel, size)
        axis.append((slice(begin, end), slice(begin - first, end - first)))
    return tuple(axis)


def _block(rows: Axis, columns: Axis, stride: Sequence[int]) -> Block:
    """Returns the block of the pixels in these rows and columns."""
    above, left = _hull(taps for _, taps in rows), _hull(taps for _, taps in columns)
    shape = len(rows), len(columns), _length(above), _length(left)
    every = slice(None)
    if shape[2:] == (1, 1):  # all pixels at once
        down, across = (_hull(inputs for inputs, _ in axis) for axis in (rows, columns))
        source = every, slice(down.start, down.stop, stride[0]), slice(across.start, across.stop, stride[1])
        return Block(shape, (above, left), ((source, (every, every, every, 0, 0)),))
    views = [
        ((every, top, side), (every, row, column, _within(above, high), _within(left, wide)))
        for row, (top, high) in enumerate(rows)
        for column, (side, wide) in enumerate(columns)
    ]
    return Block(shape, (above, left), tuple(views))


class Products(torch.autograd.Function):
    """A convolution as matrix products: images [B, C, H, W], weight [O, C, h, w], bias [O] to [B * H' * W', O].

    The output has the shape of a product, for what is made into another shape in here cannot be changed in place.
    """

    @staticmethod
    def forward(
        ctx: Any, images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, plan: Plan
    ) -> torch.Tensor:
        """Multiplies, and keeps the factors for the backward pass."""
        output, gathered, matrices = _products(images, weight, bias, plan)
        ctx.save_for_backward(images, weight, bias, *gathered, *matrices)
        ctx.plan = plan
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Returns the gradients of images, weight and bias."""
        plan: Plan = ctx.plan
        images, weight, bias, *saved = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # a gradient of the gradient is to come, which torch's own function has
            gradient = _as_map(gradient.reshape(len(images), *plan.size, len(weight)))
            images, weight = images.to(plan.dtype), weight.to(plan.dtype)
            sizes = None if bias is None else bias.shape
            of_all = torch.ops.aten.convolution_backward(
                gradient, images, weight, sizes, plan.stride, plan.padding, (1, 1), False, (0, 0), 1, wanted
            )
            return *of_all, None
        count, channels = len(plan.blocks), len(weight)
        gradient = gradient.reshape(-1, channels)
        of_outputs = gradient.view(len(images), count, -1, channels).unbind(1)
        of_images = of_weight = None
        for block, outputs, pixels, matrix in zip(plan.blocks, of_outputs, saved[:count], saved[count:], strict=True):
            rows = outputs.reshape(-1, channels)
            if wanted[0]:
                of_images = _scatter(rows @ matrix, of_images, images, block)
            if wanted[1]:
                part = (rows.t() @ pixels).view(channels, *block.shape[2:], -1)
                of_weight = _add(part, of_weight, (slice(None), *block.taps), weight)
        of_bias = gradient.sum(0) if wanted[2] else None
        return *(None if of is None else _as_map(of) for of in (of_images, of_weight)), of_bias, None


def _products(
    images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, plan: Plan
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Multiplies block by block; returns the output [B * H' * W', O], and both factors of each product."""
    inputs = images.permute(0, 2, 3, 1).to(plan.dtype)
    gathered = [_gather(inputs, block) for block in plan.blocks]
    matrices = _matrices(weight, plan)
    added = None if bias is None else bias.to(plan.dtype)
    outputs = [F.linear(pixels, matrix, added) for pixels, matrix in zip(gathered, matrices, strict=True)]
    return outputs[0] if len(outputs) == 1 else torch.stack(outputs, 1), gathered, matrices


def _matrices(weight: torch.Tensor, plan: Plan) -> list[torch.Tensor]:
    """Returns the matrix [O, taps * C] of each block's product."""
    kept = _kept if isinstance(weight, nn.Parameter) else None  # anything else is made anew in each pass
    key = id(weight), id(plan)
    if kept is not None and key in kept:
        return kept[key][2]
    kernels = weight.permute(0, 2, 3, 1)
    if len(plan.blocks) > 1:  # they share taps
        kernels = kernels.to(plan.dtype)
    made = [kernels[:, *block.taps].to(plan.dtype).reshape(len(weight), -1) for block in plan.blocks]
    if kept is not None:
        kept[key] = weight, plan, made
    return made


def _gather(inputs: torch.Tensor, block: Block) -> torch.Tensor:
    """Returns what the output pixels see, a row a pixel: [B * pixels, taps * C] of inputs [B, H, W, C]."""
    (source, _), *more = block.views
    if not more:
        rows = inputs[source]
    else:
        rows = inputs.new_zeros(len(inputs), *block.shape, inputs.shape[3])
        for source, place in block.views:
            rows[place] = inputs[source]
    down, across, *_ = block.shape
    return rows.reshape(len(inputs) * down * across, -1)


def _scatter(rows: torch.Tensor, total: torch.Tensor | None, images: torch.Tensor, block: Block) -> torch.Tensor | None:
    """Adds the gradients of what :func:`_gather` returned to those of the inputs, which may be None yet."""
    rows = rows.view(len(images), *block.shape, -1)
    for source, place in block.views:
        total = _add(rows[place], total, source, images)
    return total


def _add(part: torch.Tensor, total: torch.Tensor | None, place: Any, like: torch.Tensor) -> torch.Tensor:
    """Adds a part to a gradient [.., H, W, C] of a tensor [.., C, H, W], which is the part where that is all of it."""
    count, channels, height, width = like.shape
    if total is None:
        if part.shape == (count, height, width, channels):
            return part.to(like.dtype)
        total = part.new_zeros((count, height, width, channels), dtype=like.dtype)
        total[place] = part
    else:
        total[place] += part
    return total


def _as_map(tensor: torch.Tensor) -> torch.Tensor:
    """Returns [B, C, H, W] of [B, H, W, C] without a copy.

    A map of one pixel has two layouts that are the same; batch norm's backward pass takes nine times as long where it
    is given one of each, and it gives its own output the strides that are made here.
    """
    count, height, width, channels = tensor.shape
    return tensor.view(count, channels, 1, 1) if height == width == 1 else tensor.permute(0, 3, 1, 2)


def _common_dtype(images: torch.Tensor, weight: torch.Tensor) -> torch.dtype | None:
    """Returns what a convolution of the two computes in, None where they do not agree."""
    eligible = all(one.is_floating_point() and one.dtype != torch.float64 for one in (images, weight))
    if eligible and torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return images.dtype if images.dtype == weight.dtype else None


def _hull(slices: Iterator[slice]) -> slice:
    """Returns the smallest slice that holds all."""
    found = list(slices)
    return slice(min(one.start for one in found), max(one.stop for one in found))


def _within(hull: slice, part: slice) -> slice:
    """Returns where a part of a hull lies in it."""
    return slice(part.start - hull.start, part.stop - hull.start)


def _length(of: slice) -> int:
    return int(of.stop - of.start)
