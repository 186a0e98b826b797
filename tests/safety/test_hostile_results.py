"""Results of a stranger, in which every text is hostile: report, compare and the terminal show them as text."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hostile import COMMANDS, NAMES, assert_harmless, errors, invoke, tree
from PIL import Image
from records import make_epochs, make_record, make_trial
from rich.console import Console

from resbench import console
from resbench.live.view import RunView
from resbench.schema import Trial
from resbench.store import Store, load_results
from resbench.untrusted import printable

HERE = "here"
"""The folder inside which everything must stay."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder in which every text is hostile: models, weights, notes, notices, errors, devices, suites."""
    store = Store(tmp_path_factory.mktemp("stranger") / HERE, create=True)
    names = [*NAMES.values()]
    trials = [make_trial(name, weights=name) for name in names]
    failed = [make_trial(name, 1) for name in names]
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        plans = [trial.to_dict() for trial in (*trials, *failed) if trial.model == name]
        store.append("suite", {"suite": {"name": name}, "notices": [other], "trials": plans})
    for number, (trial, name) in enumerate(zip(trials, names, strict=True)):
        store.append("epoch", make_epochs(make_trial(seed=number), accuracy=0.5, seconds=3.0, epochs=1)[0])
        changes = {"notes": [name], "verdict": name, "verdict_reasons": [name], "torch": name, "host_cpu": name}
        record = make_record(trial, **changes, params=10**6 + number, macs=10**7 + number, started_at=name)
        store.append("trial", {**record, "test_accuracy": 0.5 + number / 100})
    for trial, name in zip(failed, names, strict=True):
        store.append("trial", make_record(trial, status="crashed", phase=name, error=name, test_accuracy=None))
    return store.folder


@pytest.fixture(scope="module")
def reported(results: Path) -> tuple[Path, str]:
    """The folder after ``resbench report``, and what that printed."""
    result = invoke("report", results)
    assert result.exit_code == 0, result.output
    assert errors(result) == []
    return results, result.stdout


def test_a_report_of_hostile_names_writes_only_in_its_folder(reported: tuple[Path, str]) -> None:
    folder, _ = reported
    files = tree(folder)
    assert {path.parts[0] for path in map(Path, tree(folder.parent))} == {HERE}
    assert {"README.md", "trials.csv", "epochs.csv", "profile.csv", "summary.csv", "plots"} <= files
    assert all(re.fullmatch(r"[\w./-]+", name, re.ASCII) for name in files)
    assert [name for name in files if name.endswith(".png")]


def test_the_page_shows_hostile_names_as_text(reported: tuple[Path, str]) -> None:
    page = (reported[0] / "README.md").read_text(encoding="utf-8")
    assert_harmless(page)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "](https://example.org" not in page.replace("\\](", "")
    assert "\\`whoami\\`" in page
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in page.splitlines() if line.startswith("|")]
    widths = {len(row) for row in rows}
    assert all(len(row) in widths and all(cell.strip() for cell in row) for row in rows)
    first = next(index for index, row in enumerate(rows) if row[0].strip() == "model")
    models = rows[first + 2 : first + 2 + 2 * len(NAMES)]
    assert {len(row) for row in models} == {len(rows[first])}


def test_the_terminal_is_not_commanded_by_hostile_names(reported: tuple[Path, str]) -> None:
    printed = reported[1]
    assert_harmless(printed)
    for name in (NAMES["markup"], NAMES["shell"], NAMES["spreadsheet"], NAMES["HTML"]):
        assert name in printed
    assert "\\x1b[31mred\\x1b[0m" in printed


def test_plots_of_hostile_names_are_made_and_are_pictures(reported: tuple[Path, str]) -> None:
    plots = reported[0] / "plots"
    for path in plots.glob("*.png"):
        with Image.open(path) as image:
            assert image.width > 500
    drawings = sorted(plots.glob("*.svg"))
    assert drawings
    for path in drawings:
        drawing = ElementTree.parse(path)
        assert not [element for element in drawing.iter() if element.tag.rpartition("}")[2] == "script"]
        assert_harmless("".join(drawing.getroot().itertext()))


def test_the_csv_files_give_back_every_name_as_it_was(reported: tuple[Path, str]) -> None:
    with (reported[0] / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # UTF-8 has no letter for half of a pair, and readers of CSV take a bare carriage return for the end of a row.
    wanted = [name.replace("\udcff", "\\udcff").replace("\r", "\\r") for name in NAMES.values()]
    assert [row["model"] for row in rows[::2]] == wanted
    assert [row["error"] for row in rows[1::2]] == wanted


@pytest.mark.parametrize("form", [(), ("--json",), ("--markdown",)], ids=str)
def test_a_comparison_of_hostile_names_is_harmless(results: Path, form: tuple[str, ...]) -> None:
    result = invoke("compare", results, results, *form)
    assert result.exit_code == 0, result.output
    assert_harmless(result.output)
    if form == ("--json",):
        json.loads(result.stdout)
    if form == ("--markdown",):
        assert "<script" not in result.stdout


@pytest.mark.slow
def test_two_tables_whose_titles_have_the_same_letters_have_plots_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path / HERE, create=True)
    for number, dataset in enumerate(("猫", "犬", "x" * 300 + "a", "x" * 300 + "b")):
        for model, accuracy in (("one", 0.5), ("two", 0.6)):
            trial = make_trial(model, dataset=dataset, dataset_fingerprint="f" * 64)
            store.append("trial", make_record(trial, test_accuracy=accuracy + number / 100, params=number + len(model)))
    result = invoke("report", store.folder)
    assert result.exit_code == 0, result.output
    page = (store.folder / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"\[!\[[^]]*\]\(([^)]+accuracy_vs_macs\.png)\)\]", page)
    assert len(shown) == len(set(shown)) == 4
    contents = {(store.folder / path).read_bytes() for path in shown}
    assert len(contents) == 4
    assert max(len(path.name) for path in (store.folder / "plots").iterdir()) < 200


# What runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_what_a_trial_says_of_hostile_names_is_a_harmless_line(name: str) -> None:
    file = io.StringIO()
    trial: Trial = make_trial(name)
    with RunView(Console(file=file, width=80), [trial]) as view:
        view(trial, "notice", {"text": name})
        view(trial, "trial", {"status": "crashed", "phase": "train", "error": name})
    printed = file.getvalue()
    assert_harmless(printed)
    assert printed.count("\n") == 3
    assert printed.count(printable(name)) >= 4


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_what_the_command_line_prints_of_hostile_names_is_harmless_and_whole(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console.complain(name, label="error")
    console.say(name)
    console.print_pairs({"name": name})
    printed = capsys.readouterr()
    assert printed.err == f"error: {printable(name)}\n"
    assert printed.out == f"{printable(name)}\nname  {printable(name)}\n"


def test_in_a_terminal_only_the_colours_of_the_program_itself_are_commands(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from resbench.report.tables import rich_table

    monkeypatch.setattr(console.out, "_force_terminal", True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console.out, "_width", 200)
    console.print_table(rich_table(load_results(results)))
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert [mark for mark in COMMANDS if mark in text] == []
    assert "\\x1b[31mred" in text
