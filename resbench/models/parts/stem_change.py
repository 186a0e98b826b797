"""The CIFAR stem for networks of libraries: their own stem is recognised by its structure, and changed in place.

A stem that is recognised begins with a square convolution on the image, of stride 2 and with a kernel that overlaps (3,
5 or 7 pixels). A few more convolutions of stride 1 may follow, and then a pool that halves height and width once
more. Changed, the first convolution is 3x3 with stride 1 and the pool is gone, so that the network's blocks see maps
as large as the image (He et al., 2015, arXiv 1512.03385, section 4.2); all else stays the library's.

Width, bias and padding mode stay. A larger kernel is cut down to the middle 3x3 that the library's own initialisation
drew, times K / 3: that is a draw of the same distribution where its spread goes with the fan (Kaiming, Xavier,
PyTorch's own), and keeps the spread of the outputs for any other; where the library standardises weights as they are
used, their scale has no effect. A 3x3 kernel stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from resbench.errors import in_one_line
from resbench.models.parts.calls import Call, follow, has_branches

KERNEL = 3
"""Pixels a side of the CIFAR stem's kernel."""
OVERLAPPING = (3, 5, 7)
"""Kernels of stride 2 that are changed."""
MORE_CONVOLUTIONS = 3
"""Convolutions that a deep stem may have behind its first; those of blocks stand in more modules than it does."""


class StemError(Exception):
    """A network's stem is none that can be changed; the message says why, as an end of a sentence."""


@dataclass(frozen=True)
class Stem:
    """What is changed of a network, by its modules' names."""

    convolution: str
    removed: tuple[str, ...]
    """The pool, and what only prepares for it: padding, a max-pool of stride 1 that a blur follows."""


def find_stem(network: nn.Module, image: Sequence[int]) -> Stem:
    """Recognises a network's stem, and makes sure that the network works with it changed.

    Args:
        network: On any device, and good for nothing else afterwards: its stem is changed.
        image: Channels, height and width of images that it takes.

    Raises:
        StemError: There is none that can be changed.
    """
    network.eval()
    try:
        calls = follow(network, image)
    except Exception as error:  # whatever a library's code may raise
        raise StemError(f"it cannot be followed on images of {_size(image)} ({in_one_line(error)})") from error
    stem = _recognise(calls, image)
    change_stem(network, stem)
    try:
        after = follow(network, image)
    except Exception as error:
        raise StemError(f"its later layers do not take the larger maps ({in_one_line(error)})") from error
    changed = next(call for call in after if call.name == stem.convolution)
    if tuple(getattr(changed.given, "shape", ())[2:]) != tuple(image[1:]):
        raise StemError(f"its first convolution ({stem.convolution}) pads in a way of its own")
    return stem


def change_stem(network: nn.Module, stem: Stem) -> None:
    """Makes a network begin with a 3x3 stride-1 convolution and no pool, see the module's docstring."""
    convolution = network.get_submodule(stem.convolution)
    assert isinstance(convolution, nn.Conv2d)  # what find_stem found
    _shrink(convolution)
    for name in stem.removed:
        network.set_submodule(name, nn.Identity())


def redraw_inputs(convolution: nn.Conv2d, in_channels: int) -> None:
    """Makes a convolution take another number of channels; its weights are drawn from those it has, with repeats."""
    weight = convolution.weight
    shape = (weight.shape[0], in_channels, *weight.shape[2:])
    place = torch.randint(weight.numel(), shape, device=weight.device)
    convolution.weight = nn.Parameter(weight.detach().flatten()[place])
    convolution.in_channels = in_channels


def _shrink(convolution: nn.Conv2d) -> None:
    """Makes a convolution 3x3 with stride 1."""
    side = convolution.kernel_size[0]
    cut = (side - KERNEL) // 2
    if cut:
        middle = convolution.weight.detach()[:, :, cut:-cut, cut:-cut] * (side / KERNEL)
        convolution.weight = nn.Parameter(middle.clone())
        # timm's scaled weight standardisation divides by the root of the fan-in, which it keeps as a number.
        if isinstance(getattr(convolution, "scale", None), float):
            convolution.scale = convolution.scale * (side / KERNEL)  # type: ignore[operator, assignment]
    convolution.kernel_size = (KERNEL, KERNEL)
    convolution.stride = (1, 1)
    # timm's StdConv2dSame pads the image itself, as its own kernel and stride want it.
    own = KERNEL // 2 if not getattr(convolution, "same_pad", False) else 0
    convolution.padding = (own, own)


