from __future__ import annotations

import io
import re
from typing import Any

import pytest
from records import make_record, make_trial
from rich.cells import cell_len
from rich.console import Console

from resbench.live.board import Board
from resbench.live.dashboard import Dashboard
from resbench.live.left import TimeLeft
from resbench.schema import Trial

MODELS = ("cnn", "d2l_resnet18", "resnet34", "resnet50", "se_resnet50", "resnet152", "resnet152_frozen")


class Screen:
    """A dashboard under a clock of its own, on terminals of any size."""

    def __init__(self, *trials: Trial, labels: dict[str, str] | None = None, **options: Any) -> None:
        self.time = 0.0
        self.board = Board(trials, labels or {}, lambda: self.time)
        self.left = TimeLeft(trials, now=lambda: self.time, **options)

    def tell(self, trial: Trial, kind: str, after: float = 0.0, **data: Any) -> None:
        self.time += after
        self.board(trial, kind, data)
        self.left(trial, kind, data)

    def train(self, trial: Trial, fraction: float, *, after: float = 10.0) -> None:
        self.tell(trial, "phase", phase="train")
        figures = {"images_per_second": 12_345.6, "seconds_left": 100 * (1 - fraction), "memory_mib": 1234.5}
        self.tell(trial, "progress", after, fraction=fraction, **figures)

    def lines(self, width: int = 80, height: int = 24, **options: Any) -> list[str]:
        """What a terminal shows, without the blank characters at the ends of lines."""
        file = io.StringIO()
        console = Console(
            file=file, width=width, height=height, force_terminal=True, color_system=None, _environ={}, **options
        )
        console.print(Dashboard(self.board, self.left), end="")
        lines = file.getvalue().split("\n")
        assert max(map(cell_len, lines)) <= width
        assert len(lines) <= height
        return [line.rstrip() for line in lines]


def test_a_suite_on_its_way_on_80_columns() -> None:
    ok, bad, runs, builds, _ = trials = [make_trial(model) for model in MODELS[:5]]
    screen = Screen(*trials, expected_s={trial.trial_id: 300.0 for trial in trials})
    screen.tell(ok, "facts", device_name="NVIDIA H200")
    screen.tell(ok, "trial", 65, **make_record(ok, test_accuracy=0.9))
    nothing = {"test_accuracy": None, "train_images_per_second": None, "peak_memory_allocated_mib": None}
    screen.tell(bad, "trial", **make_record(bad, status="oom", phase="train", error="no memory", **nothing))
    screen.train(runs, 0.0)
    screen.train(runs, 0.5, after=60)
    screen.tell(runs, "epoch", test_accuracy=0.8765)
    screen.tell(builds, "phase", phase="build")
    screen.tell(builds, "notice", text="compiling failed, so it runs eagerly")
    screen.time += 6
    assert screen.lines() == [
        "",
        "#  trial                status            test  images/s   left    MiB held",
        "1  cnn seed 0           ok in 1:05      90.00%    44,000         peak 1,500",
        "2  d2l_resnet18 seed 0  oom",
        "3  resnet34 seed 0      ━━━━      50 %  87.65%    12,346   0:54       1,234",
        "4  resnet50 seed 0      build 0:06                         4:54",
        "5  se_resnet50 seed 0   waiting                            5:00",
        "",
        "━━━━━━━━━━━             2 of 5 ended, 1 failed   about 10:48 left   2:21 elapsed",
        "NVIDIA H200",
        "resnet50 seed 0: compiling failed, so it runs eagerly",
        "",
    ]


def test_a_wide_terminal_has_the_phase_and_a_bar() -> None:
    trial = make_trial()
    screen = Screen(trial)
    screen.train(trial, 0.5)
    line = screen.lines(140)[2]
    assert "train 0:10" in line
    assert "━━━━━━━━━━━━" in line
    assert "50 %" in line
    screen.tell(trial, "phase", phase="eval")
    assert "eval 0:10" in screen.lines(140)[2]


