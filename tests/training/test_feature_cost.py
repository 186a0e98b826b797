"""FLOPs of a training on cached features, and what a budget of them buys, beside closed forms."""

from __future__ import annotations

import pytest
from frozen_networks import BATCH, CLASSES, FEATURES, TRAIN, engine_of, frozen_network, image_pipeline
from hypothesis import example, given
from hypothesis import strategies as st

from resbench.budget import Budget, Spending, parse_budget, plan_spending
from resbench.errors import InputError
from resbench.measure.flops import count_training_flops
from resbench.training.feature_cost import FeatureCost, count_feature_cost, plan_feature_spending
from resbench.training.features import train_head_only

CONV, HEAD = 2 * 8 * 8 * 8 * 3 * 9, 2 * 32 * CLASSES
STEPS = TRAIN // BATCH
COST = FeatureCost(features=1000, step=10)


def plan(budget: str | Budget, cost: FeatureCost = COST) -> Spending:
    budget = parse_budget(budget) if isinstance(budget, str) else budget
    return plan_feature_spending(budget, cost, batch_size=BATCH, steps_per_epoch=STEPS, train_images=TRAIN)


def spent(steps: int, cost: FeatureCost = COST) -> int:
    """What so many steps cost: in the first epoch each makes its batch's features, the next makes those left over."""
    made = steps * BATCH if steps <= STEPS else TRAIN
    return made * cost.features + steps * BATCH * cost.step


def test_features_and_step_equal_their_closed_forms_and_add_up_to_the_whole_network():
    training, _ = train_head_only(engine_of(frozen_network()), image_pipeline(), FEATURES)
    cost = count_feature_cost(training.backbone, (3, 8, 8))
    assert cost == FeatureCost(features=CONV, step=2 * HEAD)
    assert cost.features + cost.step == count_training_flops(frozen_network().to("meta"), (3, 8, 8))
    assert cost.spent(images_seen=100, features_made=43) == 100 * 2 * HEAD + 43 * CONV


@pytest.mark.parametrize("unit", ["ep", "steps", "img", "s"])
def test_no_other_unit_knows_of_features(unit):
    budget = Budget(30.0, unit)
    assert plan(budget) == plan_spending(budget, batch_size=BATCH, steps_per_epoch=STEPS, train_flops_per_image=1010)


@given(st.integers(spent(1), 100_000))
@example(spent(STEPS) + 1)  # the step that computes what the first epoch left out
@example(TRAIN * COST.features + 1)
def test_flops_buy_the_fewest_steps_that_reach_them(amount):
    spending = plan(Budget(float(amount), "flop"))
    steps = spending.total_steps
    assert spent(steps - 1) < amount <= spent(steps)
    assert spending.overshoot(steps=steps, train_clock_s=0.0) == spent(steps) - amount
    assert spending.fraction(steps=steps, train_clock_s=0.0) == 1
    assert spending.fraction(steps=steps - 1, train_clock_s=0.0) == (steps - 1) / steps


@pytest.mark.parametrize("steps", [1, STEPS, STEPS + 1, 4 * STEPS])
def test_an_amount_that_is_spent_exactly_has_no_overshoot(steps):
    spending = plan(Budget(float(spent(steps)), "flop"))
    assert (spending.total_steps, spending.overshoot(steps=steps, train_clock_s=0.0)) == (steps, 0.0)


def test_a_budget_that_buys_no_step_is_refused_with_what_a_first_step_costs():
    with pytest.raises(InputError, match=rf"a step of {BATCH} images takes {spent(1)}flop"):
        plan("4000flop")
