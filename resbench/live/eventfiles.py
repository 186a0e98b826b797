"""Event files for TensorBoard, written from the messages that a running suite's trials send: they cost a trial nothing.

A file is opened for every message that adds to it and closed again, so it is whole whenever TensorBoard looks, and a
write that fails says so at once. (torch's ``SummaryWriter`` writes from a thread, which tells of that on stderr.)
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from resbench.errors import InputError, in_one_line
from resbench.report.numbers import escape
from resbench.schema import Trial

FOLDER = "tensorboard"
"""Below the results folder."""
SCALARS = {
    "loss/train": "train_loss",
    "loss/test": "test_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/test": "test_accuracy",
    "learning_rate": "learning_rate",
    "images_per_second": "train_images_per_second",
    "train_flops_spent": "train_flops_spent",
    "train_clock_s": "train_clock_s",
}
"""Columns of an epoch, by tag."""
FINAL = {
    "final/test_accuracy": "test_accuracy",
    "final/params": "params",
    "final/macs": "macs",
    "final/peak_memory_mib": "peak_memory_allocated_mib",
    "final/train_images_per_second": "train_images_per_second",
    "final/train_s": "train_s",
}
"""Columns of a trial that ended well, by tag; ``train_s`` is the train clock: data and steps."""
_LONGEST_NAME = 80


def require_tensorboard() -> None:
    """Imports what writes event files, which takes a second.

    Raises:
        InputError: It cannot be imported; the message says what to do.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(
            f"--tensorboard: event files need the package {error.name or 'tensorboard'}, which is not installed. "
            "Install it: pip install 'resbench[tensorboard]'. Or leave --tensorboard out."
        ) from error
    except Exception as error:  # packages that do not fit together raise all sorts
        raise InputError(
            f"--tensorboard: the package tensorboard cannot be imported ({in_one_line(error)}). Install it again: "
            "pip install --upgrade 'resbench[tensorboard]'. Or leave --tensorboard out."
        ) from error


def run_folder(trial: Trial, label: str) -> str:
    """Returns the name of a trial's folder, which TensorBoard shows as its run: its label and the start of its id."""
    name = re.sub(r"[^0-9A-Za-z._]+", "-", label).strip("-._")[:_LONGEST_NAME]
    return f"{name}-{trial.trial_id[:8]}".lstrip("-")


def tensorboard_command(results: Path) -> str:
    """Returns the command that shows the event files of a results folder."""
    return f"tensorboard --logdir {shlex.quote(str(results / FOLDER))}"


class EventFiles:
    """Follows a suite's messages: it is called with each. A write that fails is told once, and is the last one.

    A trial that goes on from a checkpoint goes on in its folder too: what was written of later steps is not shown.

    Args:
        results: The results folder; each trial gets a folder below its ``tensorboard/``.
        labels: What to call the trials, by ``trial_id``; their own labels by default.
        on_failure: Told why nothing more is written.
    """

    def __init__(self, results: Path, labels: Mapping[str, str], *, on_failure: Callable[[str], None]) -> None:
        require_tensorboard()
        self.folder, self.labels, self.on_failure = results / FOLDER, labels, on_failure
        self._files: dict[str, _EventFile] = {}
        self._failed = False

    def __call__(self, trial: Trial, kind: str, data: dict[str, Any]) -> None:
        """Writes one message of a trial."""
        if self._failed or kind not in ("training", "epoch", "trial"):
            return
        try:
            if kind == "training":
                self._begin(trial, data["steps"])
            elif kind == "epoch":
                self._file(trial).add_scalars({tag: data[name] for tag, name in SCALARS.items()}, data["steps"])
            else:
                self._end(trial, data)
        except Exception as error:  # event files are an extra, which no suite should end for
            self._failed = True
            why = (error.strerror if isinstance(error, OSError) else None) or in_one_line(error)
            self.on_failure(f"event files for TensorBoard are no longer written in {self.folder} ({why}). Records are.")

    def _begin(self, trial: Trial, steps: int) -> None:
        """Begins a file, at step 0 or where an earlier attempt stood."""
        self._files.pop(trial.trial_id, None)
        file = self._file(trial)
        anew = file.is_first or steps == 0
        if not file.is_first:
            file.forget_after(steps)
        if anew:
            file.add_text("trial", _table(trial.to_dict()), 0)

    def _end(self, trial: Trial, record: dict[str, Any]) -> None:
        """Writes what a trial was and came to, or how else it ended."""
        file, steps = self._file(trial), record.get("steps") or 0
        self._files.pop(trial.trial_id)
        if record["status"] != "ok":
            text = f"**{record['status']}** in phase {escape(str(record['phase']))}: {escape(str(record['error']))}"
            file.add_text("status", text, steps)
            return
        figures = {**record, "train_s": (record["data_s"] or 0.0) + (record["step_s"] or 0.0)}
        final = {tag: figures[name] for tag, name in FINAL.items() if figures[name] is not None}
        file.add_scalars(final, steps)
        if not file.is_first:  # it says, maybe, that an earlier attempt did not end well
            file.add_text("status", "**ok**", steps)
        file.add_hparams(_settings(trial), final)

    def _file(self, trial: Trial) -> _EventFile:
        """Returns the file of a trial's attempt, which is made where there is none yet."""
        if trial.trial_id not in self._files:
            name = run_folder(trial, self.labels.get(trial.trial_id, trial.label))
            self._files[trial.trial_id] = _EventFile(self.folder / name)
        return self._files[trial.trial_id]


