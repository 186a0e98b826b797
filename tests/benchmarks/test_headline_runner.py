"""Pieces in time: what is done stays done, what is not is run by the next call, and nothing outlasts its time."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from benchmarks.headline import runner
from benchmarks.headline.place import Command
from benchmarks.headline.runner import Ended, Ledger, run_command, run_in_time
from resbench.errors import InputError


class Clock:
    """Stands still until a command takes its time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> tuple[Clock, list[tuple[str, float]]]:
    """Takes the place of processes: each takes as long as its first argument says and ends as the second says."""
    clock, calls = Clock(), []

    def fake(command: Command, seconds: float) -> Ended:
        takes, exit_code = map(float, command.arguments)
        calls.append((command.name, seconds))
        clock.now += min(takes, seconds)
        return Ended("2026-01-01T00:00:00+00:00", min(takes, seconds), int(exit_code) if takes <= seconds else None)

    monkeypatch.setattr(runner, "run_command", fake)
    return clock, calls


def command(name: str, takes: float, exit_code: int = 0, needs: float = 60) -> Command:
    return Command(name, (str(takes), str(exit_code)), needs_s=needs)


def test_the_next_call_goes_on_where_the_time_was_up(
    tmp_path: Path, ran: tuple[Clock, list[tuple[str, float]]]
) -> None:
    clock, calls = ran
    commands = [command("a", 100), command("b", 150), command("c", 100)]
    left = run_in_time(commands, Ledger(tmp_path / "pieces.json"), minutes=4, clock=clock)
    assert [one.name for one in left] == ["b", "c"]
    assert calls == [("a", 240.0), ("b", 140.0)]  # c: nothing was left of the four minutes
    assert Ledger(tmp_path / "pieces.json").ended["b"].exit_code is None

    left = run_in_time(commands, Ledger(tmp_path / "pieces.json"), minutes=5, clock=clock)
    assert (left, calls[2:]) == ([], [("b", 300.0), ("c", 150.0)])
    assert run_in_time(commands, Ledger(tmp_path / "pieces.json"), minutes=5, clock=clock) == []
    assert len(calls) == 4


def test_a_command_that_needs_more_than_is_left_is_not_begun_and_a_shorter_one_is(
    tmp_path: Path, ran: tuple[Clock, list[tuple[str, float]]]
) -> None:
    clock, calls = ran
    commands = [command("first", 200), command("long", 10, needs=120), command("short", 10, needs=30)]
    left = run_in_time(commands, Ledger(tmp_path / "pieces.json"), minutes=5, clock=clock)
    assert [one.name for one in left] == ["long"]
    assert [name for name, _ in calls] == ["first", "short"]


def test_a_failure_is_kept_the_others_run_and_it_is_tried_again(
    tmp_path: Path, ran: tuple[Clock, list[tuple[str, float]]]
) -> None:
    clock, calls = ran
    ledger = Ledger(tmp_path / "pieces.json")
    said: list[str] = []
    left = run_in_time([command("a", 1, 3), command("b", 1)], ledger, minutes=9, clock=clock, on_message=said.append)
    assert ([one.name for one in left], ledger.ended["a"].exit_code) == (["a"], 3)
    assert said == ["a: 9.0 of 9 minutes left", "b: 9.0 of 9 minutes left"]
    assert run_in_time([command("a", 1), command("new", 1)], ledger, minutes=9, clock=clock) == []
    assert json.loads((tmp_path / "pieces.json").read_text())["a"]["exit_code"] == 0
    assert [name for name, _ in calls] == ["a", "b", "new", "a"]  # what never ran comes before what failed


def test_what_was_made_on_another_machine_is_made_again(
    tmp_path: Path, ran: tuple[Clock, list[tuple[str, float]]]
) -> None:
    clock, calls = ran
    made = Command("images", ("1", "0"), makes=tmp_path / "images")
    ledger = Ledger(tmp_path / "pieces.json")
    assert run_in_time([made], ledger, minutes=9, clock=clock) == [made]  # it ended well, and there is nothing
    (tmp_path / "images").mkdir()
    assert run_in_time([made], ledger, minutes=9, clock=clock) == []
    assert len(calls) == 1


@pytest.mark.parametrize("text", ["", "[1]", '{"a": {"nonsense": 1}}', '{"a": 7}'])
def test_a_list_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "pieces.json").write_text(text)
    with pytest.raises(InputError, match=r"pieces\.json: not a list of what is done.*Remove it"):
        Ledger(tmp_path / "pieces.json")


def test_a_suite_that_was_stopped_in_time_goes_on_before_others_begin(
    tmp_path: Path, ran: tuple[Clock, list[tuple[str, float]]]
) -> None:
    clock, calls = ran
    ledger = Ledger(tmp_path / "pieces.json")
    suite = Command("suite", ("100", "3"), ends_itself=True)
    for _ in range(2):
        run_in_time([suite, command("b", 100)], ledger, minutes=1, clock=clock)
    assert [name for name, _ in calls] == ["suite", "suite"]


MODULES = {
    "says": "import sys; print(*sys.argv[1:]); sys.exit(7)",
    "waits": "import signal; print('waiting', flush=True); signal.pause()",
    "holds": (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); end = open(sys.argv[1], 'wb', buffering=0); "
        "end.write(b'here'); print('held', flush=True); signal.pause()"
    ),
    "starts": (
        "import subprocess, sys; command = [sys.executable, '-m', 'holds', sys.argv[1]]; "
        "subprocess.Popen(command, stdout=subprocess.PIPE).stdout.readline()"
    ),
    "listens": "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)",
    "deaf": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('deaf', flush=True); signal.pause()",
}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, source in MODULES.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_a_process_gets_its_arguments_and_its_exit_code_and_output_are_kept(modules: Path) -> None:
    output = modules / "new" / "said.txt"
    ended = run_command(Command("x", ("says", "one", "two"), output=output), 60)
    assert (ended.exit_code, output.read_text()) == (7, "one two\n")


def test_a_suite_is_told_to_stop_early_enough_for_its_tables(modules: Path) -> None:
    output = modules / "said.txt"
    run_command(Command("x", ("says",), ends_itself=True, output=output), 100)
    assert output.read_text() == "--stop-after 70s\n"


@pytest.mark.parametrize("name", ["waits", "deaf"])
def test_what_is_not_over_in_time_is_ended_even_where_it_does_not_listen(
    modules: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(runner, "GRACE_S", 0.5)
    ended = run_command(Command("x", (name,), output=modules / "said.txt"), 0.5)
    assert (ended.exit_code, ended.done) == (None, False)


def test_a_command_listens_to_an_interrupt_that_this_process_ignores(modules: Path) -> None:
    output = modules / "said.txt"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a background job of a script inherits it
    try:
        run_command(Command("x", ("listens",), output=output), 60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert output.read_text() == "True\n"


def test_what_a_command_has_started_ends_with_it(modules: Path) -> None:
    fifo = modules / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert run_command(Command("x", ("starts", str(fifo))), 60).exit_code == 0
    os.set_blocking(reader, True)
    assert os.read(reader, 9) == b"here"
    assert os.read(reader, 9) == b""  # nobody holds the other end any more
    os.close(reader)
