"""The documents and the committed results' pages are what would be made of their records now."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT
from typer.testing import CliRunner

from benchmarks.docs import __main__ as command
from benchmarks.docs.drift import find_drift
from benchmarks.docs.pages import INDEX, committed_folders
from resbench.errors import InputError


@pytest.mark.usefixtures("no_drawing")
def test_nothing_has_drifted() -> None:
    assert find_drift(ROOT) == [], "`make docs` makes it anew"


def test_every_committed_folder_is_listed() -> None:
    named = {folder.name for folder in committed_folders(ROOT)}
    ignored = (ROOT / ".gitignore").read_text()
    assert named == set(re.findall(r"^!results/([^/\n]+)/$", ignored, flags=re.MULTILINE))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A repository with one harness page and one document that shows it."""
    folder = tmp_path / "results" / "harness-cpu"
    folder.mkdir(parents=True)
    for name in ("harness.csv", "NOTES.md", "README.md", "workers.png", "workers.svg"):
        shutil.copy(ROOT / "results/harness-cpu" / name, folder)
    (tmp_path / INDEX).write_text("[harness](harness-cpu/README.md)\n")
    (tmp_path / "README.md").write_text("words\n<!-- generated: harness results/harness-cpu -->\n<!-- end -->\n")
    (tmp_path / "METHOD.md").write_text("no blocks\n")
    (tmp_path / "Makefile").write_text("")
    return tmp_path


def run(root: Path, *flags: str) -> Any:
    from typer import Typer

    app = Typer()
    app.command()(command.main)
    return CliRunner().invoke(app, ["--root", str(root), *flags])


def test_a_check_names_what_drifted_and_changes_nothing(small: Path) -> None:
    page = small / "results/harness-cpu/README.md"
    page.write_text(page.read_text().replace("0.992", "0.999"))
    before = {path: path.read_bytes() for path in small.rglob("*.md")}
    found = run(small, "--check")
    assert found.exit_code == 1
    assert found.stdout.splitlines() == [
        "README.md, line 2: harness results/harness-cpu",
        "results/harness-cpu/README.md: not what its records say",
    ]
    assert {path: path.read_bytes() for path in small.rglob("*.md")} == before


def test_docs_makes_it_anew_and_then_nothing_has_drifted(small: Path) -> None:
    made = run(small)
    assert (made.exit_code, made.stdout) == (
        0,
        "README.md, line 2: harness results/harness-cpu\n1 generated part changed\n",
    )
    assert "| start-up" in (small / "README.md").read_text()
    again = run(small, "--check")
    assert (again.exit_code, again.stdout) == (0, "nothing has drifted\n")


def test_a_page_that_is_missing_is_named(small: Path) -> None:
    run(small)
    (small / "results/harness-cpu/README.md").unlink()
    assert run(small, "--check").stdout.splitlines() == ["results/harness-cpu/README.md: it is missing"]


def test_a_folder_that_is_listed_and_not_there_is_one_message_with_its_line(small: Path) -> None:
    (small / INDEX).write_text("# Results\n\n[gone](gone/README.md)\n")
    with pytest.raises(InputError, match=r"results/README\.md, line 3: gone holds no results"):
        committed_folders(small)
    assert run(small).exit_code == 2
    broken = small / "results" / "broken"
    broken.mkdir()
    (broken / "records.jsonl").write_text("not a record\n{}\n")
    (small / INDEX).write_text("[broken](broken/README.md)\n")
    failed = run(small)
    assert (failed.exit_code, failed.stderr.count("error: ")) == (2, 2)
    assert "not a resbench record" in failed.stderr
    (small / INDEX).unlink()
    with pytest.raises(InputError, match="Run this in the repository's root"):
        committed_folders(small)
