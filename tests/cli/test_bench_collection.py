"""A collection run from the command line: a folder for each suite, one page, and exit codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from tiny_folder import make_tiny_folder

from resbench.cli import suites as front
from resbench.planning.plan import Plan
from resbench.report import write_report
from resbench.report.experiments.stored import COLLECTION
from resbench.store import Store, load_results, planned_record

Invoke = Callable[..., Result]

SUITE = """
batch_size = 8
budget = "1steps"
[source]
title = "A tutorial on {name}"
said = ["It trains a plain network."]
[[arms]]
name = "as published"
model = "cnn"
recipe = "d2l"
[[arms]]
name = "common"
model = "cnn"
[[compare]]
question = "What do its choices cost?"
arm = "as published"
against = "common"
[engine]
device = "cpu"
precision = "fp32"
[run]
calibrate = false
"""


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """A collection of two suites on tiny images."""
    images = make_tiny_folder(tmp_path / "images")
    path = tmp_path / "both.toml"
    tables = []
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(f"dataset = 'folder:{images}'\n{SUITE.format(name=name)}")
        tables.append(f"[suites.'{tmp_path / name}.toml']")
    path.write_text("\n".join(["description = 'two tutorials'", *tables, ""]))
    return path


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records every trial of a suite as ended, without running it; returns the suites, in their order."""
    suites: list[str] = []

    def record(plan: Plan, folder: Path, **options: Any) -> int:
        suites.append(folder.name)
        store = Store(folder, create=True)
        arms = [{"name": name, "trial_ids": [trial.trial_id for trial in its]} for name, its in plan.arms.items()]
        store.append("suite", {"trials": [trial.to_dict() for trial in plan.trials], "arms": arms})
        for trial in plan.trials:
            store.append("trial", replace(planned_record(trial), status="ok", test_accuracy=0.5).to_dict())
        write_report(folder)
        return 0

    monkeypatch.setattr(front, "run_and_report", record)
    return suites


@pytest.mark.usefixtures("warm_trials", "no_drawing")
def test_a_collection_runs_each_suite_into_a_folder_of_its_own_and_tells_of_all_on_one_page(
    invoke: Invoke, both: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = invoke("bench", both, "--out", out)
    assert result.exit_code == 0, result.output
    assert "\n[1/2] one\n" in result.stdout
    assert "[2/2] two" in result.stdout
    assert "cnn seed 0 (as published)" in result.stdout
    for name in ("one", "two"):
        results = load_results(out / name)
        assert sorted(results.trials["recipe"]) == ["common", "d2l"]
        assert (results.trials["status"] == "ok").all()
        assert [arm["name"] for arm in results.suites[-1]["arms"]] == ["as published", "common"]
    page = (out / "README.md").read_text()
    assert "A tutorial on one" in page
    assert "A tutorial on two" in page
    assert "What do its choices cost?" in page

    again = invoke("bench", both, "--out", out)
    assert again.exit_code == 0
    assert again.stdout.count("not run again") == 2

    rebuilt = invoke("report", out)
    assert rebuilt.exit_code == 0
    assert (out / "README.md").read_text() == page


@pytest.mark.usefixtures("no_drawing")
def test_one_suite_under_two_budgets_has_two_folders_and_a_page_that_holds_them_beside_each_other(
    invoke: Invoke, tmp_path: Path, recorded: list[str]
) -> None:
    base, path, out = tmp_path / "base.toml", tmp_path / "budgets.toml", tmp_path / "out"
    base.write_text(
        f"""
        models = ["cnn", "resnet34"]
        dataset = "folder:{make_tiny_folder(tmp_path / "images")}"
        batch_size = 8
        budget = "1steps"
        engine.device = "cpu"
        compare = [{{question = "What does a residual network add?", arm = "resnet34", against = "cnn"}}]
        """
    )
    path.write_text(f"[suites.short]\nsuite = '{base}'\n[suites.long]\nsuite = '{base}'\nbudget = '2ep'\n")
    result = invoke("bench", path, "--out", out)
    assert result.exit_code == 0, result.output
    assert recorded == ["short", "long"]
    page = (out / "README.md").read_text()
    assert "short (1steps) |" in page
    assert "long (2ep) |" in page
    assert "**What does a residual network add?**" in page
    assert invoke("report", out).exit_code == 0
    assert (out / "README.md").read_text() == page

    fewer = invoke("bench", path, "--out", tmp_path / "fewer", "--models", "cnn")
    assert fewer.exit_code == 0
    assert "## Questions" not in (tmp_path / "fewer" / "README.md").read_text()


def test_a_dry_run_of_a_collection_prints_every_plan_and_makes_no_folder(
    invoke: Invoke, both: Path, tmp_path: Path
) -> None:
    result = invoke("bench", both, "--out", tmp_path / "out", "--dry-run", "--budget", "2steps")
    assert result.exit_code == 0
    assert result.stdout.count("recipe d2l, budget 2steps, batch 8") == 2
    assert not (tmp_path / "out").exists()


def test_a_suite_whose_dataset_cannot_be_had_is_named_and_the_exit_code_is_3(
    invoke: Invoke, both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: list[str]
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with both.open("a") as file:
        file.write("dataset = 'cifar10'\n")  # of the last suite
    out = tmp_path / "out"
    result = invoke("bench", both, "--out", out, "--data-dir", tmp_path / "none")
    assert result.exit_code == 3
    assert "two is not run: cifar10 cannot be read" in result.stderr
    assert recorded == ["one"]
    assert (out / "one" / "README.md").is_file()
    assert not (out / "two").exists()
    assert "Not run: the dataset cifar10 is neither on disk nor downloadable." in (out / "README.md").read_text()


@pytest.mark.usefixtures("recorded")
def test_an_interrupt_leaves_a_page_of_what_ended(
    invoke: Invoke, both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = front.run_and_report

    def interrupted(plan: Plan, folder: Path, **options: Any) -> int:
        if folder.name == "two":
            raise KeyboardInterrupt
        return run(plan, folder, **options)

    monkeypatch.setattr(front, "run_and_report", interrupted)
    result = invoke("bench", both, "--out", tmp_path / "out", "--models", "cnn")
    assert result.exit_code == 130
    page = (tmp_path / "out" / "README.md").read_text()
    assert "A tutorial on one" in page
    assert "2 of 2 planned trials ended ok" in page


def test_without_cuda_the_small_collection_takes_the_place_of_the_whole_one_unless_a_budget_is_given(
    invoke: Invoke, both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    whole = tmp_path / "whole.toml"
    whole.write_text(f"without_cuda = '{both}'\n[suites.'{tmp_path / 'one.toml'}']\n")
    small = invoke("bench", whole, "--dry-run")
    assert small.exit_code == 0
    assert "no CUDA device" in small.stderr
    assert "[2/2] two" in small.stdout
    asked = invoke("bench", whole, "--dry-run", "--budget", "2steps")
    assert "[1/1] one" in asked.stdout
    assert "no CUDA device" not in asked.stderr


def test_a_report_of_a_collection_that_is_none_is_one_clear_message(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / COLLECTION).write_text("[]")
    result = invoke("report", tmp_path)
    assert result.exit_code == 2
    assert COLLECTION in result.stderr
    assert "Traceback" not in result.output
