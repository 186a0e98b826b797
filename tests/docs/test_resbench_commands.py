"""Every `resbench` command of the documents runs: on tiny images, in this process, for two steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from documents import DOCUMENTS, Command, console_commands, listed_commands
from small_world import IMAGES, SMALL, build_world, jobs_in_this_process, placed, without_plots
from typer.testing import CliRunner
from user_code import forgetting

from resbench.cli import app
from resbench.measure.ruler import Reading, Ruler

ARGUMENTS = {
    "[PATTERN]": "resnet*",
    "[SUITE]": "smoke",
    "[MODELS": "cnn",
    "...]": "",
    "FOLDER": "results/mine",
    "FOLDERS": "results/mine",
    "...": "",
    "BASE": "results/before",
    "[NEW]": "results/after",
    "TRIAL_ID": "0123456789ab",
}
"""What stands in the place of an argument of a usage line."""

TOO_LARGE = ("sources", "source-resnet152")
"""Suites whose networks take many seconds to build: planned and not run."""

SHOWN = [command for name in DOCUMENTS for command in console_commands(name)]
LISTED = listed_commands()
RESBENCH = [command for command in (*SHOWN, *LISTED) if command.words[0] == "resbench"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, cache_folder: Path) -> Path:
    """The folder that every test gets a copy of."""
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch, jobs_in_this_process():
        patch.setenv("RESBENCH_CACHE", str(cache_folder))
        patch.chdir(root)
        build_world(root, lambda *words: CliRunner().invoke(app, [*words], prog_name="resbench"))
    return root


@pytest.fixture
def run(
    world: Path, tmp_path: Path, invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[list[str]], Any]]:
    """Runs a command in a copy of that folder."""
    shutil.copytree(world, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    trial_id = str(pd.read_csv("results/mine/trials.csv")["trial_id"][0])
    right = Ruler("a processor", "fp32", (Reading("sleep", 20.0, 20.0, "ms", 0.02, ok=True),))
    monkeypatch.setattr("resbench.machine.calibrate_machine", lambda engine: right)
    with forgetting(), jobs_in_this_process():
        yield lambda words: invoke(*placed(words, trial_id))


def test_every_command_is_one_that_is_run_here_or_beside() -> None:
    assert len(RESBENCH) >= 15
    assert {command.words[0] for command in (*SHOWN, *LISTED)} <= {"resbench", "make"}


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("command", RESBENCH, ids=str)
def test_the_command_runs(command: Command, run: Callable[[list[str]], Any]) -> None:
    words = [ARGUMENTS.get(word, word) for word in command.words[1:]]
    verb, arguments = words[0], [word for word in words[1:] if word]
    if verb == "bench":
        check_bench(arguments, run)
    else:
        check_reading(verb, arguments, run)


def check_bench(arguments: list[str], run: Callable[[list[str]], Any]) -> None:
    """Plans a suite as it is written, and runs it for two steps of tiny images, with one small network for many."""
    data = [] if "--dataset" in arguments else ["--dataset", f"folder:{IMAGES}"]
    planned = run(["bench", *arguments, *data, "--batch-size", "8", "--device", "cpu", "--dry-run", "--no-estimate"])
    assert planned.exit_code == 0, planned.output
    assert "error" not in planned.stderr
    if arguments[:1] in ([name] for name in TOO_LARGE):
        return
    words = [word for word in arguments if word != "--dry-run"]
    out = Path(value_of("--out", words, "out"))
    shutil.rmtree(out, ignore_errors=True)
    models = value_of("--models", words, "cnn")
    models = "cnn" if set(models) & set("*,") else models
    with without_plots():
        done = run(["bench", *words, *data, *SMALL, "--models", models, "--out", str(out)])
    assert done.exit_code == 0, done.output
    tables = [*out.glob("trials.csv")] or [*out.glob("*/trials.csv")]  # a suite's, or those of a collection
    assert tables
    for table in tables:
        assert pd.read_csv(table)[["model", "status", "steps"]].to_numpy().tolist() == [[models, "ok", 2]]


def value_of(flag: str, words: list[str], default: str) -> str:
    """What stands behind a flag."""
    return words[words.index(flag) + 1] if flag in words else default


def check_reading(verb: str, arguments: list[str], run: Callable[[list[str]], Any]) -> None:
    """Runs any other command, on results and networks that are small."""
    tiny = ["--batch-size", "2", "--input", "3x8x8", "--device", "cpu", "--precision", "fp32"]
    small = {"profile": tiny, "check": [*tiny, "--compile", "off"]}
    if verb == "check":  # one network for many, whichever are named
        flags = [number for number, word in enumerate(arguments) if word.startswith("-")]
        arguments = ["cnn", *arguments[flags[0] if flags else len(arguments) :]]
    done = run([verb, *arguments, *small.get(verb, [])])
    # Steps of milliseconds are never as fast as before, so a rerun is beyond noise; its accuracy is what it was.
    assert done.exit_code in ({0, 1} if verb == "reproduce" else {0}), done.output
    said = {
        "list": "resnet34",
        "profile": "cnn" if "cnn" in arguments else "resnet50_nopool",
        "report": {"latex": "tabular", "": "written"}[value_of("--format", arguments, "")],
        "compare": "published" if "--against" in arguments else "same",
        "reproduce": "identical",
        "check": "No faults",
        "env": "right",
    }
    assert said[verb] in done.stdout
    if verb == "report" and "--out" in arguments:
        assert (Path(value_of("--out", arguments, "")) / "README.md").is_file()
