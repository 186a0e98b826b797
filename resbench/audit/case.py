"""The network that is audited, built anew for every check, and the images that it is given."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from resbench.audit.reach import Reach, measure_reach
from resbench.host_state import forked_generators
from resbench.measure.profile import Subject
from resbench.registry import ModelEntry, create_model, model_entry

STEP_RATE = 0.01
"""Learning rate of the plain steps that checks take."""


class Case:
    """One network under audit.

    Everything that is the same on every device is checked on the processor in fp32, where equal means equal to the
    bit; what a device may get wrong is checked on the subject's own.

    Args:
        subject: The network, its images and the engine's settings.
        compiling: ``off``, ``capture`` (the compiler's tracing alone) or ``on``.
    """

    def __init__(self, subject: Subject, compiling: str = "capture") -> None:
        self.subject = subject
        self.compiling = compiling

    @property
    def entry(self) -> ModelEntry:
        """The network's entry in the registry."""
        return model_entry(self.subject.model)

    @property
    def classes(self) -> int:
        """Width of the logits."""
        return self.subject.num_classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.subject.input

    def build(self, seed: int = 0, **changes: Any) -> nn.Module:
        """Builds the network with random weights, which the seed decides, in training mode.

        Args:
            seed: Of all generators, as a trial sets it.
            changes: Keywords of :func:`~resbench.registry.create_model` that differ from the subject's.
        """
        channels, height, width = self.shape
        keywords = {
            "num_classes": self.classes,
            "in_channels": channels,
            "stem": self.subject.stem,
            "input_size": (height, width),
            "weights": "random" if self.entry.accepts_weights else None,
        }
        with forked_generators(seed=seed):
            return create_model(self.subject.model, **{**keywords, **changes})

    def images(
        self, count: int | None = None, *, seed: int = 0, shape: tuple[int, int, int] | None = None
    ) -> torch.Tensor:
        """Returns noise as images [B, C, H, W], by default a batch of the subject's."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count or self.batch_size, *(shape or self.shape), generator=generator)

    @property
    def batch_size(self) -> int:
        """Images of a batch: at least two, which batch norm needs."""
        return max(2, self.subject.batch_size)

    def labels(self, count: int | None = None, *, seed: int = 0) -> torch.Tensor:
        """Returns labels [B] drawn evenly."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(self.classes, (count or self.batch_size,), generator=generator)

    @cached_property
    def reach(self) -> Reach:
        """What gradients reach in this network, measured once for all checks that ask."""
        batches = [(self.images(seed=seed), self.labels(seed=seed)) for seed in range(3)]
        return measure_reach(self.build, batches, STEP_RATE)


def eval_logits(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Returns what a network gives in eval mode; it is left in that mode."""
    with torch.no_grad():
        logits: torch.Tensor = network.eval()(images)
    return logits


def train_logits(network: nn.Module, images: torch.Tensor, *, seed: int = 0) -> torch.Tensor:
    """Returns what a network gives in training mode, its dropout drawn from a seed; it is left in that mode."""
    with forked_generators(seed=seed):
        logits: torch.Tensor = network.train()(images)
    return logits


def plain_step(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, seed: int = 0) -> float:
    """Takes one plain SGD step on what is trained, the gradients left where they are, and returns the loss before."""
    network.zero_grad(set_to_none=True)
    loss = F.cross_entropy(train_logits(network, images, seed=seed), labels)
    loss.backward()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.sub_(STEP_RATE * parameter.grad)
    return float(loss.detach())
