"""Checks of counters, layouts and precisions."""

from __future__ import annotations

import torch

from resbench.audit.findings import Outcome, failed, passed, warned
from resbench.audit.specimen import Specimen, apart, logits_of
from resbench.measure.flops import measure_complexity

_NEAR, _NEAR_IN_BF16 = 1e-3, 1.0
"""Relative differences of logits: of sums in another order in fp32, and of eight bits of precision through a network
that has learned nothing. There rounding grows from layer to layer: half of the largest logit in a ResNet-50."""
_LEAST_RATIO, _MOST_RATIO = 1.5, 3.5
"""Training FLOPs over forward ones: 3, less what the first layer's input needs not."""


def flops(specimen: Specimen) -> Outcome:
    """Two counters of FLOPs agree, and a training step costs about three forward passes."""
    complexity = measure_complexity(specimen.subject.build, specimen.input)
    if not complexity.macs:
        return failed("no multiply-add is counted: no convolution and no matrix product runs")
    ratio = complexity.train_flops_per_image / complexity.forward_flops
    words = f"{complexity.macs / 1e6:,.4g} M MACs, training {ratio:.2f} times the forward FLOPs"
    if complexity.disagreement:
        return warned(f"{complexity.disagreement}; {words}")
    whole = complexity.trainable_params == complexity.params
    if whole and not _LEAST_RATIO <= ratio <= _MOST_RATIO:
        return warned(f"{words}: about 3 is usual where everything is trained")
    return passed(words)


def channels_last(specimen: Specimen) -> Outcome:
    """The memory format that training uses changes nothing but rounding."""
    model, images = specimen.settled(), specimen.images()
    plain = logits_of(model, images)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    difference = apart(plain, logits_of(model, images.contiguous(memory_format=torch.channels_last)))
    if difference > _NEAR:
        return failed(f"the logits differ by {difference:.1e} of the largest")
    return passed()


def bf16(specimen: Specimen) -> Outcome:
    """Under bf16 autocast the logits are finite and of the size that they have in fp32."""
    model, images = specimen.settled(), specimen.images()
    plain = logits_of(model, images)
    with torch.autocast(specimen.device.type, dtype=torch.bfloat16):
        rounded = logits_of(model, images)
    if not torch.isfinite(rounded).all():
        return failed("logits that are not finite: train with --precision fp32")
    difference = apart(plain, rounded)
    if difference > _NEAR_IN_BF16:
        return warned(f"the logits differ by {difference:.0%} of the largest")
    return passed(f"within {difference:.0%} of the largest, untrained")
