"""Arithmetic and size of a network, counted and not timed.

Convention: one multiply-add is one MAC and two FLOPs. ``macs`` counts sums of products, which are convolutions,
linear layers and other matrix products, with torch's ``FlopCounterMode`` on the eager model, and formulas here for what
that does not know. Elementwise products, norms, softmax, pooling and interpolation are not counted. An operator that
sums products and has no formula is named (:attr:`Flops.uncounted`). fvcore's total stands beside it as a cross-check
and is 0.2 to 0.7 % higher on residual networks, because it also counts batch norm and adaptive pooling.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, bmm_flop, conv_flop_count, mm_flop, sdpa_flop_count
from torch.utils.module_tracker import ModuleTracker

from resbench.errors import in_one_line
from resbench.host_state import forked_generators

TOLERANCE = 0.01
"""Relative disagreement of the two counters from which it is reported."""


@dataclass(frozen=True)
class Flops:
    """FLOPs of one image."""

    forward: int | None
    """None if the pass cannot be counted."""
    training: int | None
    """Forward and backward; None if the passes cannot be counted."""
    uncounted: tuple[str, ...] = ()
    """Operators that sum products and have no formula: what they multiply is missing."""
    failure: str | None = None
    """Why something could not be counted, in one line."""
    operators: frozenset[str] = frozenset()
    """Those that were counted."""


@dataclass(frozen=True)
class Complexity:
    """What one image costs a network. What no counter can count is None."""

    params: int
    trainable_params: int
    macs: int | None
    """Forward pass, FlopCounterMode / 2."""
    forward_flops: int | None
    train_flops_per_image: int | None
    """Forward and backward; the first convolution needs no gradient of its input, so this is not 3 x forward."""
    macs_fvcore: int | None
    """fvcore's own total, ``None`` where it cannot trace the network."""
    activations: int | None
    """Output elements of convolutions and linear layers (fvcore)."""
    uncounted: tuple[str, ...] = ()
    """See :attr:`Flops.uncounted`."""
    missed_by_fvcore: tuple[str, ...] = ()
    """Operators of which ``macs`` has the products and fvcore has not."""
    failure: str | None = None
    """Why MACs or training FLOPs could not be counted."""

    @property
    def disagreement(self) -> str | None:
        """Says how far the two counters are apart where that is more than the tolerance."""
        if self.macs is None:
            return None
        if self.macs_fvcore is None:
            return "fvcore could not trace the network: no cross-check of its MACs"
        unknown = f"fvcore does not know {', '.join(self.missed_by_fvcore)}" if self.missed_by_fvcore else ""
        apart = self.macs_fvcore / self.macs - 1 if self.macs else 0.0
        if abs(apart) <= TOLERANCE:
            return unknown or None
        return f"fvcore counts {apart:+.1%} MACs" + (f": {unknown}" if unknown else "")

    @property
    def notes(self) -> list[str]:
        """What a reader of the counts must know."""
        failed = f"{'MACs' if self.macs is None else 'training FLOPs'} could not be counted ({self.failure})"
        return [
            *([failed] if self.failure else []),
            *(["no multiply-add that a counter knows: 0 MACs"] if self.macs == 0 else []),
            *([f"MACs leave out {', '.join(self.uncounted)}, which no counter knows"] if self.uncounted else []),
            *([self.disagreement] if self.disagreement else []),
        ]


def measure_complexity(
    build: Callable[[], nn.Module], input_shape: tuple[int, int, int], *, device: str = "cpu"
) -> Complexity:
    """Counts parameters, MACs, FLOPs and activations of a network.

    Args:
        build: Makes the network on torch's default device.
        input_shape: Channels, height, width of one image.
        device: Where a network is counted that runs neither on the meta device nor on the CPU.
    """
    flops = count_flops(build, input_shape, device=device)
    network = build()
    macs_fvcore, activations, missed = count_with_fvcore(network, input_shape)
    return Complexity(
        params=sum(parameter.numel() for parameter in network.parameters()),
        trainable_params=sum(p.numel() for p in network.parameters() if p.requires_grad),
        macs=None if flops.forward is None else flops.forward // 2,
        forward_flops=flops.forward,
        train_flops_per_image=flops.training,
        macs_fvcore=macs_fvcore,
        activations=activations,
        uncounted=flops.uncounted,
        missed_by_fvcore=missed,
        failure=flops.failure,
    )


