"""The columns of a comparison table: where each number comes from, how it reads, and what a command calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

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


COLUMNS = (
    Column("params", "params (M)", "params", _millions, min, factor=1e-6),
    Column("macs", "MACs (M)", "macs", _millions, min, factor=1e-6),
    Column(ACCURACY, "test accuracy (%)", "test_accuracy_mean", percent, max, factor=100),
    Column("throughput", "train images/s", "train_images_per_second_mean", with_deviation, max, True),
    Column("inference", "inference images/s", "inference_images_per_second_mean", with_deviation, max),
    Column("latency", "latency p50 (ms)", "latency_ms_p50_mean", partial(with_deviation, digits=3), min),
    Column("step", "step p50 (ms)", "step_ms_p50_mean", partial(with_deviation, digits=3), min, True),
    Column("memory", "train memory (MiB)", "peak_memory_allocated_mib_mean", with_deviation, min, True),
    Column(TIME, "train time", "train_clock_s_mean", duration_with, min, True, plain_header="train time (s)"),
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
