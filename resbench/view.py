"""What a person sees while a suite runs: a bar with rate and time left in a terminal, plain lines elsewhere."""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from resbench.schema import Trial

_STYLES = {"ok": "green", "interrupted": "yellow", "not_run": "yellow"}


class RunView:
    """Follows a suite's messages on a console: a context manager that is called with each message.

    Args:
        console: Where to write. On a terminal there is a bar; a line for each epoch and trial is written anywhere.
        total: Trials to run.
    """

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total = console, total
        self._started = 0
        self._task: TaskID | None = None
        self._trial_id: str | None = None
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[status]}", markup=False),
            TimeElapsedColumn(),
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
        if trial.trial_id != self._trial_id:
            self._begin(trial)
        if kind == "phase":
            self._update(status=data["phase"])
        elif kind == "progress":
            self._update(completed=data["fraction"], status=_progress_text(data))
        elif kind == "epoch":
            self._tell(
                trial,
                f"epoch {data['epoch']:.3g}  train loss {data['train_loss']:.3f}  test accuracy "
                f"{data['test_accuracy']:.2%}  {data['train_images_per_second']:,.0f} images/s",
            )
        elif kind == "trial":
            self._end(trial, data)

    def _begin(self, trial: Trial) -> None:
        """Starts a trial's bar."""
        self._trial_id = trial.trial_id
        self._started += 1
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(f"[{self._started}/{self.total}] {trial.label}", total=1.0, status="start")
        if not self.console.is_terminal:
            self._tell(trial, "started")

    def _end(self, trial: Trial, record: dict[str, Any]) -> None:
        """Says how a trial ended."""
        status = record["status"]
        if status == "ok":
            text = (
                f"ok  test accuracy {record['test_accuracy']:.2%}  {record['train_images_per_second']:,.0f} images/s  "
                f"peak {record['peak_memory_allocated_mib']:,.0f} MiB  {_duration(record['wall_s'])}"
            )
        else:
            text = f"{status} in phase {record['phase']}: {record['error']}"
        self._tell(trial, text, style=_STYLES.get(status, "red"))

    def _tell(self, trial: Trial, text: str, *, style: str = "") -> None:
        """Writes one line about a trial."""
        place = f"[{self._started}/{self.total}]"
        self.console.print(
            f"[dim]{escape(place)}[/dim] [bold]{escape(trial.label):<24}[/bold] {escape(text)}",
            style=style,
            highlight=False,
            soft_wrap=True,
        )

    def _update(self, **fields: Any) -> None:
        """Moves the trial's bar."""
        if self._task is not None:
            self._progress.update(self._task, **fields)


def _progress_text(data: dict[str, Any]) -> str:
    """Writes the rate and the time left of a training."""
    return f"{data['images_per_second']:,.0f} images/s, {_duration(data['seconds_left'])} left"


def _duration(seconds: float) -> str:
    """Writes seconds as ``h:mm:ss`` or ``m:ss``."""
    text = str(timedelta(seconds=round(seconds)))
    return text[2:] if text.startswith("0:") else text
