"""Arithmetic and size of a network, counted and not timed.

Convention: one multiply-add is one MAC and two FLOPs. ``macs`` counts convolutions and linear layers only, with
torch's ``FlopCounterMode`` on the eager model; fvcore's total stands beside it as a cross-check and is 0.2 to
0.7 % higher on residual networks, because it also counts batch norm and adaptive pooling.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

TOLERANCE = 0.01
"""Relative disagreement of the two counters from which it is reported."""


@dataclass(frozen=True)
class Complexity:
    """What one image costs a network."""

    params: int
    trainable_params: int
    macs: int
    """Forward pass, FlopCounterMode / 2."""
    forward_flops: int
    train_flops_per_image: int
    """Forward and backward; the first convolution needs no gradient of its input, so this is not 3 x forward."""
    macs_fvcore: int | None
    """fvcore's own total, ``None`` where it cannot trace the network."""
    activations: int | None
    """Output elements of convolutions and linear layers (fvcore)."""

    @property
    def disagreement(self) -> str | None:
        """Says how far the two counters are apart where that is more than the tolerance."""
        if self.macs_fvcore is None:
            return "fvcore could not trace the network: no cross-check of its MACs"
        apart = self.macs_fvcore / self.macs - 1
        return f"fvcore counts {apart:+.1%} MACs" if abs(apart) > TOLERANCE else None


def measure_complexity(build: Callable[[], nn.Module], input_shape: tuple[int, int, int]) -> Complexity:
    """Counts parameters, MACs, FLOPs and activations of a network.

    Args:
        build: Makes the network; called on the meta device (nothing is computed there) and on the CPU.
        input_shape: Channels, height, width of one image.
    """
    with torch.device("meta"):
        skeleton = build()
    forward = count_forward_flops(skeleton, input_shape)
    macs_fvcore, activations = count_with_fvcore(build(), input_shape)
    return Complexity(
        params=sum(parameter.numel() for parameter in skeleton.parameters()),
        trainable_params=sum(p.numel() for p in skeleton.parameters() if p.requires_grad),
        macs=forward // 2,
        forward_flops=forward,
        train_flops_per_image=count_training_flops(skeleton, input_shape),
        macs_fvcore=macs_fvcore,
        activations=activations,
    )


def count_forward_flops(model: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Returns the FLOPs of one image's forward pass.

    Args:
        model: On the meta device.
        input_shape: Channels, height, width.
    """
    images = torch.empty(1, *input_shape, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(images)
    return counter.get_total_flops()


def count_training_flops(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Returns the FLOPs of one image's forward and backward pass, for the parameters that are trained.

    Two images are counted and halved: batch norm in training mode refuses a single value a channel. What batch norm
    normalises by changes no count, so the mode is train mode whatever a recipe has frozen batch norm do.

    Args:
        model: On the meta device; a network, or the head of one.
        input_shape: Channels, height, width; of features, where the model is a head.
    """
    images = torch.empty(2, *input_shape, device="meta")
    with FlopCounterMode(display=False, custom_mapping=_CONVOLUTION_BACKWARD) as counter:
        logits = model.train()(images)
        logits.sum().backward()
    return counter.get_total_flops() // 2


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


_CONVOLUTION_BACKWARD = {torch.ops.aten.convolution_backward: _convolution_backward_flops}


def count_with_fvcore(model: nn.Module, input_shape: tuple[int, int, int]) -> tuple[int | None, int | None]:
    """Returns fvcore's MACs and activations of one image, or ``None`` for both where it cannot trace the model.

    Args:
        model: On the CPU. Traced in eval mode: in train mode the tracing would change batch-norm statistics.
        input_shape: Channels, height, width.
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
        return int(flops.total()), int(activations.total())
    except Exception:  # tracing fails in as many ways as networks can be written
        return None, None
