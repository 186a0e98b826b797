"""How much a trial may spend on training, and how much of it is spent.

A budget is a number and a unit: ``26ep`` (passes over the training set), ``2000steps``, ``500000img``,
``10min`` or ``90s`` (of the train clock: data + step), ``5e15flop`` (training FLOPs, forward and backward).
A trial stops with the first step that reaches its budget; how far that step went past it is the overshoot.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal

from resbench.errors import InputError

UNITS = {
    "ep": "passes over the training set",
    "steps": "optimizer steps",
    "img": "training images",
    "s": "seconds of the train clock",
    "min": "minutes of the train clock",
    "flop": "training FLOPs",
}
_PATTERN = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)
_EXAMPLES = "26ep, 2000steps, 500000img, 10min, 90s, 5e15flop"
_LARGEST = 1e30  # more than any training spends in any unit, and no product of it overflows
_ROUNDING = 1e-12  # relative: by how much two floats that mean the same amount may differ; far less than a step


@dataclass(frozen=True)
class Budget:
    """An amount of one unit; minutes are kept as seconds."""

    amount: float
    unit: str
    """``ep``, ``steps``, ``img``, ``s`` or ``flop``."""

    def __str__(self) -> str:
        """Returns the canonical form, which parses back to the same budget."""
        if self.unit == "s" and self.amount % 60 == 0:
            return f"{_number(self.amount / 60)}min"
        return f"{_number(self.amount)}{self.unit}"


def parse_budget(text: str) -> Budget:
    """Reads a budget.

    Args:
        text: A positive number and one of the units ``ep steps img s min flop``.

    Raises:
        InputError: It is not a number and a unit, or the number is not positive and finite.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise InputError(f"cannot read the budget {text!r}. Give a number and a unit, such as {_EXAMPLES}.")
    amount, unit = float(match[1]), match[2].lower()
    if unit not in UNITS:
        given = f"the unit {unit!r}" if unit else "no unit"
        listed = ", ".join(f"{name} ({meaning})" for name, meaning in UNITS.items())
        raise InputError(f"the budget {text!r} has {given}. Accepted: {listed}; for example {_EXAMPLES}.")
    if unit == "min":
        amount, unit = amount * 60, "s"
    if amount <= 0:
        raise InputError(f"the budget {text!r} is not more than zero: it buys no training. For example {_EXAMPLES}.")
    if amount > _LARGEST:
        raise InputError(f"the budget {text!r} is more than any training can spend. For example {_EXAMPLES}.")
    return Budget(amount, unit)


@dataclass(frozen=True)
class Spending:
    """A budget in terms of one trial: what a step costs, and so how many steps it buys."""

    budget: Budget
    step_cost: float | None
    """What one step spends of the budget, in its unit; ``None`` for seconds, which only a clock knows."""

    @property
    def total_steps(self) -> int | None:
        """How many steps reach the budget, or ``None`` where only a clock can tell."""
        if self.step_cost is None:
            return None
        return math.ceil(self.budget.amount / self.step_cost * (1 - _ROUNDING))

    def fraction(self, *, steps: int, train_clock_s: float) -> float:
        """Returns the fraction of the budget that is spent, 0..1; schedules follow it."""
        spent = train_clock_s / self.budget.amount if self.total_steps is None else steps / self.total_steps
        return min(1.0, spent)

    def overshoot(self, *, steps: int, train_clock_s: float) -> float:
        """Returns how much more than the budget was spent, in its unit (negative: it stopped early)."""
        spent = train_clock_s if self.step_cost is None else steps * self.step_cost
        exact = math.isclose(spent, self.budget.amount, rel_tol=_ROUNDING)  # 49 steps of 1/49 epoch are one epoch
        return 0.0 if exact else spent - self.budget.amount


def plan_spending(
    budget: Budget, *, batch_size: int, steps_per_epoch: int, train_flops_per_image: int | None = None
) -> Spending:
    """Says what one step costs in the budget's unit.

    Args:
        budget: What may be spent.
        batch_size: Images a step.
        steps_per_epoch: Full batches in the training set.
        train_flops_per_image: Forward and backward; needed for a budget of FLOPs.

    Raises:
        InputError: The budget buys not even one step (the message says what would), or counts FLOPs where none are
            counted.
    """
    if budget.unit == "s":
        return Spending(budget, None)
    if budget.unit == "flop" and not train_flops_per_image:
        raise InputError(
            f"the budget {budget} counts FLOPs, and of this network none can be counted. Give a budget of epochs (ep), "
            "steps, images (img) or seconds (s)."
        )
    cost = {
        "ep": 1 / steps_per_epoch,
        "steps": 1.0,
        "img": float(batch_size),
        "flop": float(batch_size * (train_flops_per_image or 0)),
    }[budget.unit]
    if budget.amount < cost * (1 - _ROUNDING):
        raise InputError(
            f"the budget {budget} buys {budget.amount / cost:.2g} of a step; a step of {batch_size} images takes "
            f"{_rounded_up(cost)}{budget.unit}. Give at least that."
        )
    return Spending(budget, cost)


def _number(value: float) -> str:
    """Writes a number without a trailing ``.0`` and large ones in exponent form, so that it parses back."""
    if value.is_integer() and value < 1e9:
        return str(int(value))
    return str(Decimal(repr(value)).normalize()).lower().replace("e+", "e")


def _rounded_up(value: float) -> str:
    """Writes a number to three significant digits, rounded up; whole numbers as they are unless they are large."""
    if value.is_integer() and value < 1e9:
        return _number(value)
    return _number(float(Context(prec=3, rounding=ROUND_CEILING).create_decimal(repr(value))))
