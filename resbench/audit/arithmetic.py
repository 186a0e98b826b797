"""Checks of what a network computes with: counted arithmetic, another layout in memory, another precision."""

from __future__ import annotations

from dataclasses import replace

import torch

from resbench.audit.case import Case, eval_logits
from resbench.audit.findings import Outcome, failed, passed, warned
from resbench.audit.modes import SAME
from resbench.audit.words import apart, far, names
from resbench.measure.flops import TOLERANCE, count_forward_flops, count_training_flops, measure_complexity
from resbench.training.forward import forward_pass

PLAUSIBLE = (2.0, 3.05)
"""Training over forward FLOPs of a network that is trained whole: backward twice forward, but for the first layer."""
_FVCORE_ALONE = (
    "adaptive_avg_pool2d",
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "upsample_bilinear2d",
)
"""What fvcore counts and FlopCounterMode does not."""
NEAR_BF16 = 0.15
"""Relative distance (L2) of bf16 logits from fp32 ones, up to which rounding of 8 bits explains it."""


def flops(case: Case) -> Outcome:
    """The network can be counted on the meta device, and two counters agree on its multiply-adds."""
    with torch.random.fork_rng(devices=[]):
        complexity = measure_complexity(case.subject.build, case.shape)
    if not complexity.macs:
        return warned("no multiply-adds of convolutions or linear layers are counted")
    counted = f"{complexity.macs:,} MACs an image"
    if complexity.disagreement is None:
        return passed(counted)
    if complexity.macs_fvcore is None:
        return warned(f"{counted}; {complexity.disagreement}")
    agree, why = _explained(case, complexity.macs)
    said = f"{counted}; {complexity.disagreement}{why}"
    return passed(said) if agree else warned(said)


def _explained(case: Case, macs: int) -> tuple[bool, str]:
    """Returns whether the counters agree on the operators that both count, and in words why their totals differ."""
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(case.build().eval(), case.images(1))
    analysis = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = analysis.by_operator()
    alone = [operator for operator, number in by_operator.items() if number and operator in _FVCORE_ALONE]
    shared = sum(number for operator, number in by_operator.items() if operator not in _FVCORE_ALONE)
    missed = [operator.removeprefix("aten::") for operator in analysis.unsupported_ops() if "attention" in operator]
    if missed:
        return False, f", for it does not know {names(missed)}"
    if abs(shared / macs - 1) <= TOLERANCE:
        return True, f", all of it in {names(alone)}"
    return False, f", and {shared / macs - 1:+.1%} in convolutions and linear layers"


def backward_flops(case: Case) -> Outcome:
    """Training takes between 2 and 3 times the FLOPs of the forward pass, less where something is frozen."""
    with torch.device("meta"):
        network = case.build()
    whole = all(parameter.requires_grad for parameter in network.parameters())
    forward = count_forward_flops(network, case.shape)
    if not forward:
        return warned("no FLOPs of convolutions or linear layers are counted")
    ratio = count_training_flops(network, case.shape) / forward
    least, most = PLAUSIBLE if whole else (1.0, PLAUSIBLE[1])
    said = f"training takes {ratio:.2f} times the FLOPs of the forward pass"
    return (
        passed(said) if least <= ratio <= most else warned(f"{said}: between {least:g} and {most:g} are to be expected")
    )


def channels_last(case: Case) -> Outcome:
    """In the channels_last layout the logits are the same but for rounding."""
    network, images = case.build(), case.images()
    plain = eval_logits(network, images)
    turned = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    difference = apart(eval_logits(turned, images.contiguous(memory_format=torch.channels_last)), plain)
    if difference > SAME:
        return failed(f"channels_last changes the logits by {difference:.1g} of the largest")
    return passed()


def bf16(case: Case) -> Outcome:
    """Under bf16 autocast the logits are finite and near those of fp32."""
    network, images = case.build(), case.images()
    plain = eval_logits(network, images)
    with torch.no_grad():
        rounded = forward_pass(network, images, replace(case.subject.engine, precision="bf16"))
    if not rounded.isfinite().all():
        return failed(f"{int((~rounded.isfinite()).sum())} of {rounded.numel()} logits are not finite in bf16")
    distance = far(rounded, plain)
    said = f"{distance:.1%} from fp32's"
    return passed(said) if distance <= NEAR_BF16 else warned(f"the logits are {said}: train it in fp32 and compare")
