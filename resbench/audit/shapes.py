"""Checks of what goes in and what comes out."""

from __future__ import annotations

import torch

from resbench.audit.findings import Outcome, failed, listed, passed, skipped, warned
from resbench.audit.specimen import Specimen, logits_of
from resbench.errors import InputError
from resbench.measure.flops import count_forward_flops
from resbench.registry import STEMS, check_stem


def logits(specimen: Specimen) -> Outcome:
    """One finite float for each image and class, for one image, two, and a batch."""
    model = specimen.settled()
    for count in dict.fromkeys((1, 2, specimen.batch_size)):
        fault = _fault(logits_of(model, specimen.images(count)), count, specimen.num_classes)
        if fault:
            return failed(f"for {count} images: {fault}")
    return passed(f"(N, {specimen.num_classes}) float32")


def _fault(given: object, count: int, num_classes: int) -> str | None:
    """Says what is wrong with logits."""
    if not isinstance(given, torch.Tensor):
        return f"{type(given).__name__}, and a tensor is wanted"
    wanted = (count, num_classes)
    if tuple(given.shape) != wanted:
        return f"shape {tuple(given.shape)}, and {wanted} is wanted"
    if not given.is_floating_point():
        return f"{given.dtype}, and a float is wanted"
    if not torch.isfinite(given).all():
        return "values that are not finite"
    return None


def one_image_in_training(specimen: Specimen) -> Outcome:
    """A batch of one image can be trained on."""
    try:
        specimen.build().train()(specimen.images(1))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        return warned("batch norm refuses a batch of one image at this input size: train with two or more")
    return passed()


def other_classes(specimen: Specimen) -> Outcome:
    """The width of the logits follows the number of classes."""
    number = specimen.num_classes + 7
    given = logits_of(specimen.changed(num_classes=number).build(), specimen.images())
    fault = _fault(given, specimen.batch_size, number)
    return failed(f"with {number} classes: {fault}") if fault else passed()


def other_channels(specimen: Specimen) -> Outcome:
    """Images of one channel and of three are taken."""
    channels = 1 if specimen.input[0] == 3 else 3
    other = specimen.changed(input=(channels, *specimen.input[1:]))
    fault = _fault(logits_of(other.build(), other.images()), specimen.batch_size, specimen.num_classes)
    return failed(f"with {channels} channels: {fault}") if fault else passed()


def other_stem(specimen: Specimen) -> Outcome:
    """The other stem works too, where the network has one."""
    (stem,) = (name for name in STEMS if name != specimen.stem)
    try:
        check_stem(specimen.entry, stem)
    except InputError as error:
        return skipped(str(error))
    other = specimen.changed(stem=stem)
    fault = _fault(logits_of(other.settled(), other.images()), specimen.batch_size, specimen.num_classes)
    if fault:
        return failed(f"with the stem {stem}: {fault}")
    return passed(f"{stem}; the same network" if _macs(specimen) == _macs(other) else stem)


def _macs(specimen: Specimen) -> int:
    """Returns the multiply-adds of one image."""
    with torch.device("meta"):
        model = specimen.subject.build()
    return count_forward_flops(model, specimen.input) // 2


def other_sizes(specimen: Specimen) -> Outcome:
    """Images of other sizes are taken: half as large, twice as large, not square."""
    channels, height, width = specimen.input
    refused = []
    for size in ((height // 2, width // 2), (height * 2, width * 2), (height, width + 8)):
        other = specimen.changed(input=(channels, *size), batch_size=2)
        try:
            fault = _fault(logits_of(other.build(), other.images()), 2, specimen.num_classes)
        except Exception as error:  # torch's own words differ with the layer that refuses
            fault = str(error).partition("\n")[0]
        if fault:
            refused.append(f"{size[0]}x{size[1]} ({fault[:60]})")
    return warned(f"not with {listed(refused)}") if refused else passed()
