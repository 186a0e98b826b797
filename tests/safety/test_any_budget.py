"""Any text is a budget or refused with a message; whatever a budget buys, the steps reach it."""

from __future__ import annotations

import pytest
from hostile import try_out
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resbench.budget import UNITS, parse_budget, plan_spending

BITS = st.sampled_from(
    [*UNITS, "e", "E", ".", "-", "+", "0", "1", "9", "00", " ", "_", ",", "nan", "inf", "\n", "٣", "\x00"]
)
TEXTS = st.text(max_size=30) | st.lists(BITS, max_size=8).map("".join)


@given(TEXTS)
@example("9" * 5000 + "ep")
@example("1e" + "9" * 5000 + "ep")
@example("1\u212ain")  # the sign for kelvin, which is a k where case is ignored
@example("٣ep")
@settings(deadline=None, max_examples=150)
def test_any_text_is_a_budget_or_refused_with_a_message_that_names_it(text: str) -> None:
    budget, refusal = try_out(lambda: parse_budget(text))
    if budget is None:
        assert repr(text) in refusal
        assert "26ep" in refusal
    else:
        assert 0 < budget.amount < float("inf")
        assert budget.unit in UNITS
        assert parse_budget(str(budget)) == budget
        assert str(parse_budget(str(budget))) == str(budget)


AMOUNTS = st.floats(min_value=1e-3, max_value=1e28)
SIZES = st.integers(1, 10**6)


@given(AMOUNTS, st.sampled_from(sorted(UNITS)), SIZES, SIZES, st.integers(1, 10**13))
@settings(deadline=None, max_examples=150)
def test_the_steps_that_any_budget_buys_reach_it_and_not_one_of_them_is_too_many(
    amount: float, unit: str, batch_size: int, steps_per_epoch: int, flops: int
) -> None:
    budget = parse_budget(f"{amount!r}{unit}")
    sizes = {"batch_size": batch_size, "steps_per_epoch": steps_per_epoch, "train_flops_per_image": flops}
    spending, refusal = try_out(lambda: plan_spending(budget, **sizes))
    if spending is None:
        assert "Give at least that" in refusal
        return
    if spending.step_cost is None or spending.total_steps is None:
        assert spending.step_cost is spending.total_steps is None
        assert budget.unit == "s"
        return
    total, rounding = spending.total_steps, 1e-9 * budget.amount
    assert total >= 1
    assert total * spending.step_cost >= budget.amount - rounding
    assert (total - 1) * spending.step_cost <= budget.amount + rounding
    assert spending.overshoot(steps=total, train_clock_s=0.0) <= spending.step_cost + rounding
    assert spending.fraction(steps=total, train_clock_s=0.0) == 1.0


@given(st.floats(1, 1e6), st.lists(st.floats(0, 1e7), min_size=2, max_size=20))
@settings(deadline=None)
def test_the_spent_fraction_of_a_budget_of_time_never_falls_and_never_passes_one(
    seconds: float, clock: list[float]
) -> None:
    spending = plan_spending(parse_budget(f"{seconds!r}s"), batch_size=1, steps_per_epoch=1)
    fractions = [spending.fraction(steps=7, train_clock_s=at) for at in sorted(clock)]
    assert fractions == sorted(fractions)
    assert all(0 <= fraction <= 1 for fraction in fractions)
    assert spending.fraction(steps=0, train_clock_s=seconds) == pytest.approx(1.0)
