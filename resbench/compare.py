"""Compares two results folders cell by cell: what got better or worse, what cannot be compared and why.

A difference counts where it is larger than its threshold and, where both sides have at least two seeds, Welch's
t-test gives p < 0.05. Accuracy needs the same learning (data, recipe, budget, batch, precision, compiled or
not); speed and memory need the same machine and software besides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import TYPE_CHECKING, Any

from resbench.errors import InputError, unknown
from resbench.report.comparison import Comparison, ComparisonRow
from resbench.report.groups import describe, model_label
from resbench.report.numbers import present
from resbench.stats import cells, mean, welch_p

if TYPE_CHECKING:
    import pandas as pd

    from resbench.store import Results

SIGNIFICANCE = 0.05
"""The p below which Welch's test calls two means different."""

LEARNING = (
    "model", "stem", "weights", "input", "dataset", "dataset_fingerprint", "recipe", "budget", "batch_size",
    "precision", "tf32", "compiled", "compile_mode",
)  # fmt: skip
"""What must agree before two accuracies, or anything else, may be compared."""

SPEED = (
    "memory_format", "cuda_graph", "device_name", "driver", "torch", "cuda", "cudnn", "host_cpu",
    "cpu_threads",
)  # fmt: skip
"""What must agree besides before two times or two amounts of memory may be compared."""


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


METRICS = (
    Metric("test accuracy (%)", "test_accuracy", "accuracy", True),
    Metric("train images/s", "train_images_per_second", "throughput", True),
    Metric("inference images/s", "inference_images_per_second", "throughput", True),
    Metric("latency p50 (ms)", "latency_ms_p50", "latency", False),
    Metric("step p50 (ms)", "step_ms_p50", "latency", False),
    Metric("train memory (MiB)", "peak_memory_allocated_mib", "memory", False),
    Metric("inference memory (MiB)", "inference_memory_mib", "memory", False),
)


def parse_thresholds(text: str) -> Thresholds:
    """Reads ``accuracy=0.3,throughput=5%``; what is not named keeps its default.

    Accuracy is in percentage points, with or without a ``%``; the others are relative, as ``5%`` or ``0.05``.

    Raises:
        InputError: An unknown name, a name given twice, or a number that is negative or none at all.
    """
    accepted = [field.name for field in fields(Thresholds)]
    values: dict[str, float] = {}
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
        values[key] = value / 100 if number.endswith("%") and key != "accuracy" else value
    return Thresholds(**values)


def compare(base: Results, new: Results, thresholds: Thresholds | None = None) -> Comparison:
    """Compares every cell of ``base`` with the cell of ``new`` that has the same identity.

    Args:
        base: The results that were.
        new: The results that are.
        thresholds: The smallest differences that count.
    """
    thresholds = thresholds or Thresholds()
    left, left_over = [*cells(base.trials)], [*cells(new.trials)]
    rows: list[ComparisonRow] = []
    pairs: dict[int, pd.DataFrame] = {}
    # Cells that agree in everything find each other first; the rest take what is nearest of the same model.
    for exact in (True, False):
        for index, cell in enumerate(left):
            found = None if index in pairs else _nearest(cell, left_over, exact=exact)
            if found is not None:
                pairs[index] = left_over.pop(found)
    for index, cell in enumerate(left):
        if index in pairs:
            rows += _compare_cells(cell, pairs[index], thresholds)
        else:
            rows.append(ComparisonRow(*_names(cell), "all", "not comparable", note="not in NEW"))
    rows += [ComparisonRow(*_names(cell), "all", "not comparable", note="not in BASE") for cell in left_over]
    return Comparison(rows)


def _nearest(cell: pd.DataFrame, candidates: Sequence[pd.DataFrame], *, exact: bool) -> int | None:
    """Returns the index of the candidate of the same model that differs in the fewest fields."""
    counted = [
        (len(_differing(cell, other, LEARNING)), len(_differing(cell, other, SPEED)), index)
        for index, other in enumerate(candidates)
        if other["model"].iloc[0] == cell["model"].iloc[0]
    ]
    if not counted or (exact and min(counted)[0] > 0):
        return None
    return min(counted)[2]


