"""The estimate before a suite: when there is one, and what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_folder import make_tiny_folder
from typer.testing import Result

from resbench import console
from resbench.cli import estimating, suites
from resbench.conduct import Conduct
from resbench.estimate import estimate as costs
from resbench.estimate.measurement import Measurement
from resbench.estimate.measuring import Outcome, network_of
from resbench.locks import device_lock
from resbench.schema import Trial
from resbench.store import Store, planned_record

Invoke = Callable[..., Result]
FIGURES = {"setup_s": 1.0, "build_s": 0.1, "count_s": 0.5, "single_s": 0.05, "data_s": 0.05, "eval_s": 0.1}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite of two networks and two seeds: 24 steps, and so not short."""
    path = tmp_path / "tiny.toml"
    text = ["models = ['cnn', 'resnet34']", f"dataset = 'folder:{make_tiny_folder(tmp_path / 'images')}'", "seeds = 2"]
    text += ["batch_size = 8", "budget = '6ep'", "[engine]", "device = 'cpu'", "precision = 'fp32'"]
    path.write_text("\n".join([*text, "[run]", "calibrate = false"]))
    return path


@pytest.fixture
def measured(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Estimates as they are, from figures that nobody measured; returns the networks that were asked for.

    The second one does not fit into memory.
    """
    asked: list[str] = []

    def measure(trials: Sequence[Trial], stored: Any, conduct: Conduct) -> dict[Trial, Outcome]:
        asked.extend(trial.model for trial in trials)
        sizes = {"train_flops_per_image": 1, "peak_mib": 300.0, "taken_mib": 300.0, "state_mib": 1.0}
        fits = Outcome("measured", Measurement(step_s=0.2, **FIGURES, **sizes))
        return {
            network_of(trial): fits if trial.model == "cnn" else Outcome("out of memory", reason="no memory left")
            for trial in trials
        }

    monkeypatch.setattr(suites, "show_dry_run", estimating.show_dry_run)
    monkeypatch.setattr(suites, "show_estimate", estimating.show_estimate)
    monkeypatch.setattr(costs, "measure_networks", measure)
    return asked


def test_a_dry_run_prints_plan_and_estimate_and_makes_no_folder(
    invoke: Invoke, suite: Path, measured: list[str], tmp_path: Path
) -> None:
    result = invoke("bench", suite, "--dry-run", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    plan, _, estimate = result.stdout.partition("estimating: a few training steps of 2 networks\n")
    assert "trials    4 (2 models x 2 seeds)" in plan
    rows = [line.split() for line in estimate.splitlines()]
    # 24 steps, 6 evaluations of two batches, a profile of 7.7 s, and 1.2 s before: 16.1 s, and reading the dataset.
    assert ["cnn", "2", "250", "ms", "6.0", "s", "16", "s", "300", "MiB", "measured"] in rows
    assert ["resnet34", "2", "-", "-", "-", "-", "does", "not", "fit"] in rows
    assert re.search(r"^time +about 3[23] s for 2 trials, without resnet34$", estimate, re.MULTILINE)
    assert re.search(r"^memory +about 3\d\d MiB of .* available: cnn", estimate, re.MULTILINE)
    assert re.search(r"^disk +about 2.1 MiB of .* free: results 2.1 MiB$", estimate, re.MULTILINE)
    assert "warning: resnet34 does not fit into memory in batches of 8 (no memory left)" in result.stderr
    assert not (tmp_path / "out").exists()
    assert measured == ["cnn", "resnet34"]


def test_nothing_is_cut_in_a_terminal_of_80_columns(
    invoke: Invoke, suite: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.out, "_force_terminal", True)
    monkeypatch.setenv("TERM", "xterm")
    text = re.sub(r"\x1b\[[0-9;]*m", "", invoke("bench", suite, "--dry-run").stdout)
    table = text.partition("networks\n")[2].partition("\ntime")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert "…" not in text


@pytest.mark.parametrize("where", ["flag", "file"])
def test_without_an_estimate_a_dry_run_prints_the_plan_alone(
    invoke: Invoke, suite: Path, measured: list[str], where: str
) -> None:
    flags = ["--no-estimate"] if where == "flag" else []
    if where == "file":
        suite.write_text(suite.read_text() + "\nestimate = false\n")
    lines = invoke("bench", suite, "--dry-run", *flags).stdout.splitlines()
    assert lines[-1].startswith("results ")
    assert measured == []


@pytest.fixture
def expected(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float] | None]:
    """Runs no trial and ends each ``ok``; returns what the view of each run was told to expect."""
    told: list[dict[str, float] | None] = []
    view = suites.RunView

    def watched(*arguments: Any, expected_s: dict[str, float] | None = None, **options: Any) -> Any:
        told.append(expected_s)
        return view(*arguments, expected_s=expected_s, **options)

    def record_all(trials: list[Trial], inputs: Any, store: Store, **options: Any) -> None:
        for trial in trials:
            store.append("trial", replace(planned_record(trial), status="ok", test_accuracy=0.5, wall_s=9.0).to_dict())

    monkeypatch.setattr(suites, "RunView", watched)
    monkeypatch.setattr("resbench.run.run_trials", record_all)
    return told


def test_a_run_is_estimated_first_and_its_view_told_what_to_expect(
    invoke: Invoke, suite: Path, measured: list[str], expected: list[dict[str, float] | None], tmp_path: Path
) -> None:
    result = invoke("bench", suite, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "time    about" in result.stdout
    (walls,) = expected
    assert walls is not None
    assert len(walls) == 2  # those of cnn
    assert len(set(walls.values())) == 1
    events = [event["event"] for event in Store(tmp_path / "out").events()]
    assert events == ["suite", *["trial"] * 4]  # nothing of the estimate is recorded


@pytest.mark.parametrize(
    ("flags", "estimated"),
    [
        (["--budget", "20steps"], False),
        (["--budget", "21steps"], True),
        (["--budget", "20s"], False),
        (["--budget", "5ep"], False),  # 20 steps
        (["--budget", "20steps", "--estimate"], True),
        (["--no-estimate"], False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_short_suites_are_estimated_where_that_is_asked_for(
    invoke: Invoke,
    suite: Path,
    measured: list[str],
    expected: list[dict[str, float] | None],
    tmp_path: Path,
    flags: list[str],
    estimated: bool,
) -> None:
    result = invoke("bench", suite, "--out", tmp_path / "out", *flags)
    assert result.exit_code == 0, result.output
    assert ("estimating" in result.stdout, bool(measured), expected != [None]) == (estimated,) * 3


@pytest.mark.usefixtures("expected")
def test_a_dry_run_in_a_folder_counts_what_is_left(
    invoke: Invoke, suite: Path, measured: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert invoke("bench", suite, "--out", out, "--no-estimate").exit_code == 0
    result = invoke("bench", suite, "--out", out, "--dry-run")
    assert result.stdout.splitlines()[-1] == f"nothing is left to run in {out}"
    store = Store(out)
    last = [event for event in store.events() if event["event"] == "trial"][-1]
    store.append("trial", {**last, "status": "crashed"})
    assert f"nothing is left to run in {out}" in invoke("bench", suite, "--out", out, "--dry-run").stdout
    again = invoke("bench", suite, "--out", out, "--dry-run", "--retry-failed")
    assert re.search(r"^time +about 9.0 s for 1 trial$", again.stdout, re.MULTILINE)
    assert "1 recorded" in again.stdout
    assert measured == []


def test_a_device_that_is_in_use_leaves_the_plan_without_an_estimate(
    invoke: Invoke, suite: Path, measured: list[str]
) -> None:
    with device_lock("cpu"):
        result = invoke("bench", suite, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "no estimate: it would mean waiting for the device cpu, which is in use by process" in result.stdout
    assert measured == []


def test_an_interrupt_of_an_estimate_has_exit_code_130(
    invoke: Invoke, suite: Path, measured: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(costs, "measure_networks", interrupt)
    for flags in (["--dry-run"], []):
        result = invoke("bench", suite, "--out", tmp_path / "out", *flags)
        assert result.exit_code == 130
        assert "Traceback" not in result.output
    with device_lock("cpu", on_wait=pytest.fail):  # it is free again
        pass


def test_the_suites_of_a_collection_are_estimated_one_by_one_and_in_all(
    invoke: Invoke, suite: Path, measured: list[str], tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(suite.read_text())
    both = tmp_path / "both.toml"
    both.write_text(f"[suites.'{suite}']\nmodels = ['cnn']\n[suites.'{other}']\nmodels = ['cnn']\nseeds = 1\n")
    result = invoke("bench", both, "--dry-run", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("estimating") == 2
    assert re.search(r"^in all +about 4[89] s for 3 trials, about 4.1 MiB of disk$", result.stdout, re.MULTILINE)
    alone = invoke("bench", both, "--dry-run", "--no-estimate")
    assert "in all" not in alone.stdout
