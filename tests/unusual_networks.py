"""Networks that train in plain torch and that a harness may trip over, as a user writes them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn

from resbench import register_model


class LeftOut(nn.Module):
    """Blocks are left out at random, by Python's generator."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3)
        self.blocks = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(2))
        self.head = nn.Linear(8, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.stem(images)
        for block in self.blocks:
            if not self.training or random.random() < 0.5:
                x = x + block(x)
        return self.head(x.mean((2, 3)))


class Unfreezing(nn.Module):
    """The stem is trained from the fifth step on; a number in Python counts them."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3)
        self.head = nn.Linear(8, num_classes)
        self.steps = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.steps += 1
        x = self.stem(images)
        return self.head((x if self.steps > 4 else x.detach()).mean((2, 3)))


class Remembering(nn.Module):
    """State that is no tensor decides what the network gives."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(channels), nn.Linear(channels, num_classes)
        self.state: dict[str, Any] = {"scale": 1.0, "seen": [0]}

    def get_extra_state(self) -> dict[str, Any]:
        return self.state

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.state = state

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.state["seen"][0] += 1
            self.state["scale"] = 1 + 0.5 / self.state["seen"][0]
        return self.head(self.norm(images).mean((2, 3)) * self.state["scale"])


class FromNumpy(nn.Module):
    """Weights, and dropout, of numpy's and of Python's generator; a projection that is in no state dict, of torch's."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.head = nn.Linear(channels, num_classes)
        self.register_buffer("projection", torch.randn(channels, channels), persistent=False)
        self.projection: torch.Tensor
        with torch.no_grad():
            drawn = np.random.normal(size=(num_classes, channels))  # noqa: NPY002
            self.head.weight.copy_(torch.from_numpy(drawn))
            self.head.bias.fill_(random.gauss(0, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.mean((2, 3)) @ self.projection
        return self.head(x * (1 + random.random() + np.random.rand()) if self.training else x)  # noqa: NPY002


class Lazy(nn.Module):
    """Lazy layers, one of which is used in training alone."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten())
        self.extra, self.head = nn.LazyLinear(16), nn.LazyLinear(num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.body(images)
        return self.head(x + self.extra(x).mean() if self.training else x)


class Viewing(nn.Module):
    """Runs in contiguous alone."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.stem, self.pool, self.head = nn.Conv2d(channels, 8, 3), nn.MaxPool2d(2), nn.Linear(8 * 9, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.stem(images))
        return self.head(x.view(x.size(0), -1))


class Auxiliary(nn.Module):
    """A second head, in training alone."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.head, self.other = nn.Linear(channels, num_classes), nn.Linear(channels, num_classes)

    def forward(self, images: torch.Tensor) -> Any:
        x = images.mean((2, 3))
        return (self.head(x), self.other(x)) if self.training else self.head(x)


class NormOfOne(nn.Module):
    """Batch norm over one value a channel and image."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(channels), nn.Linear(channels, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.mean((2, 3))
        x = self.norm(x)
        return self.head(x)


class Rates(nn.Module):
    """Its builder takes numbers out of a tensor."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        rates = [rate.item() for rate in torch.linspace(0, 0.5, 3)]
        self.body = nn.Sequential(
            nn.Flatten(), *(nn.Dropout(rate) for rate in rates), nn.Linear(64 * channels, num_classes)
        )

    def forward(self, images: torch.Tensor) -> Any:
        logits = self.body(images)
        return (logits, logits) if self.training and images.sum() > -1 else logits


NETWORKS = {
    "left_out": LeftOut,
    "unfreezing": Unfreezing,
    "remembering": Remembering,
    "from_numpy": FromNumpy,
    "lazy": Lazy,
    "viewing": Viewing,
    "auxiliary": Auxiliary,
    "norm_of_one": NormOfOne,
    "rates": Rates,
}


def _register(name: str, network: Any) -> None:
    @register_model(name, source="a user's")
    def build(
        *, num_classes: int = 10, in_channels: int = 3, stem: str = "source", weights: str | None = None
    ) -> nn.Module:
        """Builds it, from a file if one is given."""
        built: nn.Module = network(num_classes, in_channels)
        if weights not in (None, "random"):
            built.load_state_dict(torch.load(weights, weights_only=True))
        return built


for _name, _network in NETWORKS.items():
    _register(_name, _network)
