"""Checks of training mode and evaluation mode: that they differ where they should, and nowhere else."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from resbench.audit.findings import Outcome, failed, listed, passed, warned
from resbench.audit.specimen import Specimen, apart, deterministic, logits_of

_NEAR = 1e-3
"""Relative difference of logits that sums in another order explain in fp32."""


def evaluation(specimen: Specimen) -> Outcome:
    """Evaluation gives the same bits twice and changes nothing."""
    model, images = specimen.settled(), specimen.images()
    before, given = _state(model), images.clone()
    with deterministic():
        first, second = logits_of(model, images), logits_of(model, images)
    if not torch.equal(images, given):
        return failed("the images are written to: a batch that is used again is another one")
    changed = _changes(before, model)
    if changed:
        return failed(f"evaluation changes {listed(changed)}")
    if not torch.equal(first, second):
        return failed(f"two evaluations of the same images differ, by {apart(first, second):.1e} of the largest logit")
    return passed()


def neighbours(specimen: Specimen) -> Outcome:
    """An image's logits in evaluation do not depend on the batch that it is in."""
    model, images = specimen.settled(), specimen.images()
    together = logits_of(model, images)
    alone = torch.cat([logits_of(model, image[None]) for image in images])
    difference = apart(together, alone)
    if difference > _NEAR:
        return failed(f"alone and in a batch they differ by {difference:.1e} of the largest logit")
    return passed()


def training(specimen: Specimen) -> Outcome:
    """A forward pass in training mode changes running statistics, and nothing else."""
    model = specimen.build()
    before = _state(model)
    norms = {name for name, layer in model.named_modules() if isinstance(layer, _NormBase)}
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    with torch.no_grad():
        model.train()(specimen.images())
    changed = _changes(before, model)
    written = [name for name in changed if name in parameters]
    if written:
        return failed(f"parameters change without an optimizer: {listed(written)}")
    others = [name for name in changed if name.rpartition(".")[0] not in norms]
    return warned(f"buffers that are not batch norm's change: {listed(others)}") if others else passed()


def hidden_state(specimen: Specimen) -> Outcome:
    """All that a training step leaves is in the state dict: a checkpoint holds it."""
    model, images = specimen.settled(), specimen.images()
    before = _state(model)
    with deterministic():
        first = logits_of(model, images)
        with torch.no_grad():
            model.train()(specimen.images(seed=1))
        model.load_state_dict(before)
        second = logits_of(model, images)
    if not torch.equal(first, second):
        return failed("after another batch and the old state dict the logits differ: something is kept outside of it")
    return passed()


def switching(specimen: Specimen) -> Outcome:
    """``train()`` and ``eval()`` reach every layer."""
    model = specimen.build()
    model.eval()
    stuck = [name or "the network" for name, layer in model.named_modules() if layer.training]
    if stuck:
        return failed(f"still in training mode after eval(): {listed(stuck)}")
    model.train()
    stuck = [name or "the network" for name, layer in model.named_modules() if not layer.training]
    return warned(f"still in evaluation mode after train(): {listed(stuck)}") if stuck else passed()


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies a network's state dict."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _changes(before: dict[str, torch.Tensor], model: nn.Module) -> list[str]:
    """Returns the names in a network's state dict whose values are not what they were."""
    now = model.state_dict()
    return [name for name, value in before.items() if not torch.equal(value, now[name])]
