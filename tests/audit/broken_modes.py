"""Networks whose modes, state or speed is broken in one respect; see `broken_networks`."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from broken_networks import WIDTH, Tiny

# Modes -------------------------------------------------------------------------------------------------------


class StaysInTraining(Tiny):
    """Overrides train() and forgets what is inside."""

    def train(self, mode: bool = True) -> StaysInTraining:
        self.training = mode
        return self


class EvalCounts(Tiny):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, images: torch.Tensor) -> Any:
        self.calls += 1
        return super().forward(images)


class RandomInEval(Tiny):
    def forward(self, images: torch.Tensor) -> Any:
        return F.dropout(super().forward(images), 0.5, training=True)


class RemembersCalls(Tiny):
    """State that is no buffer."""

    calls = 0

    def forward(self, images: torch.Tensor) -> Any:
        self.calls += 1
        return super().forward(images) * (1 + self.calls / 100)


class LooksAround(Tiny):
    """Normalises by the batch in eval mode too."""

    def forward(self, images: torch.Tensor) -> Any:
        logits = super().forward(images)
        return logits - logits.mean(0)


class UnsavedBuffer(Tiny):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.register_buffer("average", torch.zeros(WIDTH), persistent=False)

    def forward(self, images: torch.Tensor) -> Any:
        features = self.features(images)
        if self.training:
            self.average.lerp_(features.detach().mean(0), 0.1)
        return self.head(features - self.average)


class OtherBuffer(UnsavedBuffer):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.register_buffer("average", torch.zeros(WIDTH))


class OwnGenerator(Tiny):
    numbers = itertools.count()

    def forward(self, images: torch.Tensor) -> Any:
        logits = super().forward(images)
        if not self.training:
            return logits
        return logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(next(self.numbers)))


class OtherInTraining(Tiny):
    def forward(self, images: torch.Tensor) -> Any:
        return super().forward(images) * (2 if self.training else 1)


class CallsFunction(Tiny):
    """As sound as dropout of its own."""

    def forward(self, images: torch.Tensor) -> Any:
        return F.dropout(super().forward(images), 0.3, training=self.training)


# State -------------------------------------------------------------------------------------------------------


class ForgetsInState(Tiny):
    """Remembers the mean of the images that it was trained on, in an attribute."""

    mean = 0.0

    def forward(self, images: torch.Tensor) -> Any:
        if self.training:
            self.mean = float(images.detach().mean())
        return super().forward(images) * (1 + self.mean)


class PickledState(Tiny):
    def get_extra_state(self) -> Any:
        return itertools.count()

    def set_extra_state(self, state: Any) -> None:
        """Nothing to do."""


class NoCopy(Tiny):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.numbers = (number for number in range(3))


class CopyUsesOriginal(Tiny):
    """A closure over a layer: a copy of the network calls the original's."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        head = self.head
        self.classify = lambda features: head(features)

    def forward(self, images: torch.Tensor) -> Any:
        return self.classify(self.features(images))


class Hoards(Tiny):
    """Keeps what every pass computed."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.kept: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> Any:
        self.kept.append(self.features(images))
        return self.head(self.kept[-1])


class KeepsGraph(Tiny):
    def forward(self, images: torch.Tensor) -> Any:
        self.last = self.features(images)
        return self.head(self.last)


# Arithmetic and speed ----------------------------------------------------------------------------------------


class StaysOnProcessor(Tiny):
    """A tensor made where the processor is, whatever the network is on."""

    def forward(self, images: torch.Tensor) -> Any:
        return super().forward(images) + torch.linspace(0, 1, self.head.out_features, device="cpu")


class TracesOtherwise(Tiny):
    """Twice the arithmetic where nobody traces it."""

    def forward(self, images: torch.Tensor) -> Any:
        logits = super().forward(images)
        return logits if torch.jit.is_tracing() else (logits + super().forward(images)) / 2


class PartInNoGrad(Tiny):
    """Backward without the convolutions."""

    def forward(self, images: torch.Tensor) -> Any:
        with torch.no_grad():
            features = self.features(images)
        return self.head(features)


class CountsLayout(Tiny):
    """Reads memory in the order in which it lies."""

    def forward(self, images: torch.Tensor) -> Any:
        layout = torch.channels_last
        turned = images.is_contiguous(memory_format=layout) and not images.is_contiguous()
        return super().forward(images.flip(2) * 2 if turned else images)


class TooLargeForBf16(Tiny):
    """A difference of numbers that bf16 cannot tell apart."""

    def forward(self, images: torch.Tensor) -> Any:
        features = self.features(images)
        return self.head(features + 10_000) - self.head(torch.full_like(features, 10_000))


class ReadsNumber(Tiny):
    def forward(self, images: torch.Tensor) -> Any:
        logits = super().forward(images)
        return logits + 1 if logits.mean().item() > 0 else logits


class PicksByMask(Tiny):
    def forward(self, images: torch.Tensor) -> Any:
        return super().forward(images) + images[images > 0].mean()


class CountsSteps(Tiny):
    """A whole number of Python that decides what is computed."""

    step = 0

    def forward(self, images: torch.Tensor) -> Any:
        self.step += 1
        return super().forward(images) + self.step


class Explodes(Tiny):
    """A head whose gradient is a billion times too large."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.head.weight.register_hook(lambda gradient: gradient * -1e9)
