"""Which trials belong together: a cell is a trial less its seed, a group is the cells that one table may compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from resbench.analysis.metrics import FOUND as SETTINGS
from resbench.analysis.metrics import LEARNING, MEASURED, SHARED
from resbench.analysis.metrics import MACHINE as SPEED
from resbench.analysis.metrics import PLANNED as CELL

__all__ = ["CELL", "LEARNING", "MEASURED", "SETTINGS", "SHARED", "SPEED", "cells", "on_one_machine", "split_cells"]

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_ONE_MACHINE = tuple(name for name in SPEED if name not in (*CELL, *SETTINGS))
"""In what trials of one cell, and of one table, may differ: their accuracies are comparable, times and memory not."""

_PLANNED = tuple(name for name in SHARED if name not in SETTINGS)
"""What every trial of a group knows of it, whether it ran or not."""
_FOUND = tuple(name for name in SHARED if name in SETTINGS)
"""What only a trial that ran knows."""


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


def on_one_machine(trials: pd.DataFrame) -> pd.DataFrame:
    """Empties times and memory that were measured elsewhere than most of what they would be compared with.

    Of the trials that share the columns of ``SHARED``, those count that agree in machine, software and measuring code
    with most others; of equally many, with the first.

    Args:
        trials: As :func:`split_cells` returns them.

    Returns:
        The trials with ``MEASURED`` emptied for the others, and ``elsewhere``: in what such a trial differs, ``None``
        for the rest.
    """
    import pandas as pd

    elsewhere = pd.Series(None, index=trials.index, dtype=object)
    ran = trials[trials["status"] == "ok"]
    machine = ran.groupby(list(_ONE_MACHINE), sort=False, dropna=False).ngroup()
    if len({*machine}) > 1:
        for _, of_table in machine.groupby(ran.groupby(list(SHARED), sort=False, dropna=False).ngroup(), sort=False):
            ((most, _),) = Counter(of_table.tolist()).most_common(1)
            here = trials.loc[of_table.index[of_table == most][0]]
            for place in of_table.index[of_table != most]:
                elsewhere[place] = "; ".join(_unlike(trials.loc[place], here))
        trials = trials.assign(**{name: trials[name].mask(elsewhere.notna()) for name in MEASURED})
    return trials.assign(elsewhere=elsewhere)


def _unlike(there: pd.Series[Any], here: pd.Series[Any]) -> Iterator[str]:
    """Yields the columns in which two trials differ, with both values."""
    import pandas as pd

    for name in _ONE_MACHINE:
        value, other = ("unknown" if pd.isna(row[name]) else str(row[name]) for row in (there, here))
        if value != other:
            yield f"{name} {value}, not {other}"


def group_cells(rows: Sequence[dict[str, Any]]) -> list[list[int]]:
    """Splits cells into groups that may each fill one table, in the order in which they were planned.

    A cell that never ran does not know all its settings; it joins the first group that agrees with the rest.

    Args:
        rows: One dict a cell with the columns of ``SHARED``, ``None`` where one is not known, and ``ok``, the number
            of its trials that ended so.

    Returns:
        For each group the places of its cells, ascending.
    """
    found: list[tuple[dict[str, Any], list[int]]] = []
    alike: dict[tuple[Any, ...], list[tuple[dict[str, Any], list[int]]]] = {}
    for index in sorted(range(len(rows)), key=lambda index: not rows[index]["ok"]):
        settings = {name: rows[index][name] for name in SHARED}
        candidates = alike.setdefault(tuple(settings[name] for name in _PLANNED), [])
        for known, members in candidates:
            if all(settings[name] in (None, known[name]) or known[name] is None for name in _FOUND):
                known.update({name: value for name, value in settings.items() if value is not None})
                members.append(index)
                break
        else:
            candidates.append((settings, [index]))
            found.append(candidates[-1])
    return sorted(sorted(members) for _, members in found)
