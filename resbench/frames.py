"""From events to pandas frames: one pass over the records, one row kept for each trial, epoch and profile.

The last word counts: a trial that was run again replaces its earlier record, epochs and profile.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from resbench.schema import (
    MEASURING_VERSION,
    EpochRecord,
    Hits,
    ProfileRecord,
    Trial,
    TrialRecord,
    columns,
    format_input,
)
from resbench.schema.rows import describe

if TYPE_CHECKING:
    import pandas as pd

Row = tuple[Any, ...]

_TRIAL, _EPOCH, _PROFILE = (tuple(columns(record)) for record in (TrialRecord, EpochRecord, ProfileRecord))
_STEPS = _EPOCH.index("steps")
_PROFILE_KEY = (
    "trial_id",
    *(name for name, column in describe(ProfileRecord).items() if column.role in ("learning", "machine")),
)
"""What tells two profiles apart: the network, its input, and the settings it was measured under."""


@dataclass
class Collected:
    """What the events seen so far leave, as rows of the CSV files.

    Rows are kept and events are not: ten thousand trials fit into a fraction of the memory that their events take.
    """

    trials: dict[str, Row | dict[str, Any]] = field(default_factory=dict)
    """By trial, in the order of planning: its last record, or its plan where it has left none."""
    attempts: dict[str, list[Row]] = field(default_factory=dict)
    """The epochs of each trial's last attempt."""
    profiles: dict[Row, Row] = field(default_factory=dict)
    """The last profile of each network and setting."""
    suites: list[dict[str, Any]] = field(default_factory=list)
    """The ``suite`` events, less their trials."""
    started: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The last ``start`` event of each trial that has left no record since."""
    hits: dict[str, Hits] = field(default_factory=dict)
    """Which test images each trial got right at its end."""
    rulers: list[dict[str, Any]] = field(default_factory=list)
    """The ``ruler`` events."""
    noise_floors: list[dict[str, Any]] = field(default_factory=list)
    """The ``noise_floor`` events."""
    windows: list[dict[str, Any]] = field(default_factory=list)
    """The ``telemetry`` events."""
    events: int = 0
    """How many there were."""
    texts: dict[str, str] = field(default_factory=dict)
    """One copy of each text: most columns hold the same few in every row."""

    def add(self, event: dict[str, Any]) -> None:
        """Takes in one event."""
        self.events += 1
        kind = event["event"]
        if kind == "suite":
            for data in event["trials"]:
                self.trials.setdefault(data["trial_id"], data)
            self.suites.append({key: value for key, value in event.items() if key != "trials"})
        elif kind == "start":
            self.trials[event["trial"]["trial_id"]] = event["trial"]
            self.started[event["trial"]["trial_id"]] = event
        elif kind == "training":
            self._begin_training(event["trial_id"], event["steps"])
        elif kind == "trial":
            self.started.pop(event["trial_id"], None)
            self.trials[event["trial_id"]] = self._trial_row(event)
        elif kind == "epoch":
            self._add_epoch(event)
        elif kind == "profile":
            key = tuple(event.get(name) for name in _PROFILE_KEY)
            self.profiles[key] = self._row(event, _PROFILE)
        elif kind == "hits":
            self.hits[event["trial_id"]] = Hits.from_dict(event)
        elif kind in (lists := {"ruler": self.rulers, "noise_floor": self.noise_floors, "telemetry": self.windows}):
            lists[kind].append(event)

    def trial_frame(self) -> pd.DataFrame:
        """Returns ``trials.csv``: a row for every planned trial, in the order of planning."""
        rows = [
            row if isinstance(row, tuple) else self._trial_row(self._unrecorded(Trial.from_dict(row)).to_dict())
            for row in self.trials.values()
        ]
        return _frame(rows, TrialRecord)

    def _begin_training(self, trial_id: str, steps: int) -> None:
        """Takes in that a training begins, anew or from a checkpoint; what was left beyond counts no more."""
        self.hits.pop(trial_id, None)
        if trial_id in self.attempts:
            self.attempts[trial_id] = [row for row in self.attempts[trial_id] if row[_STEPS] <= steps]

    def _unrecorded(self, trial: Trial) -> TrialRecord:
        """Returns the row of a trial that has left no record: it has not begun, or was cut off while it ran."""
        row = planned_record(trial)
        if (start := self.started.get(trial.trial_id)) is not None:
            row.status, row.started_at = "interrupted", start["started_at"]
            row.error = "it began and left no record: it is still running, or was ended together with its run"
        return row

    def epoch_frame(self) -> pd.DataFrame:
        """Returns ``epochs.csv``, trial by trial in the order of planning, whenever each of them ran."""
        order = dict.fromkeys((*self.trials, *self.attempts))
        return _frame([row for trial_id in order for row in self.attempts.get(trial_id, ())], EpochRecord)

    def profile_frame(self) -> pd.DataFrame:
        """Returns ``profile.csv``; profiles of trials only where the trial left a record."""
        recorded = {None, *(trial_id for trial_id, row in self.trials.items() if isinstance(row, tuple))}
        return _frame([row for key, row in self.profiles.items() if key[0] in recorded], ProfileRecord)

    def _add_epoch(self, event: dict[str, Any]) -> None:
        """Adds an evaluation; a trial that was run again starts at fewer steps, which ends its attempt before."""
        attempt = self.attempts.setdefault(event["trial_id"], [])
        while attempt and attempt[-1][_STEPS] >= event["steps"]:
            attempt.pop()
        attempt.append(self._row(event, _EPOCH))

    def _trial_row(self, record: dict[str, Any]) -> Row:
        """Picks a trial's columns out of its record; lists become one text."""
        texts = {name: "; ".join(record.get(name) or []) for name in ("notes", "verdict_reasons")}
        return self._row({**record, **texts}, _TRIAL)

    def _row(self, event: dict[str, Any], names: tuple[str, ...]) -> Row:
        """Picks columns out of an event; one that it does not have is empty.

        A carriage return is written as its escape: in a CSV file it stands bare, and readers take it for a row's end.
        """
        values = (event.get(name, math.nan) for name in names)
        keep = self.texts.setdefault
        return tuple(keep(value, value.replace("\r", "\\r")) if type(value) is str else value for value in values)


