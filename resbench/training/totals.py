"""What the steps of a training, or of an evaluation, add up to."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from resbench.ranks import Ranks


@dataclass(frozen=True)
class Totals:
    """Sums over the images since the last reading."""

    loss: float
    correct: int
    images: int
    finite_steps: int = 0
    """Training steps whose loss was a number. Once one is not, the weights are none either: so many came before."""

    @property
    def mean_loss(self) -> float:
        """Mean cross-entropy an image, in nats."""
        return self.loss / self.images

    @property
    def accuracy(self) -> float:
        """Fraction of images whose largest logit is their label's."""
        return self.correct / self.images


def totals_of(sums: torch.Tensor, ranks: Ranks) -> Totals:
    """Waits for the device and returns what all ranks have added up.

    Args:
        sums: float64 [4] of this rank: loss, hits, images, steps of a finite loss. A step's loss is a number where it
            is one on all ranks.
        ranks: All of them call this.
    """
    of_all = torch.cat([ranks.add_up(sums[:3]), ranks.least(sums[3:])])
    loss, correct, images, finite_steps = of_all.tolist()
    return Totals(loss, int(correct), int(images), int(finite_steps))
