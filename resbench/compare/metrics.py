"""What is compared, and how large a difference must be to count: thresholds, and the noise floor that was measured."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from resbench.analysis.metrics import COMPARED
from resbench.errors import InputError, unknown

if TYPE_CHECKING:
    from resbench.store import Results


@dataclass(frozen=True)
class Thresholds:
    """The smallest difference that counts. Relative ones are fractions of the base."""

    accuracy: float = 0.3
    """Percentage points of test accuracy."""
    throughput: float = 0.05
    """Relative: images/s, in training and in inference."""
    latency: float = 0.05
    """Relative: milliseconds of one image's forward pass and of one training step."""
    memory: float = 0.05
    """Relative: MiB at the peak."""


@dataclass(frozen=True)
class Metric:
    """A column that is compared."""

    name: str
    source: str
    threshold: str
    """The field of :class:`Thresholds` that decides."""
    higher_is_better: bool

    @property
    def is_accuracy(self) -> bool:
        """Whether it is a fraction that is compared in percentage points, on any machine."""
        return self.threshold == "accuracy"

    @property
    def scale(self) -> float:
        """What a stored value is multiplied by to be in the metric's unit: accuracies are compared in percent."""
        return 100.0 if self.is_accuracy else 1.0

    def change(self, base: float, new: float) -> float:
        """Returns new less base: points for an accuracy, a fraction of the base (perhaps infinite) for the others."""
        difference = new - base
        if self.is_accuracy or not difference:
            return difference
        return difference / base if base else math.copysign(math.inf, difference)


METRICS = tuple(Metric(each.header, each.column, each.kind, each.better == "max") for each in COMPARED)


METRIC_COLUMNS = tuple(metric.source for metric in METRICS)


@dataclass(frozen=True)
class Limit:
    """What a change must exceed to count: in points for an accuracy, as a fraction of the base for the others."""

    threshold: float
    noise_floor: float | None = None
    """``None`` where none was measured, or the metric is an accuracy, whose noise is its seeds'."""

    @property
    def size(self) -> float:
        """The larger of the two."""
        return max(self.threshold, self.noise_floor or 0.0)

    @property
    def decided_by(self) -> str:
        """Which of the two that is: ``threshold`` or ``noise floor``."""
        return "noise floor" if self.size > self.threshold else "threshold"

    def exceeded_by(self, change: float) -> bool:
        """Whether a change is larger; one that equals the limit but for binary rounding is not."""
        return abs(change) > self.size * (1 + 1e-9) + 1e-12  # 90.0 less 89.7 is a little more than 0.3


def noise_floors(*folders: Results) -> dict[str, float]:
    """Returns the largest noise floor that was measured of each column, as a fraction; columns without are left out.

    Args:
        *folders: Whose ``noise_floor`` events count.
    """
    floors: dict[str, float] = {}
    for folder in folders:
        for event in folder.noise_floors:
            for column, value in event["relative"].items():
                if value is not None:
                    floors[column] = max(floors.get(column, 0.0), abs(value))
    return floors


def repeatability(*folders: Results) -> dict[str, tuple[float, int]]:
    """Returns by column how far readings of one trial deviate, and the degrees of freedom of that.

    The readings are the trial's own and those of every ``noise_floor`` event of it (A/A); deviations are of the
    logarithm, about relative ones, and pooled over trials and folders. Columns without a pair are left out.

    Args:
        *folders: Whose events count.
    """
    from resbench.stats import standard_deviation

    readings: dict[tuple[str, int, str], list[float]] = {}
    for place, folder in enumerate(folders):
        for event in folder.noise_floors:
            first, again = event.get("first", {}), event.get("again", {})
            for column in METRIC_COLUMNS:
                pair = [first.get(column) or 0.0, again.get(column) or 0.0]
                if min(pair) > 0:
                    known = readings.setdefault((column, place, str(event.get("trial_id"))), [math.log(pair[0])])
                    known.append(math.log(pair[1]))
    squares: dict[str, float] = defaultdict(float)
    freedom: dict[str, int] = defaultdict(int)
    for (column, *_), values in readings.items():
        squares[column] += (len(values) - 1) * (standard_deviation(values) or 0.0) ** 2
        freedom[column] += len(values) - 1
    return {column: (math.sqrt(squares[column] / freedom[column]), freedom[column]) for column in freedom}


def limit_of(metric: Metric, thresholds: Thresholds, floors: dict[str, float]) -> Limit:
    """Returns what a change of a metric must exceed.

    Args:
        metric: What is compared.
        thresholds: The smallest differences that count.
        floors: From :func:`noise_floors`.
    """
    threshold = getattr(thresholds, metric.threshold)
    return Limit(threshold, None if metric.is_accuracy else floors.get(metric.source))


def parse_thresholds(text: str) -> Thresholds:
    """Reads ``accuracy=0.3,throughput=5%``; what is not named keeps its default.

    Accuracy is in percentage points, with or without a ``%``; the others are relative, as ``5%`` or ``0.05``.

    Raises:
        InputError: An unknown name, a name given twice, or a number that is negative or none at all.
    """
    accepted = [field.name for field in fields(Thresholds)]
    values: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, _, number = (piece.strip() for piece in part.partition("="))
        if key not in accepted:
            raise unknown("threshold", key, accepted)
        if key in values:
            raise InputError(f"the threshold {key!r} is given twice in {text!r}.")
        try:
            value = float(number.removesuffix("%"))
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise InputError(
                f"{part!r} is not a threshold: give a number that is not negative, such as accuracy=0.3 "
                "(percentage points) or throughput=5% (relative)."
            )
        if key != "accuracy" and not number.endswith("%") and value >= 1:
            raise InputError(
                f"{part!r} would let everything up to {100 * value:g} % pass. Give {key}={value:g}% for {value:g} %, "
                f"or {key}={100 * value:g}% if that is meant."
            )
        values[key] = value / 100 if number.endswith("%") and key != "accuracy" else value
    return Thresholds(**values)
