"""What a benchmark leaves: a row with a median, its spread and a target; and the interleaved measuring of ratios."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from resbench.report.numbers import significant

CLASSES = 10
SIZE = 32
"""Height and width of the images, CIFAR-10's."""
REPEATS = 5
"""Pairs that count, at least; one more is measured first and dropped."""


@dataclass(frozen=True)
class Row:
    """One line of the table and of the CSV file."""

    benchmark: str
    """Such as ``harness / bare``."""
    subject: str
    """What was measured: network, stem, batch size, precision, or how many trials."""
    unit: str
    """``ratio``, ``s``, ``MiB``."""
    median: float
    low: float
    high: float
    repeats: int
    """Values that the median is of; the first, which was dropped, is not among them."""
    target: str = ""
    """Such as ``>= 0.97`` or ``< 0.4``; empty where the row only informs."""
    detail: str = ""
    """The figures behind the ratio, in words."""

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; ``None`` without one."""
        if not self.target:
            return None
        sign, limit = self.target.split()
        return {">=": self.median >= float(limit), "<": self.median < float(limit)}[sign]

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields and ``met`` as JSON types, in the order of the CSV file."""
        return {**asdict(self), "met": self.met}


COLUMNS = (*(field.name for field in fields(Row)), "met")


def row_of(
    benchmark: str, subject: str, values: list[float], *, unit: str = "ratio", target: str = "", detail: str = ""
) -> Row:
    """Returns the row of repeated values: their median and their extremes.

    Raises:
        ValueError: There are no values.
    """
    return Row(
        benchmark,
        subject,
        unit,
        median=statistics.median(values),
        low=min(values),
        high=max(values),
        repeats=len(values),
        target=target,
        detail=detail,
    )


@dataclass(frozen=True)
class Pairs:
    """Rates of two contenders, measured in turn."""

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """First over second, pair by pair: what slows the machine down for a while slows both of a pair."""
        return [a / b for a, b in zip(self.first, self.second, strict=True)]

    def detail(self, first: str, second: str, unit: str) -> str:
        """Says both medians in words."""
        a, b = statistics.median(self.first), statistics.median(self.second)
        return f"{first} {significant(a)} {unit}, {second} {significant(b)} {unit}"


def measure_pairs(first: Callable[[], float], second: Callable[[], float], *, repeats: int = REPEATS) -> Pairs:
    """Calls two measurements in turn, A B A B, and drops the first pair.

    Args:
        first: Measures the first contender once and returns its rate (more is better).
        second: The same for the second.
        repeats: Pairs that count.
    """
    pairs = [(first(), second()) for _ in range(repeats + 1)][1:]
    return Pairs(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


@dataclass(frozen=True)
class Setting:
    """What the command line decides for every benchmark."""

    device: str
    """Resolved: ``cpu``, ``cuda``, ``cuda:1``."""
    models: tuple[str, ...]
    stem: str
    batch_size: int
    precision: str
    """Resolved: ``fp32``, ``tf32`` or ``bf16``."""
    dataset: str
    """``noise`` (of CIFAR-10's shape), or a dataset as in a suite."""
    repeats: int = REPEATS
    seconds: float = 3.0
    """About how long one measurement of one contender takes."""


Benchmark = Callable[[Setting], Iterator[Row]]
"""Yields its rows one by one, each as soon as it is measured."""
