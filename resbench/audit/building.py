"""Checks of a builder: what it makes, and whether it does as its keywords say."""

from __future__ import annotations

import torch

from resbench.audit.case import Case, eval_logits
from resbench.audit.findings import Outcome, failed, passed, skipped, warned
from resbench.audit.places import describe
from resbench.audit.words import names, size
from resbench.errors import InputError
from resbench.libraries import split_name
from resbench.schema import format_input


def builds(case: Case) -> Outcome:
    """The builder returns a torch.nn.Module that has parameters."""
    network = case.build()
    params = sum(parameter.numel() for parameter in network.parameters())
    if not params:
        return failed("the network has no parameters: there is nothing to train")
    return passed(f"{type(network).__name__} of {params:,} parameters")


def weights(case: Case) -> Outcome:
    """The initial weights are finite float32 numbers."""
    state = {**dict(case.build().named_parameters()), **dict(case.build().named_buffers())}
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        return failed(f"not finite: {names(broken)}")
    other = [f"{name} ({value.dtype})" for name, value in state.items() if _is_other_float(value)]
    return warned(f"not float32: {names(other)}") if other else passed()


def _is_other_float(value: torch.Tensor) -> bool:
    return (value.is_floating_point() or value.is_complex()) and value.dtype != torch.float32


def other_classes(case: Case) -> Outcome:
    """Another number of classes gives logits of another width."""
    wanted = case.classes + 3
    logits = eval_logits(case.build(num_classes=wanted), case.images(2))
    if logits.shape[-1] != wanted:
        return failed(f"asked for {wanted} classes it gives logits {size(logits)}: the builder ignores num_classes")
    return passed()


def channels(case: Case) -> Outcome:
    """Images of one channel and of three are taken."""
    broken = []
    for count in (1, 3):
        try:
            eval_logits(case.build(in_channels=count), case.images(2, shape=(count, *case.shape[1:])))
        except Exception as error:
            broken.append(f"{count} channel{'s' * (count > 1)}: {describe(error)}")
    return failed("; ".join(broken)) if broken else passed()


def stems(case: Case) -> Outcome:
    """The network can be built with every stem that its entry names, and takes images then."""
    try:
        found = {stem: eval_logits(case.build(stem=stem), case.images(2)) for stem in case.entry.stems}
    except InputError as error:
        if not split_name(case.entry.name)[0]:
            raise
        return skipped(str(error))  # a library's network never said that it has both: it is refused where it has not
    if len(found) < 2:
        return skipped(f"it comes with the {case.entry.stems[0]} stem only")
    one, other = found.values()
    if one.shape == other.shape and torch.equal(one, other):
        return passed("both stems are the same network")
    return passed()


def other_size(case: Case) -> Outcome:
    """Images of another size are taken."""
    channel_count, height, width = case.shape
    shape = (channel_count, height + _half(height), width + _half(width))
    try:
        eval_logits(case.build(input_size=shape[1:]), case.images(2, shape=shape))
    except (InputError, RuntimeError, ValueError, AssertionError) as error:
        return warned(f"it takes no images of {format_input(shape)}: {describe(error)}")
    return passed(f"{format_input(shape)} too")


def _half(side: int) -> int:
    """Returns about half of a side, in eights of pixels as networks that downsample like them."""
    return max(8, side // 16 * 8)