def collect(events: Iterable[dict[str, Any]]) -> Collected:
    """Takes in events one by one, in their order."""
    collected = Collected()
    for event in events:
        collected.add(event)
    return collected


def planned_record(trial: Trial, *, source: str = "") -> TrialRecord:
    """Returns the record of a trial that has not run: its identity and the settings asked for."""
    engine = trial.engine
    return TrialRecord(
        trial_id=trial.trial_id,
        model=trial.model,
        source=source,
        stem=trial.stem,
        dataset=trial.dataset,
        dataset_fingerprint=trial.dataset_fingerprint,
        input=format_input(trial.input),
        recipe=trial.recipe,
        budget=trial.budget,
        seed=trial.seed,
        weights=trial.weights,
        code=trial.code,
        devices=engine.devices,
        precision=engine.precision,
        memory_format=engine.memory_format,
        batch_size=trial.batch_size,
        micro_batch_size=trial.batch_size,
        measuring_version=MEASURING_VERSION,
    )


def _frame(rows: list[Row], record: type[TrialRecord | EpochRecord | ProfileRecord]) -> pd.DataFrame:
    """Makes a table with a record type's columns; whole numbers stay whole beside an empty cell."""
    import pandas as pd

    kinds = {column.name: str(column.type).removesuffix(" | None") for column in fields(record)}
    dtypes = {"int": "Int64", "float": "float64"}
    frame = pd.DataFrame(rows, columns=columns(record))
    return frame.astype({name: dtypes[kind] for name, kind in kinds.items() if kind in dtypes})