def count_flops(
    build: Callable[[], nn.Module],
    input_shape: tuple[int, ...],
    *,
    passes: Sequence[str] = ("forward", "training"),
    device: str = "cpu",
) -> Flops:
    """Counts the FLOPs of one image on the meta device, where nothing is computed.

    A pass that needs numbers there (a builder that reads a tensor, a branch on one) is counted on the CPU instead, and
    on ``device`` if it does not run on the CPU. Generators of the host are left as they are.

    Args:
        build: Makes the network on torch's default device; what it returns is changed.
        input_shape: Channels, height, width of an image.
        passes: What is counted.
        device: The last one to try.

    Returns:
        The FLOPs; one that cannot be counted is None, with the reason. No exception of the network comes through.
    """
    counted: dict[str, _Counter] = {}
    failure: Exception | None = None
    for place in dict.fromkeys(("meta", "cpu", device)):
        with forked_generators(seed=0):  # what a branch does on numbers is the same each time
            try:
                with torch.device(place):
                    network = build()
                network.to(place)
            except Exception as error:  # networks can be written in as many ways as fail here
                failure = error
                continue
            for name in passes:
                if name not in counted:
                    try:
                        counted[name] = _count(network, input_shape, train=name == "training", device=place)
                    except Exception as error:
                        failure = error
        if len(counted) == len(passes):
            failure = None
            break
    forward, training = counted.get("forward"), counted.get("training")
    return Flops(
        forward=forward.get_total_flops() if forward else None,
        training=training.get_total_flops() // 2 if training else None,
        uncounted=tuple(dict.fromkeys(name for counter in counted.values() for name in counter.uncounted)),
        failure=in_one_line(failure) if failure else None,
        operators=frozenset(name for counter in counted.values() for name in counter.operators),
    )


