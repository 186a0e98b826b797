from __future__ import annotations

import io
import re
import sys
from typing import Any

import pytest
from records import make_record, make_trial
from rich.console import Console

from resbench.live import view as view_module
from resbench.live.view import RunView
from resbench.live.words import clock
from resbench.schema import Trial

EPOCH = {"epoch": 12.5, "train_loss": 1.25, "test_accuracy": 0.8765, "train_images_per_second": 12_345.6}
PROGRESS = {"fraction": 0.45, "images_per_second": 12_345.6, "seconds_left": 4354.0, "memory_mib": 512.0}
TRIALS = [make_trial("resnet152_frozen"), make_trial("cnn", 1)]
Message = tuple[Trial, str, dict[str, Any]]


@pytest.fixture(autouse=True)
def _only_what_is_told_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the clock of the dashboard from drawing it in the middle of a test."""
    monkeypatch.setattr(view_module, "REFRESHES_PER_S", 1e-3)


def written(*messages: Message, terminal: bool = False, width: int = 80, **options: Any) -> str:
    """Everything that is written for messages."""
    file = io.StringIO()
    environ = {"TERM": options.pop("term", "xterm")}
    console = Console(file=file, force_terminal=terminal, width=width, height=24, color_system=None, _environ=environ)
    with RunView(console, TRIALS, now=lambda: 0.0, **options) as view:
        for message in messages:
            view(*message)
    return file.getvalue()


def shown(*messages: Message, **options: Any) -> str:
    """The same without the codes that move a cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written(*messages, **options))


def whole_run() -> list[Message]:
    first, second = TRIALS
    return [
        (first, "phase", {"phase": "build"}),
        (first, "progress", PROGRESS),
        (first, "epoch", EPOCH),
        (first, "trial", make_record(first, test_accuracy=0.9, wall_s=61.0)),
        (second, "phase", {"phase": "build"}),
        (second, "trial", make_record(second, status="crashed", phase="train", error="killed [x]")),
    ]


LOG = [
    "[1/2] resnet152_frozen seed 0  started",
    "[1/2] resnet152_frozen seed 0  epoch 12.50  train loss 1.250  test 87.65%  12,346 images/s",
    "[1/2] resnet152_frozen seed 0  ok  test 90.00%  44,000 images/s  peak 1,500 MiB  1:01",
    "[2/2] cnn seed 1               started",
    "[2/2] cnn seed 1               crashed in phase train: killed [x]",
]


def test_a_log_has_a_line_for_each_start_epoch_and_end_and_no_dashboard() -> None:
    assert shown(*whole_run()).splitlines() == LOG


def test_so_has_a_terminal_that_cannot_move_its_cursor() -> None:
    text = written(*whole_run(), terminal=True, term="dumb")
    assert text.splitlines() == LOG


def test_a_log_tells_the_time_left_where_it_is_known() -> None:
    lines = shown(*whole_run(), expected_s={trial.trial_id: 4354.0 for trial in TRIALS}).splitlines()
    assert lines == [*LOG[:3], "1 of 2 trials ended, about 1:12:34 left", *LOG[3:]]


def test_on_a_terminal_ends_and_notices_stay_and_epochs_and_starts_do_not() -> None:
    notice = (TRIALS[0], "notice", {"text": "compiling failed"})
    lines = shown(*whole_run()[:3], notice, *whole_run()[3:], terminal=True).splitlines()
    assert lines.count("[1/2] resnet152_frozen seed 0  compiling failed") == 1
    assert lines.count(LOG[2]) == lines.count(LOG[4]) == 1
    text = "\n".join(lines)
    assert "train loss" not in text
    assert "started" not in text


def test_a_dashboard_is_taken_away_at_the_end() -> None:
    text = written(*whole_run(), terminal=True)
    erased = re.search(r"((?:\x1b\[1A\x1b\[2K)+)$", text)
    assert erased
    frame = text[: erased.start()].rpartition("\x1b[2K")[2]
    assert "2 of 2 ended, 1 failed" in frame
    assert erased[1].count("\x1b[1A") == frame.count("\n") > 4
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is hidden, and is back


def test_a_dashboard_is_taken_away_where_the_run_breaks_off() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=24, color_system=None, _environ={})
    before = sys.stdout, sys.stderr

    def interrupt(*message: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), RunView(console, TRIALS, also=[interrupt]) as view:
        view(*whole_run()[0])
    assert re.search(r"\x1b\[\?25h.*(\x1b\[1A\x1b\[2K){5,}$", file.getvalue(), re.DOTALL)
    assert (sys.stdout, sys.stderr) == before


def test_progress_draws_nothing_by_itself() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=24, color_system=None, _environ={})
    with RunView(console, TRIALS) as view:
        view(*whole_run()[0])
        size = file.tell()
        for _ in range(1000):
            view(TRIALS[0], "progress", PROGRESS)
        assert file.tell() == size


def test_what_goes_to_a_file_stays_out_of_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=24, color_system=None, _environ={})
    with RunView(console, TRIALS):
        print("a warning", file=sys.stderr)
    assert capsys.readouterr().err == "a warning\n"
    assert "a warning" not in file.getvalue()


def test_a_long_error_is_not_cut_in_a_narrow_console() -> None:
    error = "the weights of " + "layer " * 60 + "differ"
    end = (TRIALS[0], "trial", make_record(TRIALS[0], status="not_run", phase="build", error=error))
    assert error in shown(end, width=40).replace("\n", "")
    assert error in shown(end, width=40, terminal=True)


def test_a_terminal_of_80_columns_shows_the_whole_status_of_a_long_name() -> None:
    lines = shown((TRIALS[0], "phase", {"phase": "train"}), (TRIALS[0], "progress", PROGRESS), terminal=True)
    (line,) = [line for line in re.split(r"[\r\n]+", lines) if "45 %" in line]
    assert line.split() == ["1", "resnet152_frozen", "seed", "0", "━━━╸", "45", "%", "12,346", "1:12:34", "512"]
    assert len(line) <= 80


def test_a_notice_is_told_once_for_a_network_and_not_for_each_of_its_seeds() -> None:
    seeds = [(make_trial("cnn", seed), "notice", {"text": "compiling failed"}) for seed in (0, 1)]
    file = io.StringIO()
    with RunView(Console(file=file, width=80), [trial for trial, _, _ in seeds]) as view:
        for message in seeds:
            view(*message)
    assert file.getvalue().count("compiling failed") == 1


def test_an_end_without_a_memory_figure_is_told_all_the_same() -> None:
    text = shown((TRIALS[0], "trial", make_record(TRIALS[0], peak_memory_allocated_mib=None)))
    assert "no memory figure" in text


def test_others_are_told_of_every_message_too() -> None:
    told: list[Message] = []
    shown(*whole_run(), also=[lambda *message: told.append(message)])
    assert told == whole_run()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0:00"), (5.4, "0:05"), (65, "1:05"), (754, "12:34"), (3600, "1:00:00"), (36_061, "10:01:01")),
        (2 * 86_400 + 60, "2 days, 0:01:00"),
    ],
)
def test_seconds_are_written_as_a_clock_does(seconds: float, text: str) -> None:
    assert clock(seconds) == text
