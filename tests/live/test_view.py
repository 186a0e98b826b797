from __future__ import annotations

import io
import re
from typing import Any

import pytest
from records import make_record, make_trial
from rich.console import Console

from resbench.live.view import RunView, _duration
from resbench.schema import Trial

EPOCH = {"epoch": 12.5, "train_loss": 1.25, "test_accuracy": 0.8765, "train_images_per_second": 12_345.6}
PROGRESS = {"fraction": 0.45, "images_per_second": 12_345.6, "seconds_left": 4354.0}
TRIALS = [make_trial("resnet152_frozen"), make_trial("cnn", 1)]


def shown(*messages: tuple[Trial, str, dict[str, Any]], terminal: bool = False, width: int = 80) -> str:
    """What a console shows of messages, without the codes that move its cursor."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=width, color_system=None, _environ={})
    with RunView(console, TRIALS) as view:
        for message in messages:
            view(*message)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())


def test_a_log_has_a_line_for_each_start_epoch_and_end_and_no_bar() -> None:
    first, second = TRIALS
    lines = shown(
        (first, "phase", {"phase": "build"}),
        (first, "progress", PROGRESS),
        (first, "epoch", EPOCH),
        (first, "trial", make_record(first, test_accuracy=0.9, wall_s=61.0)),
        (second, "phase", {"phase": "build"}),
        (second, "trial", make_record(second, status="crashed", phase="train", error="killed [x]")),
    ).splitlines()
    assert lines == [
        "[1/2] resnet152_frozen seed 0  started",
        "[1/2] resnet152_frozen seed 0  epoch 12.50  train loss 1.250  test 87.65%  12,346 images/s",
        "[1/2] resnet152_frozen seed 0  ok  test 90.00%  44,000 images/s  peak 1,500 MiB  1:01",
        "[2/2] cnn seed 1               started",
        "[2/2] cnn seed 1               crashed in phase train: killed [x]",
    ]


def test_a_long_error_is_not_cut_in_a_narrow_console() -> None:
    error = "the weights of " + "layer " * 60 + "differ"
    text = shown((TRIALS[0], "trial", make_record(TRIALS[0], status="not_run", phase="build", error=error)), width=40)
    assert error in text.replace("\n", "")


def test_a_terminal_of_80_columns_shows_the_whole_status_of_a_long_name() -> None:
    text = shown((TRIALS[0], "phase", {"phase": "train"}), (TRIALS[0], "progress", PROGRESS), terminal=True)
    bars = [line for line in re.split(r"[\r\n]", text) if "45 %" in line]
    assert bars
    for line in bars:
        assert len(line) <= 80
        assert "[1/2] resnet152_frozen seed 0" in line
        assert "12,346 images/s  1:12:34 left" in line
        assert "━" in line


def test_between_trainings_a_terminal_shows_the_phase_instead_of_an_old_rate() -> None:
    text = shown((TRIALS[0], "progress", PROGRESS), (TRIALS[0], "phase", {"phase": "eval"}), terminal=True)
    last = re.split(r"[\r\n]", text.rstrip())[-1]
    assert "eval" in last
    assert "left" not in last


def test_an_end_without_a_memory_figure_is_told_all_the_same() -> None:
    text = shown((TRIALS[0], "trial", make_record(TRIALS[0], peak_memory_allocated_mib=None)))
    assert "no memory figure" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (5.4, "0:05"), (65, "1:05"), (754, "12:34"), (3600, "1:00:00"), (36_061, "10:01:01")],
)
def test_seconds_are_written_as_a_clock_does(seconds: float, text: str) -> None:
    assert _duration(seconds) == text


def test_days_are_named() -> None:
    assert _duration(2 * 86_400 + 60) == "2 days, 0:01:00"