def _differing(base: pd.DataFrame, new: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Returns the columns in which two cells differ; what a cell that failed never knew is no difference."""
    differing = []
    for column in columns:
        left, right = (_known(cell, column) for cell in (base, new))
        never_ran = not (_ok(base) and _ok(new))
        if left != right and not (never_ran and (not left or not right)):
            differing.append(column)
    return differing


def _known(cell: pd.DataFrame, column: str) -> set[Any]:
    """Returns the values of a column, of the ``ok`` trials where there are any."""
    ok = cell[cell["status"] == "ok"]
    return {value for value in (ok if len(ok) else cell)[column] if present(value)}


def _ok(cell: pd.DataFrame) -> set[int]:
    """Returns the seeds that ended ``ok``."""
    return set(cell.loc[cell["status"] == "ok", "seed"])


def _compare_cells(base: pd.DataFrame, new: pd.DataFrame, thresholds: Thresholds) -> Iterator[ComparisonRow]:
    """Yields the rows of two cells of one model."""
    model, where = _names(base)
    learning = _differing(base, new, LEARNING)
    if learning:
        note = _explain(base, new, learning)
        yield ComparisonRow(model, where, "all", "not comparable", note=note)
        return
    if not _ok(base):
        note = f"no ok trial in BASE: {', '.join(sorted(set(base['status'])))}"
        yield ComparisonRow(model, where, "all", "not comparable", note=note)
        return
    failed = new[(new["status"] != "ok") & (new["seed"].isin(_ok(base)) | (not _ok(new)))]
    if len(failed):
        how = "; ".join(f"seed {seed} {status}" for seed, status in zip(failed["seed"], failed["status"], strict=True))
        yield ComparisonRow(model, where, "status", "new failure", note=f"{how}; ok in BASE")
    if not _ok(new):
        return
    speed = _differing(base, new, SPEED)
    for metric in METRICS:
        left, right = (_values(cell, metric) for cell in (base, new))
        if not left and not right:
            continue
        if not left or not right:
            note = f"not measured in {'NEW' if left else 'BASE'}"
        elif speed and not metric.is_accuracy:
            note = _explain(base, new, speed)
        else:
            yield judge(model, where, metric, left, right, thresholds)
            continue
        yield ComparisonRow(
            model,
            where,
            metric.name,
            "not comparable",
            mean(left),
            mean(right),
            points=metric.is_accuracy,
            note=note,
        )


def judge(
    model: str,
    cell: str,
    metric: Metric,
    base: Sequence[float],
    new: Sequence[float],
    thresholds: Thresholds,
) -> ComparisonRow:
    """Says whether a metric got better or worse.

    Args:
        model: Whose metric it is.
        cell: The rest of its identity, in words.
        metric: What the values are.
        base: One value a seed, at least one; accuracies in percent.
        new: Likewise.
        thresholds: The smallest differences that count.
    """
    before, after = fmean(base), fmean(new)
    change = after - before
    if not metric.is_accuracy:
        change = change / before if before else (0.0 if not change else math.copysign(math.inf, change))
    p = welch_p(base, new)
    # 90.0 less 89.7 is a little more than 0.3 in binary.
    large = abs(change) > getattr(thresholds, metric.threshold) * (1 + 1e-9) + 1e-12
    if not large or (p is not None and p >= SIGNIFICANCE):
        verdict = "same"
    else:
        verdict = "better" if (change > 0) == metric.higher_is_better else "worse"
    notes = []
    if p is None:
        notes.append("one seed: threshold only")
    elif large and verdict == "same":
        notes.append("above the threshold, not significant")
    return ComparisonRow(
        model,
        cell,
        metric.name,
        verdict,
        before,
        after,
        change if math.isfinite(change) else None,
        p,
        metric.is_accuracy,
        "; ".join(notes),
    )


def _values(cell: pd.DataFrame, metric: Metric) -> list[float]:
    """Returns the values of the ``ok`` trials, accuracies in percent."""
    scale = 100.0 if metric.is_accuracy else 1.0
    return [scale * float(value) for value in cell.loc[cell["status"] == "ok", metric.source].dropna()]


def _names(cell: pd.DataFrame) -> tuple[str, str]:
    """Returns what to call a cell: its model, and the rest of what tells it apart."""
    first = cell.iloc[0]
    words = [describe(column, first[column]) for column in ("dataset", "stem", "budget", "batch_size", "precision")]
    return model_label(first["model"], first["weights"]), ", ".join(words)


def _explain(base: pd.DataFrame, new: pd.DataFrame, columns: Sequence[str]) -> str:
    """Names the fields that differ, with both values."""

    def values(cell: pd.DataFrame, column: str) -> str:
        return "/".join(sorted(str(value)[:40] for value in _known(cell, column))) or "unknown"

    return "; ".join(f"{column}: {values(base, column)} -> {values(new, column)}" for column in columns)
