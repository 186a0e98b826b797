"""Checks that the same is the same again: seeds, checkpoints, training steps."""

from __future__ import annotations

import io

import torch
import torch.nn.functional as F
from torch import nn

from resbench.audit.findings import Outcome, failed, listed, passed, skipped, warned
from resbench.audit.specimen import SEED, Specimen, deterministic, logits_of


def seeds(specimen: Specimen) -> Outcome:
    """A seed gives the same weights each time, another one others."""
    first, again, other = (specimen.build(seed).state_dict() for seed in (SEED, SEED, SEED + 1))
    differing = [name for name, value in first.items() if not torch.equal(value, again[name])]
    if differing:
        return failed(f"the same seed gives other values of {listed(differing)}")
    if all(torch.equal(value, other[name]) for name, value in first.items()):
        if specimen.starts_trained:
            return skipped("it starts from given weights")
        return failed("every seed gives the same weights: means over seeds would have no spread")
    return passed()


def checkpoint(specimen: Specimen) -> Outcome:
    """A state dict that was written and read gives the same logits, bit for bit."""
    model, images = specimen.settled(), specimen.images()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = specimen.build(SEED + 1)
    other.load_state_dict(torch.load(file, map_location=specimen.device, weights_only=True))
    with deterministic():
        same = torch.equal(logits_of(model, images), logits_of(other, images))
    return passed() if same else failed("the logits differ: the state dict does not hold all of the network")


def training_steps(specimen: Specimen) -> Outcome:
    """Two training steps from the same seed end with the same weights, bit for bit."""
    with deterministic():
        first, again = (_trained(specimen).state_dict() for _ in range(2))
    differing = [name for name, value in first.items() if not torch.equal(value, again[name])]
    if not differing:
        return passed()
    where = f"{len(differing)} tensors differ: {listed(differing)}"
    if specimen.device.type == "cuda":
        return warned(f"{where}; on a GPU some kernels add in any order")
    return failed(where)


def _trained(specimen: Specimen) -> nn.Module:
    """Trains a network for two steps, dropout and the like drawn from the seed too."""
    model = specimen.build()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.01, momentum=0.9)
    torch.manual_seed(SEED)
    for step in range(2):
        loss = F.cross_entropy(model.train()(specimen.images(seed=step)), specimen.labels())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model
