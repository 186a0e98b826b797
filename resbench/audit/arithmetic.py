"""Checks of what a network computes with: counted arithmetic, another layout in memory, another precision."""

from __future__ import annotations

from dataclasses import replace

import torch

from resbench.audit.case import Case, eval_logits
from resbench.audit.findings import Outcome, failed, passed, warned
from resbench.audit.modes import SAME
from resbench.audit.words import apart, far
from resbench.measure.flops import count_forward_flops, count_training_flops, measure_complexity
from resbench.training.forward import forward_pass

PLAUSIBLE = (2.0, 3.05)
"""Training over forward FLOPs of a network that is trained whole: backward twice forward, but for the first layer."""
NEAR_BF16 = 0.15
"""Relative distance (L2) of bf16 logits from fp32 ones, up to which rounding of 8 bits explains it."""


def flops(case: Case) -> Outcome:
    """The network can be counted on the meta device, and two counters agree on its multiply-adds."""
    with torch.random.fork_rng(devices=[]):
        complexity = measure_complexity(case.subject.build, case.shape)
    if not complexity.macs:
        return warned("no multiply-adds of convolutions or linear layers are counted")
    disagreement = complexity.disagreement
    counted = f"{complexity.macs:,} MACs an image"
    return warned(f"{counted}; {disagreement}") if disagreement else passed(counted)


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
