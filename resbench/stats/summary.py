"""The rows of ``summary.csv``: a cell each, what its seeds have in common and what they average to.

Only trials that ended ``ok`` enter a figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resbench.analysis.metrics import METRICS
from resbench.stats.basics import mean, standard_deviation, t_half_width
from resbench.stats.cells import CELL, SETTINGS, group_cells, on_one_machine, split_cells
from resbench.stats.ranking import Ranking, rank

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_UNITS = ("%", "", "images/s", "ms", "MiB", "s")
"""The order of the averaged columns."""
_VARYING = [metric for metric in METRICS.values() if metric.summary and metric.role != "counted"]
AVERAGED = tuple(metric.column for metric in sorted(_VARYING, key=lambda metric: _UNITS.index(metric.unit)))
"""Columns of a summary that have a mean and a standard deviation over the seeds."""
WITHOUT_INTERVAL = tuple(name for name in AVERAGED if not METRICS[name].interval)
"""Those of them whose seeds are no independent draws from one distribution."""
CONSTANT = ("source", *(each.column for each in METRICS.values() if each.summary and each.role == "counted"))
"""Columns that do not depend on the seed and are carried over."""

RANKED = ("tier", "tier_reason", "tests", "detectable_gap", "detectable_gap_holm")
"""Columns of a summary that come from comparing a cell with the others of its group."""


@dataclass(frozen=True, eq=False)
class RankedGroup:
    """Cells that may be compared with each other, and what separates them."""

    cells: list[int]
    """Their places among all cells."""
    seeds: list[dict[int, int]]
    """For each the places of its trials with a test accuracy, by seed."""
    ranking: Ranking


def summarise(trials: pd.DataFrame) -> pd.DataFrame:
    """Returns one row a cell: how many trials were planned and ended ok, means over those, and what ranks it.

    Args:
        trials: The columns of ``trials.csv``.

    Returns:
        The columns of ``CELL``, ``SETTINGS`` and ``CONSTANT``; ``group``, a number that cells share which may be
        compared with each other; ``planned``, ``ok``, and ``n``, those with a test accuracy; for each column of
        ``AVERAGED`` its ``_mean``, its ``_sd`` and, but for ``WITHOUT_INTERVAL``, its ``_ci95``, half the width of the
        t-interval (empty for fewer than two seeds), of times and memory over seeds of one machine alone, see
        :func:`~resbench.stats.cells.on_one_machine`; and those of ``RANKED``: the tier, or why there is none, the
        number of tests in its group, and the smallest gaps to another model that the seeds would find, see
        :meth:`~resbench.stats.ranking.Ranking.gaps`. Cells keep the order in which they were planned.
    """
    import pandas as pd

    trials, places = split_cells(trials)
    trials = on_one_machine(trials)
    carried = [*CELL, *SETTINGS, *CONSTANT]
    rows = cell_rows(trials, places, carried)
    figures = {column: trials[column].to_numpy(dtype=float, na_value=math.nan) for column in AVERAGED}
    is_ok = (trials["status"] == "ok").to_numpy()
    for row, cell in zip(rows, places, strict=True):
        for column, figure in figures.items():
            values = [value for value in figure[cell[is_ok[cell]]].tolist() if not math.isnan(value)]
            row[f"{column}_mean"] = mean(values)
            row[f"{column}_sd"] = standard_deviation(values)
            row[f"{column}_ci95"] = t_half_width(values)
    for number, group in enumerate(ranked_groups(trials, places, rows), start=1):
        for model, index in enumerate(group.cells):
            alone, corrected = group.ranking.gaps(model) or (None, None)
            rows[index] |= {
                "group": number,
                "n": len(group.seeds[model]),
                "tier": group.ranking.tiers[model] or math.nan,
                "tier_reason": group.ranking.reasons[model] or math.nan,
                "tests": group.ranking.number_of_tests,
                "detectable_gap": rounded(alone),
                "detectable_gap_holm": rounded(corrected),
            }
    averages = [
        f"{column}{end}"
        for column in AVERAGED
        for end in ("_mean", "_sd", "_ci95")
        if end != "_ci95" or column not in WITHOUT_INTERVAL
    ]
    summary = pd.DataFrame(rows, columns=[*carried, "group", "planned", "ok", "n", *averages, *RANKED])
    dtypes = {column: trials[column].dtype for column in carried}
    return summary.astype(dtypes | dict.fromkeys([*averages, "detectable_gap", "detectable_gap_holm"], float))


def cell_rows(trials: pd.DataFrame, places: list[NDArray[np.intp]], carried: Sequence[str]) -> list[dict[str, Any]]:
    """Returns for each cell what its trials share, ``None`` where none knows it, and how many there are.

    Args:
        trials: As :func:`~resbench.stats.cells.split_cells` returns them.
        places: Likewise.
        carried: The columns that are shared.
    """
    known = {column: (trials[column].tolist(), trials[column].notna().to_numpy()) for column in carried}
    is_ok = (trials["status"] == "ok").to_numpy()
    return [
        {
            **{column: _first(*known[column], cell) for column in carried},
            "planned": len(cell),
            "ok": int(is_ok[cell].sum()),
        }
        for cell in places
    ]


def ranked_groups(
    trials: pd.DataFrame, places: list[NDArray[np.intp]], rows: Sequence[dict[str, Any]]
) -> Iterator[RankedGroup]:
    """Yields the groups of cells that may be compared, in the order in which they were planned.

    Args:
        trials: As :func:`~resbench.stats.cells.split_cells` returns them.
        places: Likewise.
        rows: A dict a cell, with ``ok`` and the columns of ``SHARED``.
    """
    import numpy as np

    accuracy = trials["test_accuracy"].to_numpy(dtype=float, na_value=math.nan)
    counts = (trials["status"] == "ok").to_numpy() & ~np.isnan(accuracy)
    seed = trials["seed"].tolist()
    for members in group_cells(rows):
        seeds = [{seed[place]: place for place in places[index][counts[places[index]]].tolist()} for index in members]
        column_of = {
            value: column for column, value in enumerate(sorted({value for found in seeds for value in found}))
        }
        accuracies = np.full((len(members), len(column_of)), math.nan)
        for model, found in enumerate(seeds):
            accuracies[model, [column_of[value] for value in found]] = accuracy[[*found.values()]]
        yield RankedGroup(members, seeds, rank(accuracies, [rows[index]["planned"] for index in members]))


def rounded(value: float | None, digits: int = 9) -> float | None:
    """Cuts a computed figure to digits that do not depend on the machine it was computed on; ``None`` for NaN."""
    return None if value is None or math.isnan(value) else float(f"{value:.{digits}g}")


def _first(values: list[Any], present: NDArray[np.bool_], cell: NDArray[np.intp]) -> Any:
    """Returns the first value of a cell that is there."""
    there = present[cell]
    return values[cell[there.argmax()]] if there.any() else None