class _EventFile:
    """One attempt's file.

    Attributes:
        is_first: Whether there was none in the folder before.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.is_first = next(folder.glob("*tfevents*"), None) is None
        self._path = folder / f"events.out.tfevents.{time.time_ns() / 1e9:017.6f}.resbench"  # read in order of names
        self._add(_entry(file_version="brain.Event:2"))
        if self.is_first:  # TensorBoard takes the first of these for a beginning, and those that follow for restarts
            self._start(0)

    def forget_after(self, steps: int) -> None:
        """Has what earlier files hold of later steps not shown."""
        self._start(steps + 1 if steps else 0)  # what a trial begins with is at step 0

    def _start(self, step: int) -> None:
        """Adds that a session starts at a step: of those before it, nothing from that step on is shown."""
        from torch.utils.tensorboard.writer import SessionLog

        self._add(_entry(step=step, session_log=SessionLog(status=SessionLog.START)))

    def add_scalars(self, values: Mapping[str, float | None], step: int) -> None:
        """Adds the figures of one step that are known, by tag."""
        from torch.utils.tensorboard import summary

        known = {tag: float(value) for tag, value in values.items() if value is not None}
        self._add(*(_entry(summary=summary.scalar(tag, value), step=step) for tag, value in known.items()))

    def add_text(self, tag: str, text: str, step: int) -> None:
        """Adds text, as Markdown."""
        from torch.utils.tensorboard import summary

        self._add(_entry(summary=summary.text(tag, text), step=step))

    def add_hparams(self, settings: dict[str, Any], metrics: Mapping[str, float]) -> None:
        """Adds what the table of hyperparameters shows: the settings, and which figures are results."""
        from torch.utils.tensorboard import summary

        self._add(*(_entry(summary=part) for part in summary.hparams(settings, dict(metrics))))

    def _add(self, *events: Any) -> None:
        """Adds events to the file.

        Raises:
            OSError: It cannot be written.
        """
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        with self._path.open("ab") as file:
            records = RecordWriter(file)
            for event in events:
                records.write(event.SerializeToString())


def _entry(**content: Any) -> Any:
    """Makes an event of this moment."""
    from torch.utils.tensorboard.writer import Event

    return Event(wall_time=time.time(), **content)


def _settings(trial: Trial) -> dict[str, Any]:
    """Returns what tells trials apart in the table of hyperparameters."""
    names = ("model", "recipe", "stem", "weights", "budget", "batch_size", "seed")
    return {**{name: getattr(trial, name) for name in names}, "precision": trial.engine.precision}


def _table(data: Mapping[str, Any]) -> str:
    """Writes a trial's settings as a Markdown table."""
    flat = {**{name: value for name, value in data.items() if name != "engine"}, **data["engine"]}
    rows = (f"| {name} | {escape(str(value))} |" for name, value in flat.items())
    return "\n".join(["| setting | value |", "|---|---|", *rows])
