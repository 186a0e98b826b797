"""What a person sees while a suite runs: a bar with rate and time left in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from resbench.schema import Trial
from resbench.untrusted import printable

_STYLES = {"ok": "green", "interrupted": "yellow", "not_run": "yellow"}


class RunView:
    """Follows a suite's messages on a console: a context manager that is called with each message.

    Args:
        console: Where to write. On a terminal there is a bar; a line for each epoch and trial is written anywhere.
        trials: Those that are going to run.
        labels: What to call them, by ``trial_id``; their own labels by default.
    """

    def __init__(self, console: Console, trials: Sequence[Trial], labels: Mapping[str, str] | None = None) -> None:
        self.console, self.total = console, len(trials)
        self._labels = {trial.trial_id: trial.label for trial in trials} | dict(labels or {})
        self._width = max((len(self._label(trial)) for trial in trials), default=0)
        self._started = 0
        self._tasks: dict[str, TaskID] = {}
        self._places: dict[str, str] = {}
        self._noticed: set[str] = set()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            _StatusColumn(table_column=Column(no_wrap=True)),  # in a narrow terminal the bar gives way
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> RunView:
        """Shows the bar."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away."""
        self._progress.stop()

    def __call__(self, trial: Trial, kind: str, data: dict[str, Any]) -> None:
        """Shows one message of a trial."""
        if trial.trial_id not in self._places:
            self._begin(trial)
        if kind == "phase":
            self._update(trial, status=data["phase"], left="")
        elif kind == "progress":
            self._update(
                trial,
                completed=data["fraction"],
                status=f"{data['images_per_second']:,.0f} images/s",
                left=f"{_duration(data['seconds_left'])} left",
            )
        elif kind == "epoch":
            self._tell(
                trial,
                f"epoch {_epoch(data['epoch']):<4}  train loss {data['train_loss']:.3f}  "
                f"test {data['test_accuracy']:.2%}  {data['train_images_per_second']:,.0f} images/s",
            )
        elif kind == "notice":
            self._notice(trial, data["text"])
        elif kind == "trial":
            self._end(trial, data)

    def _label(self, trial: Trial) -> str:
        """Returns what a trial is called."""
        return self._labels.get(trial.trial_id, trial.label)

    def _begin(self, trial: Trial) -> None:
        """Starts a trial's bar."""
        self._started += 1
        self._places[trial.trial_id] = f"[{self._started}/{self.total}]"
        self._tasks[trial.trial_id] = self._progress.add_task(
            f"{self._places[trial.trial_id]} {self._label(trial)}", total=1.0, status="start", left=""
        )
        if not self.console.is_terminal:
            self._tell(trial, "started")

    def _end(self, trial: Trial, record: dict[str, Any]) -> None:
        """Says how a trial ended."""
        status = record["status"]
        if status == "ok":
            text = (
                f"ok  test {record['test_accuracy']:.2%}  {record['train_images_per_second']:,.0f} images/s  "
                f"{_mib(record['peak_memory_allocated_mib'])}  {_duration(record['wall_s'])}"
            )
        else:
            text = f"{status} in phase {record['phase']}: {record['error']}"
        self._tell(trial, text, style=_STYLES.get(status, "red"))
        self._progress.remove_task(self._tasks.pop(trial.trial_id))

    def _notice(self, trial: Trial, text: str) -> None:
        """Says what a person must know, such as a fall-back, the first time that a network gives cause for it."""
        if (notice := f"{trial.model}: {text}") not in self._noticed:
            self._noticed.add(notice)
            self._tell(trial, text, style="yellow")

    def _tell(self, trial: Trial, text: str, *, style: str = "") -> None:
        """Writes one line about a trial."""
        place, label = self._places[trial.trial_id], printable(self._label(trial).ljust(self._width))
        self.console.print(
            Text.assemble((place, "dim"), " ", (label, "bold"), f"  {printable(text)}"),
            style=style,
            highlight=False,
            soft_wrap=True,
        )

    def _update(self, trial: Trial, **fields: Any) -> None:
        """Moves the trial's bar."""
        self._progress.update(self._tasks[trial.trial_id], **fields)


class _StatusColumn(ProgressColumn):
    """What the trial does: rate and time left while it trains, else the phase and the time since it began."""

    def render(self, task: Task) -> Text:
        """Writes one trial's status."""
        return Text(f"{task.fields['status']}  {task.fields['left'] or _duration(task.elapsed or 0)}")


def _epoch(epoch: float) -> str:
    """Writes how many epochs have passed, with two decimals where they are not whole."""
    return f"{epoch:.0f}" if float(epoch).is_integer() else f"{epoch:.2f}"


def _mib(memory: float | None) -> str:
    """Writes a peak, or that there is none."""
    return "no memory figure" if memory is None else f"peak {memory:,.0f} MiB"


def _duration(seconds: float) -> str:
    """Writes seconds as ``m:ss``, ``h:mm:ss`` or ``N days, h:mm:ss``."""
    text = str(timedelta(seconds=round(seconds)))
    return text.removeprefix("0:").removeprefix("0") if text.startswith("0:0") else text.removeprefix("0:")
