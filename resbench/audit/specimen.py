"""The network under audit: what it is built as, and the images that it is tried on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from resbench.measure.profile import Subject
from resbench.registry import ModelEntry, model_entry
from resbench.schema import EngineSettings

SEED = 0


@dataclass(frozen=True)
class Specimen:
    """One network, under the settings that it is going to be used with."""

    model: str
    stem: str
    input: tuple[int, int, int]
    """Channels, height, width."""
    num_classes: int
    batch_size: int
    """Images of a batch here; at least 2."""
    engine: EngineSettings
    """Device, precision, and whether code is compiled."""

    @property
    def entry(self) -> ModelEntry:
        """The network's entry in the registry."""
        return model_entry(self.model)

    @property
    def subject(self) -> Subject:
        """The same as the instruments take it."""
        return Subject(self.model, self.stem, self.input, self.num_classes, self.batch_size, self.engine)

    @property
    def device(self) -> torch.device:
        """Where the network is tried."""
        return torch.device(self.engine.device)

    @property
    def starts_trained(self) -> bool:
        """Whether the network starts from given weights, whatever the seed."""
        return self.entry.default_weights != "random"

    def changed(self, **changes: object) -> Specimen:
        """Returns the same network under other settings."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def build(self, seed: int = SEED) -> nn.Module:
        """Builds the network from a seed, on its device, in training mode; weights that are downloaded are not."""
        torch.manual_seed(seed)
        return self.subject.build().to(self.device)

    def settled(self, seed: int = SEED) -> nn.Module:
        """Builds the network and lets its batch norm take the statistics of a batch, so that its logits are sane."""
        model = self.build(seed)
        norms = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
        kept = [layer.momentum for layer in norms]
        for layer in norms:
            layer.momentum = 1.0
        with torch.no_grad():
            model.train()(self.images())
        for layer, momentum in zip(norms, kept, strict=True):
            layer.momentum = momentum
        return model

    def images(self, count: int | None = None, seed: int = SEED) -> torch.Tensor:
        """Returns noise, float32 [count, C, H, W]; a batch where no number is given."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count or self.batch_size, *self.input, generator=generator).to(self.device)

    def labels(self, count: int | None = None) -> torch.Tensor:
        """Returns labels, int64 [count]."""
        return (torch.arange(count or self.batch_size) % self.num_classes).to(self.device)


def logits_of(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Returns what a network gives for images in eval mode."""
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(images)
    return logits


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Returns the largest difference of two tensors, relative to the largest value of the first."""
    scale = float(one.abs().max()) or 1.0
    return float((one.float() - other.float()).abs().max()) / scale


@contextmanager
def deterministic() -> Iterator[None]:
    """Asks torch for algorithms that give the same bits each time, where it has such."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
