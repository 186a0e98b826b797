"""Networks with one fault each, and a sound one; all for images of 3x8x8."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


class Sound(nn.Module):
    """A residual network of one block: all that is checked is as it should be."""

    def __init__(self, classes: int, channels: int = 3, stem: str = "source") -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, stride=1 if stem == "cifar" else 2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(8, classes)
        nn.init.zeros_(self.norm2.weight)  # a branch that is nothing at first is no fault

    def features(self, images: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.stem(images)))
        x = x + self.norm2(self.conv(x))
        return x.mean((2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.dropout(self.features(images)))


class WrongWidth(Sound):
    def __init__(self, classes: int, channels: int = 3, stem: str = "source") -> None:
        super().__init__(10, channels, stem)


class OnlyColour(Sound):
    def __init__(self, classes: int, channels: int = 3, stem: str = "source") -> None:
        super().__init__(classes, 3, stem)


class OneSize(Sound):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[2:] != (8, 8):
            raise ValueError("only 8x8")
        return super().forward(images)


class NoSmallBatch(Sound):
    def features(self, images: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(super().features(images), None, None, training=self.training)


class NotANumber(Sound):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) / 0


class Falls(Sound):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("cannot go forward")


class Unused(Sound):
    def __init__(self, *arguments: int | str) -> None:
        super().__init__(*arguments)
        self.spare = nn.Linear(8, 8)


class Detached(Sound):
    def features(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return super().features(images)


class Idle(Sound):
    def __init__(self, *arguments: int | str) -> None:
        super().__init__(*arguments)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)  # its bias is normalised away


class AllFrozen(Sound):
    def __init__(self, *arguments: int | str) -> None:
        super().__init__(*arguments)
        self.requires_grad_(False)


class Killed(Sound):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) + 0 * self.extra.sum()

    def __init__(self, *arguments: int | str) -> None:
        super().__init__(*arguments)
        self.extra = nn.Parameter(torch.ones(3))


class Tied(Sound):
    def __init__(self, *arguments: int | str) -> None:
        super().__init__(*arguments)
        self.norm2.bias = self.norm.bias


class Lazy(Sound):
    def __init__(self, classes: int, *arguments: int | str) -> None:
        super().__init__(classes, *arguments)
        self.head = nn.LazyLinear(classes)


class RandomInEvaluation(Sound):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(F.dropout(self.features(images), 0.5, training=True))


class CountsInEvaluation(Sound):
    def __init__(self, *arguments: int | str) -> None:
        super().__init__(*arguments)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return super().forward(images)


class WritesToImages(Sound):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images.mul_(0.5))


class LooksAround(Sound):
    def features(self, images: torch.Tensor) -> torch.Tensor:
        x = super().features(images)
        return x - x.mean(0)


class ClampsWeights(Sound):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            with torch.no_grad():
                self.head.weight *= 0.9
        return super().forward(images)


class Remembers(Sound):
    offset = 0.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.offset = float(images.detach().mean()) if images.device.type != "meta" else 0.0
        return super().forward(images) + self.offset


class StuckInTraining(Sound):
    def train(self, mode: bool = True) -> Sound:
        super().train(mode)
        self.dropout.training = True
        return self


class StuckInEvaluation(Sound):
    def train(self, mode: bool = True) -> Sound:
        super().train(mode)
        self.norm.training = False
        return self


class SameEverySeed(Sound):
    def __init__(self, *arguments: int | str) -> None:
        super().__init__(*arguments)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.1)


_calls = [0]


class NeverTheSame(Sound):
    def __init__(self, *arguments: int | str) -> None:
        super().__init__(*arguments)
        _calls[0] += 1
        nn.init.constant_(self.head.bias, _calls[0] / 100)


class NotInTheStateDict(Sound):
    def __init__(self, *arguments: int | str) -> None:
        super().__init__(*arguments)
        self.shift = torch.randn(())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) + self.shift.to(images.device) * torch.arange(10, device=images.device)


class OwnGenerator(Sound):
    generator = torch.Generator().manual_seed(0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.features(images)
        if self.training and images.device.type != "meta":
            x = x * torch.rand(8, generator=self.generator)
        return self.head(x)


class NothingCounted(nn.Module):
    def __init__(self, classes: int, channels: int = 3, stem: str = "source") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2, 3))[:, None] * self.weight


class ReadsTheLayout(Sound):
    def features(self, images: torch.Tensor) -> torch.Tensor:
        x = super().features(images)
        return x if images.is_contiguous() else 2 * x


class OverflowsInBf16(Sound):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = super().forward(images)
        rounded = self.head(torch.zeros(1, 8, device=x.device)).dtype == torch.bfloat16
        return x * float("inf") if rounded else x


class Breaks(Sound):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = super().forward(images)
        if images.device.type != "meta" and float(x.detach().sum()) > 1e9:
            return x + 1
        return x


class LearnsNothing(Sound):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).clamp(0, 0) + super().forward(images) * 0


FAULTS: list[tuple[Callable[..., nn.Module], str, str, str]] = [
    (WrongWidth, "number of classes", "fail", "with 17 classes: shape (4, 10), and (4, 17) is wanted"),
    (OnlyColour, "channels", "fail", "RuntimeError: "),
    (OneSize, "other image sizes", "warn", "4x4 (only 8x8)"),
    (NoSmallBatch, "batch of 1 in training", "warn", "batch norm refuses a batch of one image"),
    (NotANumber, "logits", "fail", "for 1 images: values that are not finite"),
    (Falls, "logits", "fail", "RuntimeError: cannot go forward"),
    (Unused, "gradients", "fail", "no gradient reaches spare.weight, spare.bias"),
    (Unused, "unused layers", "warn", "layers with parameters that never run as layers: spare"),
    (Detached, "gradients", "fail", "no gradient reaches stem.weight, norm.weight, norm.bias, conv.weight and 2 more"),
    (Idle, "idle biases", "warn", "normalised away in training: conv.bias"),
    (AllFrozen, "gradients", "fail", "nothing is trained: every parameter is frozen"),
    (Killed, "gradients", "warn", "the gradient of extra is zero in every element"),
    (Tied, "parameters", "warn", "one tensor under several names: norm.bias = norm2.bias"),
    (RandomInEvaluation, "evaluation mode", "fail", "two evaluations of the same images differ"),
    (CountsInEvaluation, "evaluation mode", "fail", "evaluation changes seen"),
    (CountsInEvaluation, "training mode", "warn", "buffers that are not batch norm's change: seen"),
    (WritesToImages, "evaluation mode", "fail", "the images are written to"),
    (LooksAround, "neighbours in a batch", "fail", "alone and in a batch they differ"),
    (ClampsWeights, "training mode", "fail", "parameters change without an optimizer: head.weight"),
    (Remembers, "hidden state", "fail", "something is kept outside of it"),
    (StuckInTraining, "train() and eval()", "fail", "still in training mode after eval(): dropout"),
    (StuckInEvaluation, "train() and eval()", "warn", "still in evaluation mode after train(): norm"),
    (SameEverySeed, "seeds", "fail", "every seed gives the same weights"),
    (NeverTheSame, "seeds", "fail", "the same seed gives other values of head.bias"),
    (NotInTheStateDict, "checkpoint", "fail", "the state dict does not hold all of the network"),
    (OwnGenerator, "repeated training", "fail", "tensors differ: "),
    (NothingCounted, "FLOPs", "fail", "no multiply-add is counted"),
    (ReadsTheLayout, "channels_last", "fail", "the logits differ by"),
    (OverflowsInBf16, "bf16", "fail", "not finite: train with --precision fp32"),
    (Breaks, "one graph", "warn", "it breaks into several graphs"),
    (LearnsNothing, "learning", "warn", "loss 2.303, after 8 steps 2.303"),
]
"""What is wrong, which check finds it, and what it says."""
