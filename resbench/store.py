"""The results folder: an append-only ``records.jsonl``, and the CSV files that are derived from it.

``records.jsonl`` is the truth, one event a line, each with its ``schema_version``, on disk before the next
trial starts. Events:

* ``suite``: a run began; holds the planned trials and where they run
* ``epoch``: an :class:`~resbench.schema.EpochRecord`
* ``profile``: a :class:`~resbench.schema.ProfileRecord`
* ``trial``: a :class:`~resbench.schema.TrialRecord`; a later one of the same ``trial_id`` replaces an earlier
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from resbench.errors import InputError, NothingMeasuredError
from resbench.schema import (
    SCHEMA_VERSION,
    EpochRecord,
    ProfileRecord,
    Trial,
    TrialRecord,
    columns,
    format_input,
)

if TYPE_CHECKING:
    import pandas as pd

RECORDS = "records.jsonl"
TORN = "records.torn"
"""Where a line goes that a crash or a full disk cut short, so that the next event starts a fresh line."""


class Store:
    """Appends events to a results folder and reads them back.

    Args:
        folder: The results folder.
        create: Make the folder where it does not exist.

    Raises:
        InputError: The folder does not exist (without ``create``) or cannot be written to (with it).
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        self.path = folder / RECORDS
        if create:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    pass
                with self.path.open("a"):
                    pass
            except OSError as error:
                raise InputError(
                    f"cannot write to the results folder {str(folder)!r}: {error.strerror or error}. "
                    "Give a folder that you may write to with --out."
                ) from error
        elif not self.path.is_file():
            raise InputError(
                f"no {RECORDS} in {str(folder)!r}: that is not a results folder. `resbench bench --out DIR` makes one."
            )

    def append(self, event: str, data: dict[str, Any]) -> None:
        """Writes one event and waits until it is on disk.

        A float that is not finite (the loss of a diverged trial) is written as ``null``: JSON has no NaN.

        Raises:
            InputError: The disk refused it (full, gone, read-only); what was recorded before stays readable.
        """
        stamped = {"schema_version": SCHEMA_VERSION, "event": event, **data}
        line = json.dumps(_finite(stamped), allow_nan=False)
        try:
            with self.path.open("rb+") as file:
                _start_line(file, self.folder / TORN)
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(
                f"cannot append to {self.path}: {error.strerror or error}. What was recorded before is intact."
            ) from error

    def events(self) -> list[dict[str, Any]]:
        """Reads every event in order.

        A torn last line (the machine lost power while writing it) is left out with a warning.

        Raises:
            InputError: A line before the last is not JSON, or was written by a newer resbench.
        """
        lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        while lines and not lines[-1].strip():
            lines.pop()
        events = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                event = json.loads(line)
                version, _ = int(event["schema_version"]), event["event"]
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):
                    warnings.warn(f"{self.path}: the last line is torn and was left out", stacklevel=2)
                    break
                raise InputError(f"{self.path}, line {number}: not a resbench record ({error}).") from error
            if version > SCHEMA_VERSION:
                raise InputError(
                    f"{self.path}, line {number}: written with schema version {version}; this resbench "
                    f"reads up to {SCHEMA_VERSION}. Read it with a newer resbench."
                )
            events.append(event)
        return events

    def finished(self) -> set[str]:
        """Returns the ids of the trials that ended ``ok``: a run that is started again skips them."""
        last = {event["trial_id"]: event["status"] for event in self.events() if event["event"] == "trial"}
        return {trial_id for trial_id, status in last.items() if status == "ok"}

    def derive(self) -> Results:
        """Rewrites the CSV files from the events and returns their tables."""
        results = load_results(self.folder)
        for name in ("trials", "epochs", "profile", "summary"):
            frame = getattr(results, name)
            write_atomically(self.folder / f"{name}.csv", partial(frame.to_csv, index=False))
        return results


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Replaces ``path`` by what ``write`` puts into the temporary path it is given, all or nothing."""
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class Results:
    """What a results folder holds, as pandas frames with the columns of :mod:`resbench.schema`."""

    folder: Path
    trials: pd.DataFrame
    """One row a planned trial; one that has left no record has the status ``not_run``."""
    epochs: pd.DataFrame
    profile: pd.DataFrame
    summary: pd.DataFrame
    """One row a cell: a trial's identity less its seed, with mean and spread over the seeds."""


