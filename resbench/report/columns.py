"""The columns of a comparison table: where each number comes from, how it reads, and what a command calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from resbench.analysis.metrics import NAMED
from resbench.errors import InputError, unknown
from resbench.report.numbers import duration_with, percent, present, significant, with_deviation

ACCURACY, INTERVAL, TIER, STATUS = "accuracy", "interval", "tier", "status"
"""The names of columns that hold more than one number, or none."""
TIME = "time"


@dataclass(frozen=True)
class Column:
    """One column of figures."""

    name: str
    """What ``--columns`` calls it."""
    header: str
    source: str
    """The column of ``summary.csv``."""
    write: Callable[..., str]
    """Of a value, and of its standard deviation where there is one."""
    better: Callable[[list[float]], float]
    """Which end of it is better: ``min`` or ``max``."""
    needs_whole_batches: bool = False
    """Whether a model whose batches ran in parts cannot be compared in it."""
    factor: float = 1.0
    """What a stored value is multiplied by to be in the header's unit."""
    plain_header: str = ""
    """The header above plain numbers, where the other has no unit."""

    @property
    def measured(self) -> str:
        """The column of ``trials.csv`` that a mean is of; empty for a count, which is the same in every trial."""
        return self.source.removesuffix("_mean") if self.source.endswith("_mean") else ""


def _millions(value: Any) -> str:
    return significant(value / 1e6 if present(value) else None)


def _column(name: str, write: Callable[..., str], *, plain_header: str = "") -> Column:
    """Returns a metric of the catalogue as a column."""
    metric = NAMED[name]
    source = metric.column if metric.role == "counted" else f"{metric.column}_mean"
    better: Callable[[list[float]], float] = max if metric.better == "max" else min
    header, whole = metric.header, metric.whole_batches
    return Column(name, header, source, write, better, whole, metric.scale, plain_header)


COLUMNS = (
    _column("params", _millions),
    _column("macs", _millions),
    _column(ACCURACY, percent),
    _column("throughput", with_deviation),
    _column("inference", with_deviation),
    _column("latency", partial(with_deviation, digits=3)),
    _column("step", partial(with_deviation, digits=3)),
    _column("memory", with_deviation),
    _column(TIME, duration_with, plain_header="train time (s)"),
)
"""Those with figures; an interval and a tier stand behind the accuracy, and the status behind all."""

INTERVAL_HEADER, TIER_HEADER, STATUS_HEADER = "95 % interval", "tier", "status"

HEADERS = {
    **{column.name: column.header for column in COLUMNS[:3]},
    INTERVAL: INTERVAL_HEADER,
    TIER: TIER_HEADER,
    **{column.name: column.header for column in COLUMNS[3:]},
    STATUS: STATUS_HEADER,
}
"""The header of every column that a command can choose, by name, in the order of a table."""

MEASURED = frozenset(column.name for column in COLUMNS if column.measured) - {ACCURACY}
"""Those of speed, time and memory."""

OF_WHOLE_BATCHES = frozenset(column.name for column in COLUMNS if column.needs_whole_batches)
"""Those in which a model whose batches ran in parts cannot be compared."""


def parse_columns(text: str, headers: dict[str, str] | None = None) -> list[str]:
    """Reads ``accuracy,params,macs``: names of columns, or their headers with or without the unit.

    Args:
        text: What was given.
        headers: By name, the headers to choose from; by default :data:`HEADERS`.

    Returns:
        Their names, in the order given.

    Raises:
        InputError: There is no such column, one is given twice, or none is given.
    """
    headers = HEADERS if headers is None else headers
    known = {spelling: name for name, header in headers.items() for spelling in _spellings(name, header)}
    chosen: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name = known.get(part.lower())
        if name is None:
            raise unknown("column", part, headers)
        if name in chosen:
            raise InputError(f"the column {name!r} is given twice in {text!r}.")
        chosen.append(name)
    if not chosen:
        raise InputError(f"no column is named in {text!r}. Accepted: {', '.join(headers)}.")
    return chosen


def _spellings(name: str, header: str) -> Sequence[str]:
    """Returns how a column may be called, in small letters."""
    return name, header.lower(), header.lower().partition(" (")[0]
