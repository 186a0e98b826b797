"""A network that is sound in every respect and takes no time, and networks that are it but for one fault each."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Build = Callable[..., Any]
WIDTH = 48
"""Enough that batch norm is less than a hundredth of the arithmetic."""


class Tiny(nn.Module):
    """Convolution, batch norm, dropout, a residual branch whose last batch norm starts at 0, and a head."""

    def __init__(self, num_classes: int = 5, in_channels: int = 3, stem: str = "source") -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, WIDTH, 3, stride=2 if stem == "source" else 1, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.branch = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH))
        nn.init.zeros_(self.branch[1].weight)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(WIDTH, num_classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.norm(self.conv(images)))
        return self.drop(torch.relu(maps + self.branch(maps))).mean((2, 3))

    def forward(self, images: torch.Tensor) -> Any:
        return self.head(self.features(images))


def of(network: type[nn.Module]) -> Build:
    """The builder of a network."""

    def build(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
        return network(num_classes, in_channels, stem)

    return build


# Builders ----------------------------------------------------------------------------------------------------


def raises(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    raise RuntimeError("no such layer")


def no_module(*, num_classes: int, in_channels: int, stem: str) -> Any:
    return Tiny(num_classes, in_channels).forward


def no_parameters(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    return nn.Flatten()


def ignores_classes(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    return Tiny(5, in_channels, stem)


def ignores_channels(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    return Tiny(num_classes, 3, stem)


def one_stem(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    if stem != "source":
        raise NotImplementedError("the stem")
    return Tiny(num_classes, in_channels, stem)


def one_size(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64, num_classes))


def other_generator(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    network = Tiny(num_classes, in_channels, stem)
    nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(next(_calls)))
    return network


_calls = itertools.count()


def without_seed(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    network = Tiny(num_classes, in_channels, stem)
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    return network


def all_frozen(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    return Tiny(num_classes, in_channels, stem).requires_grad_(False)


def head_only(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    network = Tiny(num_classes, in_channels, stem).requires_grad_(False)
    network.head.requires_grad_(True)
    return network


def infinite_weight(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    network = Tiny(num_classes, in_channels, stem)
    network.branch[0].weight.data[0] = float("inf")
    return network


def in_double(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    network = Tiny(num_classes, in_channels, stem)
    network.register_parameter("scale", nn.Parameter(torch.ones(1, dtype=torch.float64)))
    return network


def loud_head(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    network = Tiny(num_classes, in_channels, stem)
    nn.init.normal_(network.head.weight, std=100.0)
    return network


# Outputs -----------------------------------------------------------------------------------------------------


class Maps(Tiny):
    def forward(self, images: torch.Tensor) -> Any:
        return self.conv(images)


class AuxiliaryHead(Tiny):
    def forward(self, images: torch.Tensor) -> Any:
        logits = self.head(self.features(images))
        return (logits, logits) if self.training else logits


class NotFinite(Tiny):
    def forward(self, images: torch.Tensor) -> Any:
        return self.head(self.features(images)) / 0


class WholeNumbers(Tiny):
    def forward(self, images: torch.Tensor) -> Any:
        return self.head(self.features(images)).long()


class WritesImages(Tiny):
    def forward(self, images: torch.Tensor) -> Any:
        return super().forward(images.sub_(0.5))


class SameForAll(Tiny):
    def forward(self, images: torch.Tensor) -> Any:
        return self.head(self.features(images).mean(0, keepdim=True).expand(len(images), -1))


class WrongWidth(Tiny):
    """A layer that does not fit the one before it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.head = nn.Linear(WIDTH + 1, arguments[0])


class NormAtOnePixel(Tiny):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.last = nn.BatchNorm1d(WIDTH)

    def forward(self, images: torch.Tensor) -> Any:
        return self.head(self.last(self.features(images)))


# Parameters --------------------------------------------------------------------------------------------------


class Unused(Tiny):
    """A layer that forward forgets."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.forgotten = nn.Linear(WIDTH, WIDTH)


class UnusedFrozen(Unused):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.forgotten.requires_grad_(False)


class NeverCalled(Tiny):
    """Dropout that forward forgets."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.more_drop = nn.Dropout()


class DetachedBranch(Tiny):
    def features(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.norm(self.conv(images)))
        return (maps + self.branch(maps).detach()).mean((2, 3))


class NoGrad(Tiny):
    def forward(self, images: torch.Tensor) -> Any:
        with torch.no_grad():
            return super().forward(images)


class Rounds(Tiny):
    """A step function, whose gradient is 0 everywhere."""

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return torch.round(4 * super().features(images)) / 4


class InfiniteGradient(Tiny):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.head.weight.register_hook(lambda gradient: gradient / 0)


class TrainsFrozen(Tiny):
    """Frozen by flag, and written to in the forward pass."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.conv.requires_grad_(False)

    def forward(self, images: torch.Tensor) -> Any:
        if self.training:
            self.conv.weight.data.mul_(0.99)
        return super().forward(images)


class SharesMemory(Tiny):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.twin = nn.Parameter(self.head.weight.detach())

    def forward(self, images: torch.Tensor) -> Any:
        return super().forward(images) + self.features(images) @ self.twin.T


class PlainList(Tiny):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.layers = [nn.Linear(WIDTH, WIDTH)]

    def forward(self, images: torch.Tensor) -> Any:
        return self.head(self.layers[0](self.features(images)))


class LooseTensor(Tiny):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.mean = torch.full((1, 1, 1, 1), 0.5)

    def forward(self, images: torch.Tensor) -> Any:
        return super().forward(images - self.mean)
