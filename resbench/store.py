"""The results folder: an append-only ``records.jsonl``, and the CSV files that are derived from it.

``records.jsonl`` is the truth, one event a line, each with its ``schema_version``, on disk before the next
trial starts. Events:

* ``suite``: a run began; holds the planned trials and where they run
* ``ruler``: what the instruments said of known quantities, before the first trial
* ``start``: a trial's process is about to be started; holds the trial
* ``training``: its training begins, at step 0 or where a checkpoint stands
* ``epoch``: an :class:`~resbench.schema.EpochRecord`
* ``profile``: a :class:`~resbench.schema.ProfileRecord`
* ``trial``: a :class:`~resbench.schema.TrialRecord`; a later one of the same ``trial_id`` replaces an earlier
* ``hits``: which test images a trial got right at its end, see :class:`~resbench.schema.Hits`
* ``telemetry``: what device and host said of themselves during a measured window
* ``noise_floor``: one trial's speed, measured again, and how far it was from the first time; several a folder
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from resbench.errors import InputError, NothingMeasuredError, StorageError
from resbench.frames import collect, planned_record
from resbench.migrations import upgrade
from resbench.schema import SCHEMA_VERSION, Hits
from resbench.schema.events import check_event

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RECORDS", "TORN", "Results", "Store", "load_results", "planned_record", "write_atomically"]

RECORDS = "records.jsonl"
WRITTEN = ("README.md", "report.html", "trials.csv", "epochs.csv", "profile.csv", "summary.csv", "pairwise.csv")
"""What is derived from the records, beside them."""
TORN = "records.torn"
"""Where a line goes that a crash or a full disk cut short, so that the next event starts a fresh line."""


@dataclass
class Standing:
    """What a results folder holds, as far as a run that goes on in it must know."""

    statuses: dict[str, str]
    """How each trial that began has ended last, by id; ``interrupted`` where it left no record."""
    suite: dict[str, Any] | None
    """The last ``suite`` event."""
    device_names: set[str]
    """Where its ``ok`` trials ran."""
    measured_again: list[str]
    """The trial of each ``noise_floor`` event, by id."""


def refuse_others_files(folder: Path, own: str, written: Iterable[str]) -> None:
    """Keeps what somebody else has written from being written over.

    Args:
        folder: Where results are going to be.
        own: A file that is there in every such folder.
        written: Files that are going to be written over.

    Raises:
        InputError: The folder holds such a file, and not its own.
    """
    there = [name for name in written if (folder / name).exists()]
    if there and not (folder / own).exists():
        raise InputError(
            f"{str(folder)!r} holds {', '.join(there)} and no {own}: it is no folder of results, and those would be "
            "written over. Give another --out."
        )


class Store:
    """Appends events to a results folder and reads them back.

    Args:
        folder: The results folder.
        create: Make the folder where it does not exist.

    Raises:
        InputError: The folder does not exist (without ``create``), or cannot be written to, or holds somebody else's
            files of the same names (with it).
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        self.path = folder / RECORDS
        self._looked_at_end = False
        self._waits = True
        """For the disk, after each event."""
        if create:
            refuse_others_files(folder, RECORDS, WRITTEN)
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
            inside = sorted(str(path.parent) for path in folder.glob(f"*/{RECORDS}"))
            remedy = (
                f"Give one of those in it: {', '.join(inside)}" if inside else "`resbench bench --out DIR` makes one"
            )
            raise InputError(f"no {RECORDS} in {str(folder)!r}: that is not a results folder. {remedy}.")

    def append(self, event: str, data: dict[str, Any]) -> None:
        """Writes one event and waits until it is on disk.

        A float that is not finite (the loss of a diverged trial) is written as ``null``: JSON has no NaN.

        Raises:
            StorageError: The disk refused it (full, gone, read-only); what was recorded before stays readable.
        """
        stamped = {"schema_version": SCHEMA_VERSION, "event": event, **data}
        line = json.dumps(_finite(stamped), allow_nan=False)
        try:
            with self.path.open("rb+") as file:
                _start_line(file, self.folder / TORN, whole_too=not self._looked_at_end)
                self._looked_at_end = True
                end = file.tell()
                try:
                    file.write(line.encode() + b"\n")
                    file.flush()
                    if self._waits:
                        os.fsync(file.fileno())
                except OSError:
                    _cut(file, end)
                    raise
        except FileNotFoundError as error:
            raise StorageError(
                f"{self.path} is gone: the results folder was moved or removed while trials ran. Nothing more is run."
            ) from error
        except OSError as error:
            raise StorageError(
                f"cannot append to {self.path}: {error.strerror or error}. What was recorded before is intact; the "
                "same command goes on from there."
            ) from error

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Waits for the disk once, at the end of the block, and not after each event in it.

        Raises:
            StorageError: As :meth:`append`.
        """
        size = self.path.stat().st_size if self.path.is_file() else 0
        self._waits = False
        try:
            yield
        finally:
            self._waits = True
            try:
                with self.path.open("rb") as file:
                    if file.seek(0, os.SEEK_END) != size:
                        os.fsync(file.fileno())
            except OSError as error:
                raise StorageError(f"cannot append to {self.path}: {error.strerror or error}.") from error

    def events(self) -> list[dict[str, Any]]:
        """Reads every event in order; :meth:`read` does so one at a time.

        Raises:
            InputError: As :meth:`read`.
        """
        return [*self.read()]

    def read(self) -> Iterator[dict[str, Any]]:
        """Reads the events in order, whatever they hold, and keeps none of them in memory.

        A torn last line (the machine lost power while writing it) is left out with a warning.

        Raises:
            InputError: A line before the last is not JSON, or was written by a newer resbench.
        """
        return (event for _, event in self._numbered())

    def _numbered(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields each event with the number of its line."""
        with self.path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    event = json.loads(line)
                    version, _ = int(event["schema_version"]), event["event"]
                    if version < 1:
                        raise ValueError(f"there is no schema version {version}")
                    if not isinstance(event["event"], str):
                        raise TypeError("the kind of event is not a name")
                except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
                    if not any(rest.strip() for rest in lines):
                        warnings.warn(f"{self.path}: the last line is torn and was left out", stacklevel=2)
                        return
                    raise InputError(f"{self.path}, line {number}: not a resbench record ({error}).") from error
                if version > SCHEMA_VERSION:
                    raise InputError(
                        f"{self.path}, line {number}: written with schema version {version}; this resbench "
                        f"reads up to {SCHEMA_VERSION}. Read it with a newer resbench."
                    )
                yield number, upgrade(event)

    def checked(self) -> Iterator[dict[str, Any]]:
        """Reads the events as :meth:`read` does, and refuses one that does not hold what its kind must.

        Raises:
            InputError: As :meth:`read`, or such an event.
        """
        for number, event in self._numbered():
            try:
                check_event(event)
            except ValueError as error:
                raise InputError(f"{self.path}, line {number}: not a resbench record ({error}).") from error
            yield event

    def standing(self) -> Standing:
        """Returns what a run that goes on here must know, in one pass over the events."""
        standing = Standing({}, None, set(), [])
        for event in self.checked():
            if event["event"] == "trial":
                standing.statuses[event["trial_id"]] = event["status"]
                if event["status"] == "ok" and event.get("device_name"):
                    standing.device_names.add(event["device_name"])
            elif event["event"] == "start":
                standing.statuses[event["trial"]["trial_id"]] = "interrupted"
            elif event["event"] == "suite":
                standing.suite = event
            elif event["event"] == "noise_floor" and "trial_id" in event:
                standing.measured_again.append(event["trial_id"])
        return standing

    def derive(self) -> Results:
        """Rewrites the CSV files from the events and returns their tables."""
        results = load_results(self.folder)
        for name in ("trials", "epochs", "profile", "summary", "pairwise"):
            frame = getattr(results, name)
            write_atomically(self.folder / f"{name}.csv", partial(frame.to_csv, index=False, errors="backslashreplace"))
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
    suites: tuple[dict[str, Any], ...] = ()
    """The ``suite`` events, oldest first, less their trials."""
    hits: dict[str, Hits] = field(default_factory=dict)
    """By trial id: which test images it got right at its end."""
    rulers: tuple[dict[str, Any], ...] = ()
    """The ``ruler`` events, oldest first."""
    noise_floors: tuple[dict[str, Any], ...] = ()
    """The ``noise_floor`` events, oldest first."""
    windows: tuple[dict[str, Any], ...] = ()
    """The ``telemetry`` events, oldest first."""

    def __repr__(self) -> str:
        """Says what there is; the frames show themselves."""
        models = ", ".join(dict.fromkeys(self.trials["model"]))
        how = ", ".join(f"{number} {status}" for status, number in self.trials["status"].value_counts().items())
        return f"Results({str(self.folder)!r}: {len(self.trials)} trials of {models}; {how})"

    @cached_property
    def pairwise(self) -> pd.DataFrame:
        """One row a pair of models that may be compared: how their test accuracies differ, seed by seed."""
        from resbench.stats import pairwise

        return pairwise(self.trials, self.hits)


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
    collected = collect(store.checked())
    if not collected.events:
        raise NothingMeasuredError(f"{store.path} holds no records yet.")
    trials = collected.trial_frame()
    return Results(
        folder=store.folder,
        trials=trials,
        epochs=collected.epoch_frame(),
        profile=collected.profile_frame(),
        summary=summarise(trials),
        suites=tuple(collected.suites),
        hits=collected.hits,
        rulers=tuple(collected.rulers),
        noise_floors=tuple(collected.noise_floors),
        windows=tuple(collected.windows),
    )


