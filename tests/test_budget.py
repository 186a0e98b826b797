from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resbench.budget import UNITS, Budget, Spending, parse_budget, plan_spending
from resbench.errors import InputError

UNIT_NAMES = st.sampled_from(sorted(UNITS))


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("26ep", 26, "ep"),
        ("0.5ep", 0.5, "ep"),
        (".5ep", 0.5, "ep"),
        ("2000steps", 2000, "steps"),
        ("500000img", 500_000, "img"),
        ("5e5img", 500_000, "img"),
        ("90s", 90, "s"),
        ("10min", 600, "s"),
        ("0.1min", 6, "s"),
        ("5e15flop", 5e15, "flop"),
        ("+3ep", 3, "ep"),
        (" 3 EP ", 3, "ep"),
        ("1E3Steps", 1000, "steps"),
    ],
)
def test_a_number_and_a_unit_are_read(text: str, amount: float, unit: str) -> None:
    assert parse_budget(text) == Budget(amount, unit)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0ep", "not more than zero"),
        ("-1ep", "not more than zero"),
        ("1e-400ep", "not more than zero"),
        ("10parsecs", "the unit 'parsecs'"),
        ("5", "no unit"),
        ("1e400ep", "more than any training"),
        ("1e300ep", "more than any training"),
        ("1e30min", "more than any training"),
        ("", "cannot read"),
        ("ep", "cannot read"),
        ("nanep", "cannot read"),
        ("infep", "cannot read"),
        ("1,5ep", "cannot read"),
        ("1ep 2ep", "cannot read"),
        ("1_000img", "cannot read"),
        ("0x10ep", "cannot read"),
    ],
)
def test_a_bad_budget_is_refused_with_its_reason_and_an_example(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        parse_budget(text)
    assert repr(text) in str(caught.value)
    assert "26ep" in str(caught.value)


def test_every_unit_is_explained_where_one_is_unknown() -> None:
    with pytest.raises(InputError) as caught:
        parse_budget("10parsecs")
    for unit, meaning in UNITS.items():
        assert f"{unit} ({meaning})" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("26.0ep", "26ep"),
        ("0.50ep", "0.5ep"),
        ("1e6img", "1000000img"),
        ("5000000000000000flop", "5e15flop"),
        ("1234567890123flop", "1234567890123flop"),
        ("600s", "10min"),
        ("90s", "90s"),
        ("1.5min", "90s"),
        ("0.00001ep", "0.00001ep"),
    ],
)
def test_equal_budgets_have_one_canonical_form(text: str, canonical: str) -> None:
    assert str(parse_budget(text)) == canonical


@given(st.floats(min_value=1e-300, max_value=1e28), UNIT_NAMES)
def test_the_canonical_form_parses_back_to_the_same_budget(amount: float, unit: str) -> None:
    budget = parse_budget(f"{amount!r}{unit}")
    assert parse_budget(str(budget)) == budget


@given(st.integers(1, 10**12), UNIT_NAMES)
def test_the_canonical_form_of_whole_numbers_has_no_decimal_point_zero(amount: int, unit: str) -> None:
    assert not re.search(r"\.0*(e|[a-z])", str(parse_budget(f"{amount}{unit}")))


@pytest.mark.parametrize(
    ("text", "steps", "overshoot"),
    [
        ("1000img", 16, 24),
        ("64img", 1, 0),
        ("65img", 2, 63),
        ("20steps", 20, 0),
        ("2.5steps", 3, 0.5),
        ("2ep", 98, 0),
        ("0.5ep", 25, 0.5 / 49),
        ("1e9flop", 16, 16 * 64e6 - 1e9),
    ],
)
def test_the_last_step_reaches_the_budget_and_the_overshoot_is_in_its_unit(
    text: str, steps: int, overshoot: float
) -> None:
    spending = plan_spending(parse_budget(text), batch_size=64, steps_per_epoch=49, train_flops_per_image=1_000_000)
    assert spending.total_steps == steps
    assert spending.overshoot(steps=steps, train_clock_s=1.0) == pytest.approx(overshoot, rel=1e-9, abs=1e-15)


