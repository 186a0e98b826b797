"""What one arm costs against another, in words: ratios with a direction, and only of what may be divided."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from resbench.report.experiments.runs import ArmRun
from resbench.report.numbers import names, significant
from resbench.stats import LEARNING, SPEED, mean

COUNTED = 0.05
"""Relative differences of a measured speed or memory up to this are not counted, as in :mod:`resbench.compare`."""
_ROUNDING = 1e-6  # of a binary fraction, when it is rounded up

_IDENTITY = {
    "model": "network",
    "weights": "weights",
    "recipe": "recipe",
    "stem": "stem",
    "dataset": "data",
    "input": "input",
    "batch_size": "batch",
    "budget": "budget",
    "cached_features": "cached features",
}
"""Columns in which two arms may be meant to differ."""
_ENGINE = tuple(
    name for name in (*LEARNING, *SPEED) if name not in (*_IDENTITY, "dataset_fingerprint", "micro_batch_size")
)
"""Columns that two arms must share for their speeds to be divided."""
_WORDS = {
    "device_name": "device",
    "devices": "number of devices",
    "compiled": "compilation",
    "tf32": "TF32",
    "cpu_threads": "CPU threads",
}
"""What some of them are called."""


@dataclass(frozen=True)
class _Cost:
    """One column whose ratio is told."""

    column: str
    words: str
    plural: bool = False
    """Whether it is counted (``fewer``) and not measured (``less``)."""
    inverse: bool = False
    """Whether the column is a rate: its reciprocal is what is told."""
    measured: bool = True
    in_training: bool = True
    """Whether a batch that ran in parts makes it incomparable."""


_MEASURED = (
    _Cost("train_images_per_second", "training time an image", inverse=True),
    _Cost("peak_memory_allocated_mib", "training memory"),
    _Cost("latency_ms_p50", "latency", in_training=False),
)
_COUNTED = (
    _Cost("macs", "MACs", plural=True, measured=False, in_training=False),
    _Cost("params", "parameters", plural=True, measured=False, in_training=False),
)


def differences(arm: ArmRun, other: ArmRun) -> Iterator[str]:
    """Says in what else than the network two arms differ; nothing where the network is all."""
    differing = [
        (column, words)
        for column, words in _IDENTITY.items()
        if set(arm.distinct(column)) != set(other.distinct(column))
    ]
    if [column for column, _ in differing] in ([], ["model"]):
        return
    told = [
        words if column == "model" else f"{words} ({_values(arm, column)} against {_values(other, column)})"
        for column, words in differing
    ]
    yield f"The two differ in {names(told, len(told))}."


def cost_sentences(arm: ArmRun, other: ArmRun, floors: dict[str, float]) -> Iterator[str]:
    """Says what an arm costs against another.

    Args:
        arm: With a trial that ended ``ok``.
        other: Likewise.
        floors: By column, how far the machine was from itself, as a fraction.
    """
    found = {cost: ratio for cost in (*_MEASURED, *_COUNTED) if (ratio := _ratio(cost, arm, other)) is not None}
    alike = [cost for cost in found if _is_alike(cost, found[cost], floors)]
    told = [
        names([ratio_words(found[cost], cost.words, plural=cost.plural) for cost in costs if cost in found], len(costs))
        for costs in ([c for c in part if c in found and c not in alike] for part in (_MEASURED, _COUNTED))
        if costs
    ]
    if told:
        yield f"Against {other.label}, {arm.label} takes {', with '.join(told)}."
    same = [cost.words for cost in alike if not cost.measured]
    if same:
        yield f"{_capital(names(same))} are the same."
    near: dict[float, list[str]] = {}
    for cost in alike:
        if cost.measured:
            near.setdefault(_limit(cost, floors), []).append(cost.words)
    for limit, words in near.items():
        why = "the noise that was measured here" if limit > COUNTED else "which does not count"
        verb = "differ" if len(words) > 1 else "differs"
        rounded_up = math.ceil(1000 * limit - _ROUNDING) / 10
        yield f"{_capital(names(words))} {verb} by {rounded_up:g} % or less, {why}."
    yield from _trained(arm, other)
    yield from _not_compared(arm, other)


def cost_words(arm: ArmRun, other: ArmRun, floors: dict[str, float]) -> str:
    """Says the same in a few words: training time and memory, or nothing where they may not be divided."""
    found = {cost: ratio for cost in _MEASURED[:2] if (ratio := _ratio(cost, arm, other)) is not None}
    told = [
        f"about the same {cost.words}" if _is_alike(cost, ratio, floors) else ratio_words(ratio, cost.words)
        for cost, ratio in found.items()
    ]
    return ", ".join(told)


def _ratio(cost: _Cost, arm: ArmRun, other: ArmRun) -> float | None:
    """Returns what an arm takes over what the other takes; ``None`` where the two may not be divided."""
    mine, theirs = (_mean(cost, each) for each in (arm, other))
    if not mine or not theirs or (cost.measured and _engine_differences(arm, other)):
        return None
    if cost.in_training and (arm.in_parts or other.in_parts):
        return None
    return mine / theirs


def _mean(cost: _Cost, arm: ArmRun) -> float | None:
    """Returns the mean of what an arm takes; of a rate the reciprocals are what it takes."""
    values = [float(value) for value in arm.values(cost.column)]
    return mean([1 / value for value in values if value] if cost.inverse else values)


def _limit(cost: _Cost, floors: dict[str, float]) -> float:
    """Returns up to which relative difference a measured cost is called alike."""
    return max(COUNTED, floors.get(cost.column, 0.0))


def _is_alike(cost: _Cost, ratio: float, floors: dict[str, float]) -> bool:
    """Says whether a ratio is none to tell of: equal where it is counted, within noise where it is measured."""
    return abs(ratio - 1) <= _limit(cost, floors) if cost.measured else ratio == 1


def _trained(arm: ArmRun, other: ArmRun) -> Iterator[str]:
    """Says how many parameters are trained, where these are not all."""
    mine, theirs = (each.mean("trainable_params") for each in (arm, other))
    if mine is None or theirs is None or [mine, theirs] == [each.mean("params") for each in (arm, other)]:
        return
    if mine == theirs:
        yield f"Both train {mine:,.0f} of their parameters."
    else:
        yield f"{arm.label} trains {mine:,.0f} of its parameters, {other.label} {theirs:,.0f}."


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def ratio_words(ratio: float, words: str, *, plural: bool = False) -> str:
    """Writes a ratio with its direction: ``16 % more latency``, ``3.2 % fewer MACs``, ``2.31 times the latency``.

    Args:
        ratio: Above 0, and not 1.
        words: What is divided.
        plural: Whether it is counted: ``fewer parameters`` and ``less latency``.
    """
    if not 0.5 < ratio < 2:
        return f"{significant(ratio, 3)} times the {words}"
    more = "more" if ratio > 1 else "fewer" if plural else "less"
    change = 100 * abs(ratio - 1)
    return f"{significant(change, 2) if change >= 0.01 else 'under 0.01'} % {more} {words}"


def _not_compared(arm: ArmRun, other: ArmRun) -> Iterator[str]:
    """Says why speeds are left out, where they are."""
    engine = _engine_differences(arm, other)
    if engine:
        yield f"Speed and memory are not compared: the arms differ in {names(engine, len(engine))}."
    elif arm.in_parts or other.in_parts:
        which = " and ".join(each.label for each in (arm, other) if each.in_parts)
        yield f"Training speed and memory are not compared: batches of {which} ran in parts, for memory ran out."


def _engine_differences(arm: ArmRun, other: ArmRun) -> list[str]:
    """Names what two arms do not share of settings, machine and software."""
    mine, theirs = ([row for row in each.ok if not row.get("elsewhere")] or each.ok for each in (arm, other))
    return [
        _WORDS.get(column, column.replace("_", " "))
        for column in _ENGINE
        if {row[column] for row in mine} != {row[column] for row in theirs}
    ]


def _values(arm: ArmRun, column: str) -> str:
    """Writes what an arm has in a column."""
    return ", ".join(str(value) for value in arm.distinct(column)) or "none"