def _finite(value: Any) -> Any:
    """Returns JSON data with ``None`` in the place of NaN and infinities."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cut(file: BinaryIO, end: int) -> None:
    """Takes back what a full disk let through of a line, where it lets that."""
    with contextlib.suppress(OSError):
        os.ftruncate(file.fileno(), end)


def _start_line(file: BinaryIO, torn: Path, *, whole_too: bool) -> None:
    """Leaves ``file`` at its end on a fresh line; a last line that is no event moves to ``torn``.

    Args:
        file: The records.
        torn: Gets what a crash or a full disk left.
        whole_too: Look at a last line too that ends as it should: after a power cut a page of zeros may stand there.
    """
    end = file.seek(0, os.SEEK_END)
    if not end:
        return
    file.seek(end - 1)
    ended = file.read(1) == b"\n"
    if ended and not whole_too:
        return
    file.seek(0)
    last = file.read().removesuffix(b"\n").rpartition(b"\n")[2]
    try:
        event = json.loads(last)
        int(event["schema_version"]), event["event"]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        with torn.open("ab") as aside:
            aside.write(last + b"\n")
        file.truncate(end - len(last) - ended)
        file.seek(0, os.SEEK_END)
    else:
        file.seek(0, os.SEEK_END)
        if not ended:
            file.write(b"\n")
