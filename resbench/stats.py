"""Means and spreads over seeds: a cell is a trial less its seed, and only ``ok`` trials enter a mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

CELL = (
    "model",
    "stem",
    "dataset",
    "dataset_fingerprint",
    "input",
    "recipe",
    "budget",
    "weights",
    "precision",
    "memory_format",
    "batch_size",
)
"""The planned columns that two trials share when only their seeds differ."""

SETTINGS = ("device_name", "tf32", "compiled", "compile_mode", "cuda_graph")
"""What a trial found where it ran. Seeds that differ in one of these are two cells, never one mean."""

AVERAGED = (
    "test_accuracy",
    "best_test_accuracy",
    "train_accuracy",
    "test_loss",
    "train_images_per_second",
    "inference_images_per_second",
    "latency_ms_p50",
    "step_ms_p50",
    "step_ms_p90",
    "forward_ms",
    "backward_ms",
    "peak_memory_allocated_mib",
    "inference_memory_mib",
    "train_clock_s",
    "wall_s",
)
"""Columns of a summary that have a mean and a standard deviation over the seeds."""

CONSTANT = (
    "source",
    "params",
    "trainable_params",
    "macs",
    "forward_flops",
    "train_flops_per_image",
    "activations",
)
"""Columns that do not depend on the seed and are carried over."""


def mean(values: Sequence[float]) -> float | None:
    """Returns the arithmetic mean, or ``None`` where there are no values."""
    return math.fsum(values) / len(values) if values else None


def standard_deviation(values: Sequence[float]) -> float | None:
    """Returns the sample standard deviation (n - 1), or ``None`` for fewer than two values."""
    if len(values) < 2:
        return None
    centre = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def t_half_width(values: Sequence[float], *, confidence: float = 0.95) -> float | None:
    """Returns half the width of the t-interval of the mean, or ``None`` for fewer than two values.

    The interval is mean +- t * s / sqrt(n), with t the two-sided quantile at n - 1 degrees of freedom.
    """
    from scipy.special import stdtrit  # what scipy.stats.t.ppf calls, without the second that its import takes

    spread = standard_deviation(values)
    if spread is None:
        return None
    return float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * spread / math.sqrt(len(values))


def welch_p(base: Sequence[float], new: Sequence[float]) -> float | None:
    """Returns the two-sided p of Welch's t-test, or ``None`` where a side has fewer than two values.

    Two sides without any spread differ for certain (0) or not at all (1).
    """
    from scipy.stats import ttest_ind

    if len(base) < 2 or len(new) < 2:
        return None
    if len(set(base)) == 1 and len(set(new)) == 1:
        return 1.0 if base[0] == new[0] else 0.0
    return float(ttest_ind(base, new, equal_var=False).pvalue)


def summarise(trials: pd.DataFrame) -> pd.DataFrame:
    """Returns one row a cell: how many trials were planned and ended ok, and means over those.

    Args:
        trials: The columns of ``trials.csv``.

    Returns:
        The columns of ``CELL``, ``SETTINGS``, ``CONSTANT``, ``planned``, ``ok``, and for each column of
        ``AVERAGED`` its ``_mean`` and ``_sd`` (empty for fewer than two seeds), plus ``test_accuracy_ci95``,
        the half-width of the t-interval. Cells keep the order in which they were planned.
    """
    import pandas as pd

    trials, places = split_cells(trials)
    carried = [*CELL, *SETTINGS, *CONSTANT]
    known = {column: (trials[column].tolist(), trials[column].notna().to_numpy()) for column in carried}
    figures = {column: trials[column].to_numpy(dtype=float, na_value=math.nan) for column in AVERAGED}
    is_ok = (trials["status"] == "ok").to_numpy()
    rows = []
    for cell in places:
        ok = cell[is_ok[cell]]
        row: dict[str, Any] = {column: _first(*known[column], cell) for column in carried}
        row |= {"planned": len(cell), "ok": len(ok)}
        for column, figure in figures.items():
            values = [value for value in figure[ok].tolist() if not math.isnan(value)]
            row[f"{column}_mean"] = mean(values)
            row[f"{column}_sd"] = standard_deviation(values)
            if column == "test_accuracy":
                row["test_accuracy_ci95"] = t_half_width(values)
        rows.append(row)
    averages = [f"{column}{end}" for column in AVERAGED for end in ("_mean", "_sd")]
    averages.append("test_accuracy_ci95")
    summary = pd.DataFrame(rows, columns=[*carried, "planned", "ok", *averages])
    dtypes = {column: trials[column].dtype for column in carried} | dict.fromkeys(averages, float)
    return summary.astype(dtypes)


def cells(trials: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Splits trials into cells, in the order in which they were planned.

    A trial that never ran does not know its ``SETTINGS``; it takes those of the other seeds of its cell.

    Args:
        trials: The columns of ``trials.csv``.

    Yields:
        The rows of one cell, with ``train_clock_s`` (data + step) as a further column.
    """
    trials, places = split_cells(trials)
    for cell in places:
        yield trials.iloc[cell]


def split_cells(trials: pd.DataFrame) -> tuple[pd.DataFrame, list[NDArray[np.intp]]]:
    """Finds the cells without copying their rows.

    Args:
        trials: The columns of ``trials.csv``.

    Returns:
        The trials as :func:`cells` yields them, and for each cell the places of its rows among them, ascending.
    """
    import numpy as np

    shared = (trials["concurrent_seeds"] > 1).fillna(False).astype(bool)  # its clock is not the trial's own
    trials = trials.assign(train_clock_s=(trials["data_s"] + trials["step_s"]).mask(shared))
    planned = trials.groupby(list(CELL), sort=False, dropna=False)
    for column in SETTINGS:
        trials[column] = trials[column].where(trials[column].notna(), planned[column].transform("first"))
    cell_of = trials.groupby([*CELL, *SETTINGS], sort=False, dropna=False).ngroup().to_numpy()
    starts = np.cumsum(np.bincount(cell_of))[:-1]
    places = np.split(np.argsort(cell_of, kind="stable"), starts)
    return trials, places if len(trials) else []


def _first(values: list[Any], present: NDArray[np.bool_], cell: NDArray[np.intp]) -> Any:
    """Returns the first value of a cell that is there."""
    there = present[cell]
    return values[cell[there.argmax()]] if there.any() else None
