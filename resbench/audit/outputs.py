"""Checks of what the forward pass gives."""

from __future__ import annotations

import torch

from resbench.audit.case import Case, eval_logits, plain_step, train_logits
from resbench.audit.findings import Outcome, failed, passed, warned
from resbench.audit.places import describe
from resbench.audit.words import size

ALIKE = 1e-5
"""Relative spread of the logits over different images up to which they are the same."""


def logits(case: Case) -> Outcome:
    """In eval mode the output is finite float logits (N, classes) for one image, two and a batch."""
    network = case.build()
    faults = [_fault(case, eval_logits(network, case.images(count)), count) for count in _counts(case)]
    return failed("; ".join(filter(None, faults))) if any(faults) else passed()


def train_output(case: Case) -> Outcome:
    """In training mode the output is finite float logits (N, classes) too, and they carry a gradient."""
    network = case.build()
    if not any(parameter.requires_grad for parameter in network.parameters()):
        return failed("no parameter requires a gradient: there is nothing to train")
    outputs = {count: train_logits(network, case.images(count)) for count in _counts(case) if count > 1}
    faults = [_fault(case, output, count) for count, output in outputs.items()]
    if any(faults):
        return failed("; ".join(filter(None, faults)))
    if not all(output.requires_grad for output in outputs.values()):
        return failed("the logits carry no gradient: the forward pass detaches them, or runs under no_grad")
    return passed()


def _counts(case: Case) -> list[int]:
    """Returns the batch sizes that are tried, each once."""
    return sorted({1, 2, case.batch_size})


def _fault(case: Case, output: object, count: int) -> str:
    """Says what is wrong with the output for a number of images; nothing where it is right."""
    of = f"for {count} image{'s' * (count > 1)}"
    if not isinstance(output, torch.Tensor):
        return f"{of} the output is a {type(output).__name__}, not a tensor"
    if output.shape != (count, case.classes):
        return f"{of} the output is {size(output)}, not {size((count, case.classes))}"
    if not output.is_floating_point():
        return f"{of} the output is {output.dtype}, not floating-point"
    if not output.isfinite().all():
        return f"{of} {int((~output.isfinite()).sum())} of {output.numel()} logits are not finite"
    return ""


def batch_of_one(case: Case) -> Outcome:
    """Training mode takes a batch of one image. It is no fault where not: no batch of one is trained on here."""
    try:
        train_logits(case.build(), case.images(1))
    except Exception as error:
        if "more than 1 value per channel" not in str(error):
            return warned(f"training mode does not take one image: {describe(error)}")
        return warned(
            "training mode does not take one image: batch norm over maps of 1x1 has one value a channel then. Training "
            "leaves an epoch's last, smaller batch out, so give a batch size of 2 or more"
        )
    return passed()


def input_untouched(case: Case) -> Outcome:
    """The forward pass leaves the images as they were, in either mode: batches are read again."""
    network, images = case.build(), case.images()
    before = images.clone()
    for mode, forward in (("eval", eval_logits), ("training", train_logits)):
        forward(network, images)
        if not torch.equal(images, before):
            return failed(f"the forward pass in {mode} mode changes its images in place")
    return passed()


def tells_apart(case: Case) -> Outcome:
    """Different images give different logits, after a step of training at the latest: a head may start at 0."""
    network, images = case.build(), case.images()
    plain_step(network, images, case.labels())
    found = train_logits(network, images).detach().double()
    spread = float((found.amax(0) - found.amin(0)).max())
    largest = float(found.abs().max())
    if spread <= ALIKE * largest:
        return failed(
            f"all images give the same logits: they differ by {spread:.1g} where the largest is {largest:.1g}"
        )
    return passed()
