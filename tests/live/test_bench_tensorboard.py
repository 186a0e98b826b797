"""`resbench bench --tensorboard`, from the flag to the files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from records import make_epochs, make_record
from tiny_folder import make_tiny_folder

from resbench.errors import InputError
from resbench.schema import Trial
from resbench.store import Store

pytestmark = pytest.mark.usefixtures("no_drawing")

Invoke = Callable[..., Result]

SUITE = """
models = ["cnn", "resnet34"]
seeds = 2
batch_size = 8
budget = "1ep"
dataset = "folder:{images}"
[engine]
device = "cpu"
precision = "fp32"
[run]
calibrate = false
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE.format(images=make_tiny_folder(tmp_path / "images")))
    return path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """Sends the messages of trials that end well and runs none; returns which."""
    trials: list[Trial] = []

    def run(waiting: list[Trial], inputs: Any, store: Store, *, on_message: Any, **options: Any) -> None:
        for trial in waiting:
            trials.append(trial)
            on_message(trial, "training", {"trial_id": trial.trial_id, "steps": 0})
            for epoch in make_epochs(trial, accuracy=0.5, seconds=1.0, epochs=2):
                on_message(trial, "epoch", epoch)
            record = make_record(trial)
            store.append("trial", record)
            on_message(trial, "trial", record)

    monkeypatch.setattr("resbench.run.run_trials", run)
    return trials


def files(results: Path) -> list[str]:
    return sorted(str(path.relative_to(results)) for path in results.rglob("*tfevents*"))


def test_each_trial_has_a_file_and_those_that_ended_before_are_left_as_they_are(
    invoke: Invoke, suite: Path, ran: list[Trial], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = invoke("bench", suite, "--out", out, "--tensorboard")
    assert result.exit_code == 0, result.output
    assert len(ran) == len(files(out)) == 4
    assert {Path(name).parts[0] for name in files(out)} == {"tensorboard"}
    assert {Path(name).parts[1] for name in files(out)} == {
        f"{trial.model}-seed-{trial.seed}-{trial.trial_id[:8]}" for trial in ran
    }
    assert "tensorboard --logdir" in result.output
    before = {name: (out / name).read_bytes() for name in files(out)}
    assert invoke("bench", suite, "--out", out, "--tensorboard").exit_code == 0
    assert {name: (out / name).read_bytes() for name in files(out)} == before


def test_without_the_flag_there_are_none(invoke: Invoke, suite: Path, ran: list[Trial], tmp_path: Path) -> None:
    result = invoke("bench", suite, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert ran
    assert files(tmp_path / "out") == []
    assert "logdir" not in result.output


def test_each_suite_of_a_collection_has_its_own(invoke: Invoke, suite: Path, ran: list[Trial], tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(suite.read_text().replace('["cnn", "resnet34"]', '["cnn"]'))
    both = tmp_path / "both.toml"
    both.write_text(f"description = 'two'\n[suites.'{suite}']\n[suites.'{tmp_path / 'other.toml'}']\n")
    result = invoke("bench", both, "--out", tmp_path / "out", "--tensorboard")
    assert result.exit_code == 0, result.output
    folders = [Path(name).parts[:2] for name in files(tmp_path / "out")]
    assert [folders.count((name, "tensorboard")) for name in ("tiny", "other")] == [4, 2]


def test_without_the_package_nothing_runs(
    invoke: Invoke, suite: Path, ran: list[Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise InputError("Install it: pip install 'resbench[tensorboard]'.")

    monkeypatch.setattr("resbench.cli.suites.require_tensorboard", missing)
    result = invoke("bench", suite, "--out", tmp_path / "out", "--tensorboard")
    assert result.exit_code == 2
    assert "pip install 'resbench[tensorboard]'" in result.output
    assert not (tmp_path / "out").exists()
    assert ran == []


def test_the_flag_is_in_the_help(invoke: Invoke) -> None:
    assert "--tensorboard" in invoke("bench", "--help").stdout


@pytest.mark.slow
def test_nothing_of_tensorboard_is_imported_where_it_is_not_asked_for() -> None:
    code = "import sys, resbench.cli.suites; print([name for name in sys.modules if 'tensorboard' in name.split('.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