@pytest.mark.parametrize(
    ("width", "height", "running"),
    [(80, 24, 3), (140, 40, 3), (60, 24, 3), (40, 15, 3), (30, 12, 2), (200, 11, 1)],
)
def test_a_long_suite_fits_and_shows_what_runs(width: int, height: int, running: int) -> None:
    trials = [make_trial(model, seed) for seed in range(12) for model in MODELS]
    screen = Screen(*trials)
    for trial in trials[:30]:
        screen.tell(trial, "trial", 100, **make_record(trial))
    for trial in trials[30:33]:
        screen.train(trial, 0.25)
    screen.tell(trials[32], "notice", text="a notice that is long " * 20)
    text = "\n".join(screen.lines(width, height))
    assert text.count("25 %") == running
    hidden = [int(number) for number in re.findall(r"^ *… (\d+)", text, re.MULTILINE)]
    assert len(hidden) == 2
    assert sum(hidden) + text.strip().split("\n\n")[0].count("\n") - len(hidden) == len(trials)
    assert "30 of 84 ended" in text
    assert "MiB held" in text or width < 70


def test_names_that_are_cut_keep_both_ends() -> None:
    trial = make_trial("torchvision:wide_resnet101_2", 3)
    line = next(line for line in Screen(trial).lines(60) if "waiting" in line)
    assert line.startswith("torch")
    assert "… " not in line.partition("waiting")[0].strip()[-3:]
    assert " 3  waiting" in line or "seed 3  waiting" in line


def test_without_trials_there_is_a_standing_all_the_same() -> None:
    assert "0 of 0 ended" in "\n".join(Screen().lines())


def test_what_is_not_known_is_left_empty() -> None:
    trial = make_trial()
    screen = Screen(trial)
    assert screen.lines()[2] == "1  resnet34 seed 0  waiting"
    assert "about" not in "\n".join(screen.lines())


def test_trials_are_numbered_in_the_order_in_which_they_begin() -> None:
    _, second, third = trials = [make_trial("cnn", seed) for seed in range(3)]
    screen = Screen(*trials)
    screen.tell(second, "phase", phase="data")
    screen.tell(third, "phase", phase="data")
    screen.tell(second, "trial", **make_record(second))
    assert [line.split("  ")[:2] for line in screen.lines()[2:5]] == [
        ["1", "cnn seed 1"],
        ["2", "cnn seed 2"],
        ["3", "cnn seed 0"],
    ]


@pytest.mark.parametrize("name", ["\x1b[31mred\x1b[0m", "a\rb\nc", "[bold]x[/bold]", "‮left", "猫" * 40, ":cat:", ""])
def test_a_strangers_texts_are_texts(name: str) -> None:
    trial = make_trial(name or "cnn")
    screen = Screen(trial, labels={trial.trial_id: name})
    screen.tell(trial, "facts", device_name=name)
    screen.tell(trial, "notice", text=name)
    lines = screen.lines()
    assert all(line.isprintable() for line in lines)
    assert len([line for line in lines if line]) >= 3
    if name.startswith("["):
        assert sum(name in line for line in lines) == 3


def test_of_a_trial_that_takes_another_attempt_the_progress_begins_anew() -> None:
    trial = make_trial()
    screen = Screen(trial)
    screen.train(trial, 0.75)
    assert " 75 %" in screen.lines()[2]
    screen.tell(trial, "training", steps=0)
    assert "  0 %" in screen.lines()[2]


@pytest.mark.parametrize(
    ("status", "style"),
    [("ok", "32"), ("oom", "31"), ("crashed", "31"), ("diverged", "31"), ("interrupted", "33")],
)
def test_how_a_trial_ended_has_its_colour(status: str, style: str) -> None:
    trial = make_trial()
    screen = Screen(trial)
    screen.tell(trial, "trial", **make_record(trial, status=status))
    file = io.StringIO()
    console = Console(file=file, width=80, height=24, force_terminal=True, color_system="standard", _environ={})
    console.print(Dashboard(screen.board, screen.left))
    assert f"\x1b[{style}m{status}" in file.getvalue()
