"""What a training on cached features spends: FLOPs, and how many steps a budget of them buys."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

from resbench.budget import Budget, Spending, plan_spending
from resbench.measure.flops import count_flops
from resbench.training.backbone import Backbone


@dataclass(frozen=True)
class FeatureCost:
    """Training FLOPs of one image. Together they are what it costs where nothing is cached."""

    features: int | None
    """Its pass through the backbone, once; None if it cannot be counted."""
    step: int | None
    """The head forward and backward, at every step; None if it cannot be counted."""

    @property
    def of_both(self) -> int | None:
        """Of an image whose features are computed in the step."""
        return None if self.features is None or self.step is None else self.features + self.step

    def measures(self, budget: Budget) -> bool:
        """Returns whether a training on features can spend a budget: one of FLOPs only if a step of the head has some.

        Without, the training goes on on images.
        """
        return budget.unit != "flop" or (self.features is not None and bool(self.step))

    def spent(self, *, images_seen: int, features_made: int) -> float | None:
        """Returns the FLOPs that a training has spent, None if they cannot be counted."""
        if self.features is None or self.step is None:
            return None
        return float(images_seen * self.step + features_made * self.features)


def count_feature_cost(backbone: Backbone, input_shape: tuple[int, int, int]) -> FeatureCost:
    """Counts what an image costs.

    Args:
        backbone: On any device; it is left as it is.
        input_shape: Channels, height, width of one image.
    """
    return FeatureCost(
        count_flops(lambda: copy.deepcopy(backbone.network), input_shape, passes=["forward"]).forward,
        count_flops(lambda: copy.deepcopy(backbone.head), backbone.feature_shape, passes=["training"]).training,
    )


@dataclass(frozen=True)
class FeatureSpending(Spending):
    """A budget of FLOPs that outlasts the first epoch: the steps after it cost the head alone.

    ``step_cost`` is that of these steps. A schedule follows the steps, as for every budget but one of seconds.
    """

    all_features: float = 0.0
    """What computing every image's features once costs."""
    steps_per_epoch: int = 0

    @property
    def total_steps(self) -> int:
        """How many steps reach the budget: more than an epoch."""
        left = Spending(Budget(self.budget.amount - self.all_features, self.budget.unit), self.step_cost)
        return max(self.steps_per_epoch + 1, left.total_steps or 0)

    def overshoot(self, *, steps: int, train_clock_s: float) -> float:
        """Returns how much more than the budget was planned to be spent (negative: it stopped early).

        Features that were computed again, after a training was cut short, are not in it.
        """
        spent = self.all_features + steps * (self.step_cost or 0.0)
        exact = math.isclose(spent, self.budget.amount, rel_tol=1e-12)
        return 0.0 if exact else spent - self.budget.amount


def plan_feature_spending(
    budget: Budget, cost: FeatureCost, *, batch_size: int, steps_per_epoch: int, train_images: int
) -> Spending:
    """Says what a budget buys where features are computed once.

    A budget of FLOPs counts what is spent: a step of the first epoch costs what it costs without a cache, as it
    computes its images' features; a later one costs the head alone. In every other unit nothing is different.

    Args:
        budget: What may be spent.
        cost: Of one image; one that measures the budget.
        batch_size: Images a step.
        steps_per_epoch: Full batches in the training set.
        train_images: In the training set; the first epoch leaves out what fills no batch.

    Raises:
        InputError: The budget buys not even one step; the message says what would.
    """
    spending = plan_spending(
        budget,
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch,
        train_flops_per_image=cost.of_both,
    )
    if budget.unit != "flop" or (spending.total_steps or 0) <= steps_per_epoch:
        return spending
    assert cost.features is not None  # the cost measures the budget
    assert cost.step
    return FeatureSpending(
        budget,
        float(batch_size * cost.step),
        all_features=float(train_images * cost.features),
        steps_per_epoch=steps_per_epoch,
    )