def count_forward_flops(model: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Returns the FLOPs of one image's forward pass in eval mode.

    Args:
        model: On any device that it runs on; the meta device computes nothing.
        input_shape: Channels, height, width.
    """
    return _count(model, input_shape, train=False, device=_device_of(model)).get_total_flops()


def count_training_flops(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Returns the FLOPs of one image's forward and backward pass, for the parameters that are trained.

    Args:
        model: As for :func:`count_forward_flops`; a network, or the head of one. On a device that computes, gradients
            are left in it, and batch-norm statistics change.
        input_shape: Channels, height, width; of features, where the model is a head.
    """
    return _count(model, input_shape, train=True, device=_device_of(model)).get_total_flops() // 2


def _device_of(model: nn.Module) -> str:
    return str(next((parameter.device for parameter in model.parameters()), "cpu"))


def _count(model: nn.Module, input_shape: tuple[int, ...], *, train: bool, device: str) -> _Counter:
    """Counts a forward pass of one image in eval mode, or a forward and backward pass of two in train mode.

    Two, because batch norm in training mode refuses a single value a channel. What batch norm normalises by changes no
    count, so the mode is train mode whatever a recipe has frozen batch norm do.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1 + train, *input_shape, generator=generator, device="cpu").to(device)
    model.train(train)
    with _as_plain_products(), _Counter() as counter:
        logits = model(images)
        if train:
            counter.watch_outer_products(logits)
            logits.sum().backward()
    return counter


@contextmanager
def _as_plain_products() -> Iterator[None]:
    """Has attention computed by matrix products, which every device does and a counter sees, with gradients.

    What is fused for inference or for a processor has no formula.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Counter(FlopCounterMode):
    """Counts totals, with the formulas below, and notes the operators that have none and sum products."""

    def __init__(self) -> None:
        super().__init__(display=False, custom_mapping=_formulas())
        # The tracker of modules asks for the autograd node of every tensor that a module is given or returns. Without
        # gradients a view of a parameter has none, though it requires a gradient. Totals need no modules.
        self.mod_tracker = _NoModules()
        self.uncounted: dict[str, None] = {}

    @property
    def operators(self) -> set[str]:
        """Those that were counted."""
        return {str(operator) for operator in self.flop_counts["Global"]}

    def _count_flops(self, func_packet: Any, out: Any, args: Any, kwargs: Any) -> Any:
        if func_packet not in self.flop_registry and _sums_products(str(func_packet)):
            self.uncounted[_shown(str(func_packet))] = None
        return super()._count_flops(func_packet, out, args, kwargs)

    def watch_outer_products(self, logits: torch.Tensor) -> None:
        """Counts the gradients of vector products as they come: these are outer products, which run as ``mul``."""
        found, seen = [logits.grad_fn], set()
        while found:
            node = found.pop()
            if node is not None and node not in seen:
                seen.add(node)
                found += [behind for behind, _ in node.next_functions]
                if node.name() in _OUTER_PRODUCTS:
                    node.register_hook(partial(self._add_outer_products, _OUTER_PRODUCTS[node.name()]))

    def _add_outer_products(self, places: slice, gradients: Sequence[torch.Tensor | None], _: object) -> None:
        made = sum(gradient.numel() for gradient in gradients[places] if gradient is not None)
        self.flop_counts["Global"][torch.ops.aten.outer] += 2 * made


class _NoModules(ModuleTracker):
    """Follows no module."""

    def __enter__(self) -> ModuleTracker:
        return self

    def __exit__(self, *error: object) -> None: ...


_OUTER_PRODUCTS = {
    "MvBackward0": slice(0, 1),
    "AddmvBackward0": slice(1, 2),
    "DotBackward0": slice(0, 2),
    "VdotBackward0": slice(0, 2),
}
"""Autograd nodes, and which of the gradients that they return are products of their vectors, element by element."""

_TORCHS_OWN = {"aten", "prim", "prims", "profiler", "c10d", "c10d_functional", "_c10d_functional"}
_SUMMING = {
    *("mm", "addmm", "bmm", "matmul", "linear", "conv", "conv2d", "conv3d", "convolution", "tbc", "rnn", "attention"),
    *("encoder", "cdist", "pdist", "euclidean", "fft", "linalg", "cholesky", "geqrf", "orgqr", "ormqr", "triangular"),
}
_SUMMING_NOTHING = {"linalg_vector_norm", "linalg_cross", "_linalg_check_errors", "linalg__powsum"}
_POOLING = {"roi", "nms"}


def _sums_products(operator: str) -> bool:
    """Says whether an operator without a formula is one whose products are missing, by its name.

    Of torch's own those are known by a word of it; of others (custom ones, a library's) nothing is known, so each is
    one, but for torchvision's pooling.

    Args:
        operator: Such as ``aten._cdist_forward``.
    """
    library, _, name = operator.partition(".")
    words = set(name.split("_"))
    if library in _TORCHS_OWN:
        return bool(words & _SUMMING) and name not in _SUMMING_NOTHING
    return not words & _POOLING


def _shown(operator: str) -> str:
    """Returns an operator's name as users know it, the same for both passes: ``cdist``, ``torchvision::roi_align``."""
    library, _, name = operator.partition(".")
    plain = name.removesuffix("_forward").removesuffix("_backward").strip("_").replace("euclidean_dist", "cdist")
    return plain if library in _TORCHS_OWN else f"{library}::{plain}"


def _convolution_backward_flops(
    grad_output: Sequence[int],
    images: Sequence[int],
    weight: Sequence[int],
    bias: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
    **shapes: object,
) -> int:
    """Returns the FLOPs of a convolution's backward pass, from shapes.

    The gradients of images and of weights each have the multiply-adds of the forward pass: every product of a pixel
    and a weight there is one of either with an output's gradient here. torch's own count (2.11) leaves the groups out
    where it comes to the weights, which makes 40 times the forward FLOPs of a network of depthwise convolutions.
    """
    forward: int = conv_flop_count(list(images), list(weight), list(grad_output), transposed)
    return forward * (bool(output_mask[0]) + bool(output_mask[1]))


def _trilinear_flops(*arguments: Sequence[int], **more: object) -> int:
    """Returns two FLOPs for each product of three numbers that is summed, as in ``nn.Bilinear`` and its gradients."""
    shapes = []
    for shape, new in zip(arguments[:3], arguments[3:6], strict=True):
        expanded = list(shape)
        for place in sorted(new):
            expanded.insert(place, 1)
        shapes.append(expanded)
    return 2 * prod(map(max, *shapes))


def _recurrent_flops(inputs: Sequence[int], *weights: Any, **more: object) -> int:
    """Returns the FLOPs of one recurrent layer: both its matrices at every step of every sequence."""
    return 2 * prod(inputs[:-1]) * sum(prod(weight) for weight in weights[:2])


def _formulas() -> dict[Any, Callable[..., int]]:
    """Returns FLOPs by operator, from shapes, of those that torch does not know or counts otherwise."""
    aten = torch.ops.aten
    formulas: dict[Any, Callable[..., int]] = {
        aten.convolution_backward: _convolution_backward_flops,
        aten.mv: lambda matrix, vector, **_: 2 * prod(matrix),
        aten.dot: lambda left, right, **_: 2 * prod(left),
        aten.vdot: lambda left, right, **_: 2 * prod(left),
        aten.addmv: lambda added, matrix, vector, **_: 2 * prod(matrix),
        aten.addr: lambda added, left, right, **_: 2 * prod(left) * prod(right),
        aten.addbmm: lambda added, left, right, **_: bmm_flop(left, right),
        aten.baddbmm: lambda added, left, right, **_: bmm_flop(left, right),
        aten.addmm: lambda added, left, right, **_: mm_flop(left, right),
        aten._addmm_activation: lambda added, left, right, **_: mm_flop(left, right),
        aten._trilinear: _trilinear_flops,
        aten._scaled_dot_product_flash_attention_for_cpu: lambda *qkv, **_: sdpa_flop_count(*qkv[:3]),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda _, *qkv, **__: 2 * sdpa_flop_count(*qkv[:3]),
        aten.mkldnn_rnn_layer: _recurrent_flops,
        aten.mkldnn_rnn_layer_backward: lambda *shapes, **_: 2 * _recurrent_flops(*shapes),
    }
    for name in ("addmv", "addr", "addbmm", "baddbmm", "addmm"):
        formulas[getattr(aten, f"{name}_")] = formulas[getattr(aten, name)]
    if hasattr(torch.ops.torchvision, "deform_conv2d"):  # where torchvision is imported
        vision = torch.ops.torchvision
        # The convolution's own products; where it looks is interpolated, which is not counted.
        formulas[vision.deform_conv2d] = lambda images, weight, *_, out_shape, **__: conv_flop_count(
            images, weight, out_shape
        )
        formulas[vision._deform_conv2d_backward] = lambda gradient, images, weight, *_, **__: (
            2 * conv_flop_count(images, weight, gradient)
        )
    return formulas


_MISSED_BY_FVCORE = {
    *("mv", "dot", "vdot", "inner", "tensordot", "addmv", "addr", "addbmm", "baddbmm", "chain_matmul"),
    *("linalg_multi_dot", "bilinear", "scaled_dot_product_attention", "deform_conv2d"),
    *("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
}
"""What is counted here, as fvcore sees it, and fvcore has no formula for."""


def count_with_fvcore(
    model: nn.Module, input_shape: tuple[int, int, int]
) -> tuple[int | None, int | None, tuple[str, ...]]:
    """Returns fvcore's MACs and activations of one image, or ``None`` for both where it cannot trace the model.

    Args:
        model: On the CPU. Traced in eval mode: in train mode the tracing would change batch-norm statistics.
        input_shape: Channels, height, width.

    Returns:
        MACs, activations, and the operators that fvcore leaves out and :func:`count_flops` counts.
    """
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

    # fvcore warns of every operator that it counts as 0 (add, mul, max-pool): known, and said above.
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    images = torch.zeros(1, *input_shape)
    model.eval()
    try:
        flops = FlopCountAnalysis(model, images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        activations = (
            ActivationCountAnalysis(model, images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        )
        macs = int(flops.total())
        missed = {operator.rpartition("::")[2] for operator in flops.unsupported_ops()} & _MISSED_BY_FVCORE
        return macs, int(activations.total()), tuple(sorted(missed))
    except Exception:  # tracing fails in as many ways as networks can be written
        return None, None, ()