@given(st.integers(1, 1000), st.integers(1, 5000))
def test_whole_epochs_are_whole_steps_and_overshoot_by_exactly_nothing(epochs: int, steps_per_epoch: int) -> None:
    spending = plan_spending(Budget(epochs, "ep"), batch_size=8, steps_per_epoch=steps_per_epoch)
    assert spending.total_steps == epochs * steps_per_epoch
    assert spending.overshoot(steps=epochs * steps_per_epoch, train_clock_s=0.0) == 0.0


@given(st.floats(1, 1e5), st.floats(1e-3, 1))
def test_the_steps_are_the_fewest_that_reach_the_budget(amount: float, cost: float) -> None:
    spending = Spending(Budget(amount, "ep"), cost)
    total = spending.total_steps
    assert total is not None
    assert total * cost >= amount * (1 - 1e-9)
    assert (total - 1) * cost < amount


@given(st.floats(0.1, 100), st.integers(1, 200))
def test_the_fraction_rises_with_each_step_and_reaches_one_with_the_last(epochs: float, steps_per_epoch: int) -> None:
    spending = Spending(Budget(epochs, "ep"), 1 / steps_per_epoch)
    total = spending.total_steps
    assert total is not None
    fractions = [spending.fraction(steps=steps, train_clock_s=0.0) for steps in range(min(total, 300) + 1)]
    assert fractions[0] == 0
    assert fractions == sorted(set(fractions))
    assert spending.fraction(steps=total - 1, train_clock_s=0.0) < 1
    assert spending.fraction(steps=total, train_clock_s=0.0) == 1
    assert spending.fraction(steps=total + 5, train_clock_s=0.0) == 1


def test_a_budget_of_time_follows_the_train_clock_and_knows_no_number_of_steps() -> None:
    spending = plan_spending(parse_budget("2min"), batch_size=64, steps_per_epoch=10)
    assert spending.total_steps is None
    assert spending.fraction(steps=5, train_clock_s=30.0) == 0.25
    assert spending.fraction(steps=5, train_clock_s=121.0) == 1
    assert spending.overshoot(steps=5, train_clock_s=121.5) == 1.5
    assert spending.overshoot(steps=5, train_clock_s=100.0) == -20


@pytest.mark.parametrize(
    ("text", "needed"),
    [("63img", "64img"), ("0.99steps", "1steps"), ("0.02ep", "0.0205ep"), ("1flop", "6.45e10flop")],
)
def test_a_budget_below_one_step_says_what_a_step_takes_and_that_amount_is_accepted(text: str, needed: str) -> None:
    def steps(budget: str) -> int | None:
        spending = plan_spending(
            parse_budget(budget), batch_size=64, steps_per_epoch=49, train_flops_per_image=1_006_250_001
        )
        return spending.total_steps

    with pytest.raises(InputError, match="64 images") as caught:
        steps(text)
    assert f"takes {needed}." in str(caught.value)
    assert steps(needed) in (1, 2)


@given(st.integers(1, 10**15), st.integers(2, 10**6))
def test_the_amount_that_an_error_names_always_buys_a_step(flops_per_image: int, steps_per_epoch: int) -> None:
    def plan(budget: str) -> Spending:
        return plan_spending(
            parse_budget(budget), batch_size=1, steps_per_epoch=steps_per_epoch, train_flops_per_image=flops_per_image
        )

    for too_little in ("0.9flop", f"{0.4 / steps_per_epoch}ep"):
        with pytest.raises(InputError) as caught:
            plan(too_little)
        named = re.search(r"takes (\S+)\. Give", str(caught.value))
        assert named is not None
        assert plan(named[1]).total_steps in (1, 2)


@pytest.mark.parametrize("flops", [None, 0])
def test_a_budget_of_flops_is_refused_where_none_are_counted(flops: int | None) -> None:
    with pytest.raises(InputError, match=r"1e12flop counts FLOPs, and of this network none can be counted"):
        plan_spending(parse_budget("1e12flop"), batch_size=1, steps_per_epoch=1, train_flops_per_image=flops)
    spending = plan_spending(parse_budget("3ep"), batch_size=1, steps_per_epoch=2, train_flops_per_image=flops)
    assert spending.total_steps == 6