def _recognise(calls: list[Call], image: Sequence[int]) -> Stem:
    """Finds the stem among a network's calls.

    Raises:
        StemError: It is none that can be changed.
    """
    steps = [call for call in calls if call.is_step]
    first = next((call for call in steps if call.has_parameters or not call.keeps_shape), None)
    if first is None or not isinstance(first.module, nn.Conv2d) or tuple(first.taken.shape[1:]) != tuple(image):
        raise StemError("it does not begin with a convolution on the image")
    _check_convolution(first, calls)
    convolutions, start, before = 0, None, first
    waiting: list[str] = []
    for call in steps[steps.index(first) + 1 :]:
        if _is_single(call.taken):
            break  # a mean over everything, as in a gate
        if _is_smaller(call.taken, before.given):
            raise StemError(f"it makes its maps smaller in a way that is no layer, before {call.name}")
        before = call
        if isinstance(call.module, nn.Conv2d):
            waiting, start = [], None
            convolutions += 1
            if call.depth != first.depth or convolutions > MORE_CONVOLUTIONS or has_branches(call, calls):
                break  # the first block
            if call.module.stride != (1, 1):
                raise StemError(f"two convolutions of its stem have a stride ({first.name} and {call.name})")
        elif not call.keeps_channels or (call.has_parameters and not call.keeps_shape):
            break
        elif isinstance(call.module, nn.MaxPool2d) or not call.keeps_shape:
            start = start or call
            waiting.append(call.name)
            if _halves(start, call):
                return Stem(first.name, () if has_branches(start, calls) else tuple(waiting))
            if _is_smaller(call.given, start.taken):
                break
    return Stem(first.name, ())


def _check_convolution(first: Call, calls: list[Call]) -> None:
    """Checks that the first convolution is one that can be changed.

    Raises:
        StemError: It is not.
    """
    convolution = first.module
    assert isinstance(convolution, nn.Conv2d)
    (height, width), (down, across) = convolution.kernel_size, convolution.stride
    what = f"its first convolution ({first.name}) is {height}x{width} with stride {down}"
    if (down, across) == (1, 1):
        raise StemError(f"it begins at the image's full size already: {what}")
    if (height, width) == (down, across):
        raise StemError(f"it cuts the image into patches: {what}")
    if height != width or (down, across) != (2, 2) or height not in OVERLAPPING:
        raise StemError(f"{what}, and only 3x3, 5x5 and 7x7 with stride 2 are known how to change")
    if convolution.dilation != (1, 1) or convolution.groups != 1 or convolution.padding_mode != "zeros":
        raise StemError(f"its first convolution ({first.name}) is dilated, grouped, or does not pad with zeros")
    if has_branches(first, calls):
        raise StemError("more than one of its layers take the image")


def _halves(start: Call, end: Call) -> bool:
    """Says whether what goes into ``start`` comes out of ``end`` at half its height and width, to a pixel or two."""
    before, after = start.taken.shape[2:], end.given.shape[2:]  # type: ignore[attr-defined]
    return len(before) == 2 and all(abs(2 * out - into) <= KERNEL for into, out in zip(before, after, strict=True))


def _is_single(maps: torch.Tensor) -> bool:
    """Says whether there is one pixel only."""
    return maps.shape[2:].numel() == 1


def _is_smaller(maps: object, before: object) -> bool:
    """Says whether maps have fewer pixels than others before them."""
    both = isinstance(maps, torch.Tensor) and isinstance(before, torch.Tensor) and maps.dim() == before.dim()
    return both and maps.shape[2:].numel() < before.shape[2:].numel()  # type: ignore[attr-defined]


def _size(image: Sequence[int]) -> str:
    return "x".join(map(str, image))