def load_results(path: str | Path) -> Results:
    """Reads a results folder.

    Args:
        path: A folder with a ``records.jsonl``.

    Raises:
        InputError: There is no such folder, or its records cannot be read.
        NothingMeasuredError: The records are empty.
    """
    from resbench.stats import summarise

    store = Store(Path(path))
    events = store.events()
    if not events:
        raise NothingMeasuredError(f"{store.path} holds no records yet.")
    trials = _frame(_trial_rows(events), TrialRecord)
    return Results(
        folder=store.folder,
        trials=trials,
        epochs=_frame(_last_attempt(_of(events, "epoch")), EpochRecord),
        profile=_frame(_profile_rows(events), ProfileRecord),
        summary=summarise(trials),
    )


def _of(events: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Picks the events of one kind."""
    return [event for event in events if event["event"] == kind]


def _trial_rows(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns a row for every planned trial in the order of planning, the last record of each."""
    planned: dict[str, dict[str, Any]] = {}
    for suite in _of(events, "suite"):
        for data in suite["trials"]:
            planned.setdefault(data["trial_id"], planned_record(Trial.from_dict(data)).to_dict())
    for record in _of(events, "trial"):
        planned[record["trial_id"]] = record
    return [{**row, "notes": "; ".join(row.get("notes") or [])} for row in planned.values()]


def _profile_rows(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the last profile of every network and setting, of trials only where the trial left a record."""
    finished = {row["trial_id"] for row in _of(events, "trial")}
    identity = ("trial_id", "model", "stem", "input", "num_classes", "batch_size")
    settings = ("device_name", "precision", "memory_format", "compiled")
    rows = [row for row in _of(events, "profile") if row.get("trial_id") in {None, *finished}]
    return list({tuple(row.get(key) for key in (*identity, *settings)): row for row in rows}.values())


def _last_attempt(epochs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keeps the last attempt's epochs of every trial: a trial that was run again starts at fewer steps."""
    kept: dict[str, list[dict[str, Any]]] = {}
    for row in epochs:
        attempt = kept.setdefault(row["trial_id"], [])
        while attempt and attempt[-1]["steps"] >= row["steps"]:
            attempt.pop()
        attempt.append(row)
    return [row for attempt in kept.values() for row in attempt]


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
        precision=engine.precision,
        memory_format=engine.memory_format,
        batch_size=trial.batch_size,
    )


def _frame(rows: list[dict[str, Any]], record: type[TrialRecord | EpochRecord | ProfileRecord]) -> pd.DataFrame:
    """Makes a table with a record type's columns; whole numbers stay whole beside an empty cell."""
    import pandas as pd

    kinds = {column.name: str(column.type).removesuffix(" | None") for column in fields(record)}
    dtypes = {"int": "Int64", "float": "float64"}
    frame = pd.DataFrame(rows, columns=columns(record))
    return frame.astype({name: dtypes[kind] for name, kind in kinds.items() if kind in dtypes})


def _finite(value: Any) -> Any:
    """Returns JSON data with ``None`` in the place of NaN and infinities."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _start_line(file: BinaryIO, torn: Path) -> None:
    """Leaves ``file`` at its end on a fresh line; a last line that was cut short moves to ``torn``."""
    end = file.seek(0, os.SEEK_END)
    if not end:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    last = file.read().rpartition(b"\n")[2]
    try:
        json.loads(last)
    except ValueError:
        with torn.open("ab") as aside:
            aside.write(last + b"\n")
        file.truncate(end - len(last))
        file.seek(0, os.SEEK_END)
    else:
        file.write(b"\n")
