"""Every `make` command of the documents: make runs, its recipes call what exists, with what it was told.

The programs that it would start are put in by scripts that write down how they were called. What is a `resbench`
command then is planned or run here, and of everything else it is checked that it would find what it names.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from documents import DOCUMENTS, ROOT, Command, console_commands, listed_commands
from small_world import IMAGES
from tiny_folder import make_tiny_folder

PROGRAMS = ("resbench", "python", "ruff", "mypy")
NOTE = '#!/bin/sh\n{ printf "%s\\0" "${0##*/}" "$@"; echo; } >> "$CALLS"\n'

MAKE = {
    str(command): command
    for command in (*(command for name in DOCUMENTS for command in console_commands(name)), *listed_commands())
    if command.words[0] == "make"
}
VARIABLES = {"--models": "MODELS", "--budget": "BUDGET", "--dataset": "DATASET", "--out": "OUT", "--minutes": "MINUTES"}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], tuple[list[list[str]], str]]:
    """Runs make in a folder of its own; returns how programs were called, and what it printed."""
    programs, log = tmp_path / "bin", tmp_path / "calls"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text(NOTE)
        (programs / name).chmod(0o755)
    here = tmp_path / "here"
    make_tiny_folder(here / IMAGES)
    monkeypatch.chdir(here)

    def run(words: list[str]) -> tuple[list[list[str]], str]:
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
            monkeypatch.delenv(name, raising=False)
        flags = ["-f", str(ROOT / "Makefile"), "-o", ".venv/.ready", f"BIN={programs}"]
        done = subprocess.run(
            ["make", *flags, *words], env={**os.environ, "CALLS": str(log)}, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.split("\0")[:-1] for line in lines], done.stdout

    return run


def test_the_documents_show_what_there_is() -> None:
    assert len(MAKE) >= 15
    assert {"make bench", "make test"} <= {" ".join(command.words) for command in MAKE.values()}


@pytest.mark.parametrize("command", [c for c in MAKE.values() if c.words[1] != "setup"], ids=str)
def test_the_command_calls_what_exists(
    command: Command, calls: Callable[[list[str]], tuple[list[list[str]], str]], invoke: Callable[..., Any]
) -> None:
    target, *assignments = command.words[1:]
    made, printed = calls(command.words[1:])
    assert made or target in ("help", "clean")
    for program, *words in made:
        if program == "resbench":
            check_resbench(words, invoke)
        elif program == "python":
            check_module(words)
        else:
            assert (Path(sys.executable).parent / program).exists() or shutil.which(program)
    given = dict(assignment.split("=", 1) for assignment in assignments)
    called = [word for call in made for word in call]
    for flag, variable in VARIABLES.items():
        if variable in given:
            assert called[called.index(flag) + 1] == given.pop(variable)
    assert set(given.values()) <= set(" ".join(called).split())
    if target == "help":
        check_help(printed)


def check_resbench(words: list[str], invoke: Callable[..., Any]) -> None:
    """Plans a suite, on images that are there; another command need only be one."""
    verb, *arguments = words
    if verb != "bench":
        assert invoke(verb, "--help").exit_code == 0
        return
    arguments = [f"folder:{IMAGES}" if word.startswith("folder:") else word for word in arguments]
    data = [] if "--dataset" in arguments else ["--dataset", f"folder:{IMAGES}"]
    small = ["--batch-size", "8", "--device", "cpu", "--precision", "fp32", "--dry-run", "--no-estimate"]
    planned = invoke(verb, *arguments, *data, *small)
    assert planned.exit_code == 0, planned.output


def check_module(words: list[str]) -> None:
    """Checks `python -m`: that there is such a module, and that it takes these arguments; nothing is run."""
    assert words[0] == "-m"
    module, arguments = words[1], words[2:]
    if module == "pytest":
        for word in arguments:
            assert not word.endswith(".py") or (ROOT / word).is_file()
        plugins = {"-n": "xdist", "--maxprocesses": "xdist", "--benchmark-only": "pytest_benchmark"}
        for flag in plugins.keys() & {*arguments}:
            assert importlib.util.find_spec(plugins[flag])
        return
    found = importlib.util.find_spec(module)
    assert found
    main = importlib.import_module(f"{module}.__main__" if found.submodule_search_locations else module).main
    app = typer.Typer()
    app.command()(main)
    parser: Any = typer.main.get_command(app)
    parser.make_context(module, arguments)  # raises where it does not take one of them


def check_help(printed: str) -> None:
    """Checks that help names the targets that the documents tell of."""
    named = {line.split()[1] for line in printed.splitlines() if line.startswith("  make ")}
    assert {command.words[1] for command in MAKE.values()} <= named


def test_setup_would_install_what_is_pinned() -> None:
    done = subprocess.run(
        ["make", "-n", "-C", str(ROOT), "-W", "pyproject.toml", "setup"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    venv, pip, _ = [line for line in done.stdout.splitlines() if not line.startswith("make")]
    assert venv.endswith("-m venv .venv")
    assert pip.startswith(".venv/bin/python -m pip install")
    assert pip.endswith("-c constraints.txt -e '.[dev]'")
    assert (ROOT / "constraints.txt").is_file()
    assert "dev" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_clean_leaves_results(calls: Callable[[list[str]], tuple[list[list[str]], str]]) -> None:
    kept, gone = Path("results/mine/records.jsonl"), Path(".venv/bin/python")
    for path in (kept, gone):
        path.parent.mkdir(parents=True)
        path.touch()
    calls(["clean"])
    assert kept.exists()
    assert not gone.exists()
