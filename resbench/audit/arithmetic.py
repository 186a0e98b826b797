"""Checks of what a network computes with: counted arithmetic, another layout in memory, another precision."""

from __future__ import annotations

from dataclasses import replace

import torch

from resbench.audit.case import Case, eval_logits
from resbench.audit.findings import Outcome, failed, passed, warned
from resbench.audit.modes import SAME
from resbench.audit.places import describe
from resbench.audit.words import apart, far, names
from resbench.measure.flops import TOLERANCE, count_flops, measure_complexity
from resbench.registry import without_memory
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
    """The network's multiply-adds can be counted, none are known to be missing, and two counters agree on them.

    It runs on the meta device, where nothing is computed, unless it reads numbers: no tensor stays on the processor.
    """
    with torch.random.fork_rng(devices=[]):
        complexity = measure_complexity(case.subject.build, case.shape, device=case.subject.engine.device)
    counted = f"{complexity.macs:,} MACs an image" if complexity.macs else ""
    stays = _what_stays(case)
    said = "; ".join(filter(None, (counted, *complexity.notes, stays)))
    if not complexity.macs or complexity.failure or complexity.uncounted or complexity.missed_by_fvcore or stays:
        return warned(said)
    if complexity.disagreement is None:
        return passed(said)
    if complexity.macs_fvcore is None:
        return warned(said)
    agree, why = _explained(case, complexity.macs)
    return passed(f"{said}{why}") if agree else warned(f"{said}{why}")


def _what_stays(case: Case) -> str:
    """Says where a network mixes its tensors with one on the processor; empty if it does not."""
    try:
        with torch.device("meta"):
            network = case.build().eval()
        network(case.images(1).to("meta"))
    except Exception as error:
        if "same device" in str(error) or "expected device" in str(error):
            return f"a tensor stays on the processor, so it runs on no other device: {describe(error)}"
    return ""


def _explained(case: Case, macs: int) -> tuple[bool, str]:
    """Returns whether the counters agree on the operators that both count, and in words why their totals differ."""
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(case.build().eval(), case.images(1))
    analysis = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = analysis.by_operator()
    alone = [operator for operator, number in by_operator.items() if number and operator in _FVCORE_ALONE]
    shared = sum(number for operator, number in by_operator.items() if operator not in _FVCORE_ALONE)
    if abs(shared / macs - 1) <= TOLERANCE:
        return True, f", all of it in {names(alone)}"
    return False, f", and {shared / macs - 1:+.1%} in convolutions and linear layers"


def backward_flops(case: Case) -> Outcome:
    """Training takes between 2 and 3 times the FLOPs of the forward pass, less where something is frozen."""
    flops = count_flops(case.build, case.shape, device=case.subject.engine.device)
    if flops.failure:
        return warned(f"FLOPs could not be counted ({flops.failure})")
    if not flops.forward:
        return warned("no FLOPs that a counter knows")
    ratio = (flops.training or 0) / flops.forward
    whole = all(parameter.requires_grad for parameter in without_memory(case.build).parameters())
    least, most = PLAUSIBLE if whole else (1.0, PLAUSIBLE[1])
    most += "aten._trilinear" in flops.operators  # a product of three numbers has three gradients
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
