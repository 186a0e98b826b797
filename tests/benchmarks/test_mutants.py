"""`make mutants`: its list is of what is there, and a bug is killed, survives or is stale."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks import mutants
from benchmarks.mutants import MUTANTS, ROOT, Mutant, Outcome, is_stale, try_mutant, try_mutants


def test_every_old_text_occurs_exactly_once() -> None:
    assert [f"{mutant.file}: {mutant.name}" for mutant in MUTANTS if is_stale(mutant)] == []


def test_every_mutant_has_a_name_of_its_own_and_changes_something() -> None:
    assert len({(mutant.file, mutant.name) for mutant in MUTANTS}) == len(MUTANTS)
    assert [mutant.name for mutant in MUTANTS if mutant.old == mutant.new or not mutant.tests] == []


@pytest.mark.parametrize("test", sorted({test for mutant in MUTANTS for test in mutant.tests}))
def test_every_named_test_is_there(test: str) -> None:
    path, *names = test.split("[")[0].split("::")
    text = (ROOT / "tests" / path).read_text(encoding="utf-8")
    assert all(f"def {name}(" in text or f"class {name}:" in text for name in names)


def toy(name: str, old: str, new: str, test: str = "test_sums") -> Mutant:
    return Mutant(name, "sums.py", old, new, (f"test_toy.py::{test}",))


KILLED = toy("killed", "one + other", "one - other")
SURVIVED = toy("survived", "one + other", "other + one")
STALE = toy("stale", "one * other", "one")
AMBIGUOUS = toy("ambiguous", "one", "other")
BROKEN = toy("broken", "def add(", "def ad(")
KINDS = {KILLED: "killed", SURVIVED: "survived", STALE: "stale", AMBIGUOUS: "stale", BROKEN: "broken"}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of one function and its tests."""
    for name, text in {
        "resbench/__init__.py": "",
        "resbench/sums.py": "def add(one, other):\n    return one + other\n",
        "tests/test_toy.py": "from resbench.sums import add\n\n"
        "def test_sums():\n    assert add(2, 3) == 5\n\ndef test_wrong():\n    assert add(2, 3) == 6\n",
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\n',
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bug_is_noticed_or_not_and_the_checkout_is_left_alone(checkout: Path) -> None:
    before = contents(checkout)
    outcomes = [*try_mutants([*KINDS], root=checkout)]
    assert {outcome.mutant: outcome.verdict for outcome in outcomes} == KINDS
    assert [outcome.mutant for outcome in outcomes] == [*KINDS]
    assert outcomes[0].detail == "test_toy.py::test_sums"
    assert contents(checkout) == before


def test_a_bug_that_hangs_is_noticed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], *, timeout: float, **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr("subprocess.run", run)
    assert try_mutant(checkout, KILLED) == Outcome(KILLED, "killed", "no end within 300 s")
    assert (checkout / "resbench/sums.py").read_text() == "def add(one, other):\n    return one + other\n"


def test_tests_that_fail_without_a_bug_notice_none(checkout: Path) -> None:
    wrong = toy("any", "one + other", "one - other", test="test_wrong")
    with pytest.raises(RuntimeError, match=r"do not pass on the unchanged code: test_toy\.py::test_wrong"):
        [*try_mutants([KILLED, wrong], root=checkout)]


@pytest.mark.parametrize(
    ("chosen", "only", "code", "last"),
    [
        ([KILLED, SURVIVED], "", 1, "1 of 2 mutants killed: 50%"),
        ([KILLED, STALE], "", 1, "1 of 2 mutants killed: 50%"),
        ([KILLED, SURVIVED], "kill", 0, "1 of 1 mutants killed: 100%"),
        ([KILLED], "other", 2, "no mutant has 'other' in its name or file."),
        ([toy("any", "one + other", "0", test="test_wrong")], "", 1, "do not pass on the unchanged code"),
    ],
)
def test_the_exit_code_is_0_where_each_is_killed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, chosen: list[Mutant], only: str, code: int, last: str
) -> None:
    monkeypatch.setattr(mutants, "MUTANTS", chosen)
    try:
        mutants.main(only, jobs=1)
        ended = 0
    except typer.Exit as exit_:
        ended = exit_.exit_code
    assert ended == code
    said = capsys.readouterr()
    assert last in (said.out + said.err).splitlines()[-1]
