"""The command lines of the headline results: they parse, name what exists, and cover what is asked."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.harness import __main__ as harness
from benchmarks.harness import kernels
from benchmarks.harness.catalogue import BENCHMARKS
from benchmarks.headline import __main__ as headline
from benchmarks.headline import reencode, runner
from benchmarks.headline.pieces import MODELS, PIECES
from benchmarks.headline.place import Command, Place
from benchmarks.headline.runner import Ended
from resbench.cli import app
from resbench.suite import load_suite

RESBENCH = typer.main.get_command(app)
PARSERS = {
    "benchmarks.harness": harness.main,
    "benchmarks.harness.kernels": kernels.main,
    "benchmarks.headline.reencode": reencode.main,
}


def place(device: str, *, tiny: bool = False) -> Place:
    return Place(Path("out"), "folder:images/cifar10-jpeg75", device, Path("scratch"), tiny)


def every_command(where: Place) -> list[Command]:
    return [command for piece in PIECES.values() for command in piece.commands(where)]


def parse(command: Command) -> None:
    """Parses a command line as its program would; raises what it would complain of."""
    module, *arguments = command.arguments
    if module == "resbench":
        verb = RESBENCH.commands[arguments[0]]  # type: ignore[attr-defined]
        flags = ["--stop-after", "100s"] if command.ends_itself else []
        verb.make_context(arguments[0], [*arguments[1:], *flags])
    elif module != "pytest":
        program = typer.Typer(add_completion=False)
        program.command()(PARSERS[module])
        typer.main.get_command(program).make_context(module, arguments)


@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_command_line_is_one_that_its_program_takes(device: str, tiny: bool) -> None:
    commands = every_command(place(device, tiny=tiny))
    for command in commands:
        assert importlib.util.find_spec(command.arguments[0]), command.name
        parse(command)
        if command.arguments[0] == "benchmarks.harness":
            assert command.arguments[1] in BENCHMARKS
    assert len({command.name for command in commands}) == len(commands)
    assert any(command.ends_itself for command in commands)


def test_an_option_that_does_not_exist_would_be_seen() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(Command("x", ("benchmarks.headline.reencode", "cifar10", "--qualty", "3")))


def test_the_five_networks_are_the_suites_own() -> None:
    assert list(MODELS) == list(load_suite("cifar10").models)


def test_on_cuda_batches_of_1_to_2048_are_swept_and_each_quality_is_trained_on() -> None:
    commands = {command.name: command.arguments for command in every_command(place("cuda"))}
    sizes = commands["sweep resnet152"][commands["sweep resnet152"].index("--batch-size") + 1].split(",")
    assert (sizes[0], sizes[-1]) == ("1", "2048")
    images = commands["jpeg images q25"][commands["jpeg images q25"].index("--out") + 1]
    assert images == "scratch/cifar10-jpeg75-q25"
    assert f"folder:{images}" in commands["jpeg q25"]


def run(out: Path, *arguments: str) -> tuple[int, str]:
    program = typer.Typer(add_completion=False)
    program.command()(headline.main)
    result = CliRunner().invoke(program, [*arguments, "--out", str(out), "--device", "cpu"])
    return result.exit_code, result.output


def test_the_table_says_what_is_done_and_why_the_rest_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = {"sweep resnet50": None, "sweep resnet152": 3}
    asked: list[str] = []

    def fake(command: Command, seconds: float) -> Ended:
        asked.append(command.name)
        return Ended("2026-01-01T00:00:00+00:00", 10.0, codes.get(command.name, 0))

    monkeypatch.setattr(runner, "run_command", fake)
    code, said = run(tmp_path, "sweep", "tests")
    assert code == 3
    assert asked == [f"sweep {model}" for model in MODELS]  # the tests are for CUDA
    assert "3/5" in said
    assert "sweep resnet50: time was up" in said
    assert "sweep resnet152: exit code 3" in said
    assert "2 commands left. The same command goes on." in said

    codes.clear()
    code, said = run(tmp_path, "sweep")
    assert (code, asked[5:]) == (0, ["sweep resnet50", "sweep resnet152"])
    assert "5/5" in said


def test_an_unknown_piece_or_device_is_one_message(tmp_path: Path) -> None:
    code, said = run(tmp_path / "new", "swep")
    assert (code, "unknown piece 'swep'. Did you mean sweep?" in said) == (2, True)
    assert not (tmp_path / "new").exists()
