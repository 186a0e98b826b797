"""Every bad input of the catalogue is refused with its exit code and one message that says what was given.

``pytest tests/safety/test_bad_inputs.py`` prints the whole list, with each message, before its last line.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from string import Formatter

import pytest
from bad_inputs import BAD_INPUTS, BadInput
from hostile import assert_harmless, assert_one_message, errors, invoke, tree
from records import make_record, make_trial
from typer.testing import Result
from world import make_world

from resbench.store import Store

Outcome = Callable[[BadInput], tuple[Result, tuple[str, ...]]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def outcome(world: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Runs a bad input, once, in an empty folder; returns what came of it and what its message must hold."""
    known: dict[str, tuple[Result, tuple[str, ...]]] = {}

    def run(case: BadInput) -> tuple[Result, tuple[str, ...]]:
        if case.title not in known:
            folder = tmp_path_factory.mktemp("case")
            places = {name: str(path) for name, path in world.items()}
            if case.toml is not None:
                places["toml"] = str(write_suite(folder, case.toml))
            if case.record is not None:
                places["records"] = str(write_records(folder, case.record))
            elsewhere = tmp_path_factory.mktemp("elsewhere")
            with contextlib.chdir(elsewhere):
                result = invoke(*(fill(word, places) for word in case.arguments), env=case.env)
            assert tree(elsewhere) == set()
            known[case.title] = result, tuple(fill(words, places) for words in case.said)
        return known[case.title]

    return run


def fill(text: str, places: dict[str, str]) -> str:
    """Puts paths in the places of their names."""
    return text.format(**places) if any(name in places for _, name, *_ in Formatter().parse(text)) else text


def write_suite(folder: Path, toml: str) -> Path:
    (folder / "mine.toml").write_text(toml)
    return folder / "mine.toml"


def write_records(folder: Path, record: str) -> Path:
    """A results folder with a bad record between two good ones."""
    store = Store(folder / "results", create=True)
    store.append("trial", make_record(make_trial()))
    with store.path.open("a") as file:
        file.write(record.replace("{trial}", json.dumps(make_record(make_trial(seed=1)))[1:-1]) + "\n")
    store.append("trial", make_record(make_trial(seed=2)))
    return store.folder


@pytest.mark.parametrize("case", BAD_INPUTS, ids=lambda case: case.title)
def test_a_bad_input_is_refused_with_one_message(case: BadInput, outcome: Outcome, world: dict[str, Path]) -> None:
    result, said = outcome(case)
    if case.usage:
        assert result.exit_code == 2
        assert result.stderr.count("Error") == 1
        assert "Traceback" not in result.output
        assert all(words in result.stderr.lower() for words in said)
    else:
        assert_one_message(result, *said, exit_code=case.exit_code)
    assert_harmless(result.output)
    assert not world["sprung"].exists()


def test_the_catalogue_has_each_bad_input_once() -> None:
    assert len(BAD_INPUTS) >= 60
    assert len({case.title for case in BAD_INPUTS}) == len(BAD_INPUTS)
    verbs = {case.arguments[0] for case in BAD_INPUTS}
    assert verbs >= {"list", "bench", "profile", "report", "compare", "env"}


def test_the_list_of_bad_inputs_is_printed(
    outcome: Outcome, capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]
) -> None:
    lines = [f"{case.title:<52} {outcome(case)[0].exit_code}  {_message(outcome(case)[0])}" for case in BAD_INPUTS]
    text = "\n".join(lines)
    assert text.count("error: ") + sum(case.usage for case in BAD_INPUTS) >= len(BAD_INPUTS)
    record_property("bad_inputs", text)
    with capsys.disabled():
        print(f"\n\n{len(lines)} bad inputs, their exit codes and messages:\n\n{text}\n")


def _message(result: Result, longest: int = 300) -> str:
    """What a command said: its line, or what stands in the frame of a usage error."""
    lines = errors(result)
    framed = [line.strip("│ ") for line in lines if line.startswith("│")]
    text = " ".join(framed) if framed else " ".join(lines)
    return text if len(text) <= longest else f"{text[: longest - 40]} ... {text[-35:]}"
