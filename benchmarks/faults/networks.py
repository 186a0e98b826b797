"""The command line with one network more, which breaks where it is told to.

``python -m benchmarks.faults.networks bench ...`` is ``resbench bench ...``. Spawned processes run this module again as
``__mp_main__``, and so know the network too; importing it registers nothing. What happens in its training step is said
by an environment variable, so that the trial is the same one with a fault and without.
"""

from __future__ import annotations

import faulthandler
import os
import time

from torch import Tensor, nn

from resbench.registry import register_model

FAULT = "RESBENCH_TEST_FAULT"
"""``segfault``, ``hang``, ``allocate`` or nothing."""
NAME = "fault_target"
WHOLE_STEPS = 400
"""Training steps that go well before the fault: more than the profile takes, fewer than the training."""


class FaultTarget(nn.Module):
    """A small convolutional network with batch norm and dropout, whose training breaks on request."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, num_classes),
        )
        self.steps = 0

    def forward(self, images: Tensor) -> Tensor:
        if self.training and images.device.type == "cpu":
            self.steps += 1
            if self.steps > WHOLE_STEPS:
                _break(os.environ.get(FAULT, ""))
        logits: Tensor = self.layers(images)
        return logits


def _break(fault: str) -> None:
    if fault == "segfault":
        faulthandler._sigsegv()  # type: ignore[attr-defined]
    elif fault == "hang":
        while True:
            time.sleep(60)
    elif fault == "allocate":
        kept = []
        while True:
            kept.append(bytearray(32 * 2**20))


def fault_target(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
    """A network that breaks while it trains, where it is told to."""
    return FaultTarget(in_channels, num_classes)


if __name__ in {"__main__", "__mp_main__"}:  # the second is what a spawned process calls its parent's main module
    register_model(NAME, source="benchmarks/faults")(fault_target)

if __name__ == "__main__":
    from resbench.cli import main

    main()
