from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import resbench
from resbench import environment, machine
from resbench.cli import app
from resbench.errors import RulerError
from resbench.executors.process import Exit
from resbench.machine import calibrate_machine, default_engine
from resbench.measure.ruler import Reading, Ruler
from resbench.planning import precision_choice
from resbench.schema import EngineSettings

SLEEP = Reading("sleep", 20.1, 20.2, "ms", 0.02, ok=True)
RATE = Reading("matmul rate", None, 0.12, "TFLOP/s", None, ok=True)
BLOCK = Reading("allocation", 96.0, 100.66, "MiB", 0.03, ok=False)
RIGHT, WRONG = Ruler("a processor", "fp32", (SLEEP, RATE)), Ruler("a processor", "fp32", (SLEEP, BLOCK))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[Ruler], None]:
    """Sets what the instruments read, on a machine where nothing distorts."""
    monkeypatch.setattr(environment, "distortions", list)
    return lambda ruler: monkeypatch.setattr(machine, "calibrate_machine", lambda engine: ruler)


@pytest.mark.usefixtures("warm_trials")
def test_the_instruments_are_tested_in_a_process_of_their_own(tmp_path: Path):
    log = tmp_path / "logs" / "ruler.log"
    ruler = calibrate_machine(EngineSettings(device="cpu", precision="fp32"), log=log)
    assert (ruler.ok, ruler.failures) == (True, [])
    assert ruler.device_name == machine.machine_facts(EngineSettings("cpu", "fp32"))["device_name"]
    assert log.exists()


def test_a_process_that_ends_before_it_has_read_anything_is_an_error_that_says_how(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "run_in_process", lambda *arguments, **options: Exit(-9, "some last words"))
    with pytest.raises(RulerError, match=r"not be tested on cuda:1: .*SIGKILL.*some last words.*--device") as raised:
        calibrate_machine(EngineSettings(device="cuda:1", precision="bf16"))
    assert raised.value.exit_code == 3


def test_the_default_engine_is_what_trials_get_that_ask_for_none():
    engine = default_engine()
    assert engine.device in {"cpu", "cuda", "mps"}
    assert engine.precision in {"fp32", "bf16"}


def test_env_prints_facts_and_readings(reads):
    reads(RIGHT)
    facts = json.loads(CliRunner().invoke(app, ["env", "--json"]).stdout)
    result = CliRunner().invoke(app, ["env"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    names = [name for name in facts if name not in {"distortions", "ruler", "bf16_speedups"}]
    assert [line.split()[0] for line in lines[: len(names)]] == names
    assert facts["torch"] == torch.__version__
    assert facts["resbench"] == resbench.__version__
    assert [line.split() for line in lines[len(names) :]] == [
        ["quantity", "expected", "measured", "verdict"],
        ["sleep", "20.1", "ms", "20.2", "ms", "right"],
        ["matmul", "rate,", "fp32", "0.12", "TFLOP/s", "read"],
    ]


@pytest.mark.parametrize(("flags", "expected"), [([], 1.5), (["--renew"], 0.9)])
def test_env_shows_how_much_faster_bf16_is_and_times_it_anew_where_it_is_told_to(
    reads, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: list[str], expected: float
):
    """Of a machine where all networks were 1.5 times as fast once, and are .9 times as fast now."""
    reads(RIGHT)
    monkeypatch.delenv("RESBENCH_PRECISION")
    monkeypatch.setenv("RESBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(precision_choice, "has_bf16", lambda: True)
    speedup = 1.5

    def run(job: object, arguments: tuple[list[object]], *, on_message: Callable[..., None], **options: object) -> None:
        for place in range(len(arguments[0])):
            on_message("speedup", {"place": place, "speedup": speedup, "doubts": []})

    monkeypatch.setattr(precision_choice, "run_in_process", run)
    assert default_engine().precision == "bf16"
    speedup = 0.9
    shown = CliRunner().invoke(app, ["env", *flags]).stdout
    facts = json.loads(CliRunner().invoke(app, ["env", "--json"]).stdout)
    assert facts["default_precision"] == ("bf16" if expected > 1 else "fp32")
    names = [f"{name}, source stem, 3x32x32, batch 64" for name in machine.NETWORKS]
    assert facts["bf16_speedups"] == dict.fromkeys(names, expected)
    for name in names:
        assert f"bf16 over fp32: {name}" in shown
    assert shown.count(f"  {expected:.2f}\n") == 5


def test_env_warns_of_what_distorts_and_has_it_in_json(reads, monkeypatch: pytest.MonkeyPatch):
    reads(RIGHT)
    monkeypatch.setattr(environment, "distortions", lambda: ["the machine runs on battery: clocks are lower."])
    result = CliRunner().invoke(app, ["env"])
    assert "warning: the machine runs on battery: clocks are lower." in result.stderr
    assert result.exit_code == 0
    data = json.loads(CliRunner().invoke(app, ["env", "--json"]).stdout)
    assert data["distortions"] == ["the machine runs on battery: clocks are lower."]
    assert Ruler.from_dict(data["ruler"]) == RIGHT


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_env_with_an_instrument_that_is_wrong_shows_all_and_ends_with_exit_code_3(reads, flags):
    reads(WRONG)
    result = CliRunner().invoke(app, ["env", *flags])
    assert result.exit_code == 3
    assert "allocation: measured 100.7 MiB, expected 96 MiB within 3%" in result.stderr
    if flags:
        assert json.loads(result.stdout)["ruler"]["ok"] is False
    else:
        assert result.stdout.splitlines()[-1].split() == ["allocation", "96", "MiB", "100.7", "MiB", "wrong"]


def test_what_distorts_here_reaches_the_command_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "calibrate_machine", lambda engine: RIGHT)
    monkeypatch.setattr(sys, "gettotalrefcount", lambda: 1, raising=False)
    data = json.loads(CliRunner().invoke(app, ["env", "--json"]).stdout)
    assert any(sentence.startswith("a debug build of Python") for sentence in data["distortions"])
