"""What a training tells while it runs, and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from resbench.budget import Spending
from resbench.training.clock import TrainClock
from resbench.training.totals import Totals


@dataclass(frozen=True)
class Progress:
    """Where a training stands, as far as the host knows without asking the device."""

    fraction: float
    """Of the budget."""
    images_per_second: float
    seconds_left: float
    """Of the train clock, at the rate so far."""
    memory_mib: float
    """What this process holds of the device now."""


@dataclass(frozen=True)
class EpochReport:
    """What was known after an epoch, or at the end of the budget."""

    epoch: float
    steps: int
    images_seen: int
    budget_fraction: float
    learning_rate: float
    train: Totals
    test: Totals
    train_clock_s: float
    eval_s: float
    train_images_per_second: float
    features_made: int | None = None
    """Training images whose features were computed so far, by earlier attempts too; None where none are cached."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EpochReport:
        """Rebuilds a report from its ``asdict``."""
        return cls(**{**data, "train": Totals(**data["train"]), "test": Totals(**data["test"])})


@dataclass
class TrainingResult:
    """What a finished training leaves."""

    spending: Spending
    clock: TrainClock
    steps: int = 0
    images_seen: int = 0
    features_made: int | None = None
    """As in the last of the ``epochs``."""
    epochs: list[EpochReport] = field(default_factory=list)
    correct: torch.Tensor | None = None
    """bool [test images], on the device: which of them the last evaluation got right."""

    @property
    def train_clock_s(self) -> float:
        """Data + step time."""
        return self.clock.seconds

    @property
    def step_seconds(self) -> list[float]:
        """Data + step time of every step."""
        return self.clock.step_seconds

    @property
    def train_images_per_second(self) -> float:
        """Images trained on, over the train clock."""
        return self.images_seen / self.train_clock_s

    def step_ms(self, quantile: float) -> float:
        """Returns a quantile (0..1) of the step times in ms."""
        return float(np.quantile(self.step_seconds, quantile)) * 1000
