from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from records import make_record, make_trial
from tiny_folder import make_tiny_folder
from typer.testing import CliRunner

import resbench
from resbench import provenance
from resbench.cli import app
from resbench.data.datasets import load_dataset
from resbench.devices import open_device
from resbench.errors import InputError
from resbench.rerun import circumstances, reproduce
from resbench.rerun.circumstances import MEANS, Check, bits_expected, check_machine
from resbench.rerun.stored_trial import StoredTrial, find_trial
from resbench.schema import MEASURING_VERSION, EngineSettings, Trial
from resbench.store import Store, load_results
from resbench.suite import make_suite

Invoke = Callable[..., Any]
CPU = EngineSettings("cpu", "fp32")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture
def stored(data: Path, tmp_path: Path) -> tuple[Path, Trial, dict[str, Any]]:
    """A folder with one record that was made here, and seems to have been trained."""
    spec = f"folder:{data}"
    dataset = load_dataset(spec)
    trial = make_trial(
        "cnn", dataset=dataset.name, dataset_fingerprint=dataset.fingerprint, num_classes=2, input=(3, 8, 8), engine=CPU
    )
    here = {
        **provenance.collect().to_dict(),
        "device_name": open_device("cpu").name,
        "cpu_threads": torch.get_num_threads(),
        "measuring_version": MEASURING_VERSION,
    }
    record = make_record(trial, **here)
    store = Store(tmp_path / "results", create=True)
    store.append("suite", {"suite": {"name": "tiny", "dataset": spec}, "trials": [trial.to_dict()]})
    store.append("trial", record)
    return store.folder, trial, record


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs ``resbench reproduce`` in a terminal that cuts nothing."""
    monkeypatch.setenv("COLUMNS", "250")

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(app, ["reproduce", *map(str, arguments)])

    return run


def pretend(monkeypatch: pytest.MonkeyPatch, record: dict[str, Any], **changes: Any) -> None:
    """Lets a rerun leave a record and train nothing."""

    def rerun(trial: Trial, inputs: Any, target: Path, *, watched: dict[str, Any]) -> Any:
        store = Store(target, create=True)
        store.append("trial", {**record, **changes})
        return load_results(target)

    monkeypatch.setattr(reproduce, "_rerun", rerun)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({}, 0, ["identical", "Reproduced within noise: 7 of 7 metrics compared, 7 identical."]),
        ({"train_images_per_second": 43_000.0}, 0, ["-2.3 %", "yes", "7 of 7 metrics compared, 6 identical."]),
        ({"latency_ms_p50": 2.0}, 1, ["Not reproduced within noise: latency p50 (ms)."]),
        ({"torch": "another"}, 0, ["not comparable", "torch: ", "Reproduced within noise: 1 of 7 metrics compared"]),
        ({"micro_batch_size": 64}, 4, ["Nothing could be compared with the record."]),
        ({"status": "oom", "phase": "train", "error": "no memory"}, 3, ["failed: the rerun ended oom in phase train"]),
        (
            {"verdict": "suspect", "verdict_reasons": ["2 threads were busy"]},
            0,
            ["warning: the rerun is suspect: 2 threads were busy"],
        ),
    ],
)
def test_what_a_rerun_leaves_decides_the_exit_code(
    invoke: Invoke, stored: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], code: int, words: list[str]
) -> None:
    folder, trial, record = stored
    pretend(monkeypatch, record, **changes)
    result = invoke(folder, trial.trial_id[:8])
    assert result.exit_code == code, result.output
    for word in words:
        assert word in result.output
    assert (folder.parent / "reproduced" / trial.trial_id / "records.jsonl").is_file()


def test_what_differs_here_is_shown_and_what_it_makes_impossible(
    invoke: Invoke, stored: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, trial, record = stored
    Store(folder).append("trial", {**record, "torch": "2.0", "git_sha": "0123", "test_accuracy": 0.8633})
    pretend(monkeypatch, record)
    result = invoke(folder, trial.trial_id, "--out", tmp_path / "again")
    assert result.exit_code == 0, result.output  # 0.01 points: another torch need not give the same bits
    assert f"warning: torch was 2.0 and is {record['torch']}: times and memory are not comparable" in result.output
    assert "warning: git_sha was 0123" in result.output
    assert "differs" in result.output
    assert "1 of 7 metrics compared, 0 identical" in result.output


def test_the_same_code_on_the_same_processor_gives_the_same_bits(
    invoke: Invoke, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trial, record = stored
    pretend(monkeypatch, record, test_accuracy=math.nextafter(record["test_accuracy"], 1))
    result = invoke(folder, trial.trial_id)
    assert (result.exit_code, "the same to the bit" in result.output) == (1, True), result.output


def test_what_cannot_be_run_again_is_refused(invoke: Invoke, stored: Any, tmp_path: Path, data: Path) -> None:
    folder, trial, record = stored
    other = make_tiny_folder(tmp_path / "tiny", seed=1)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    for arguments, code, message in (
        ((folder, "zzz"), 2, "no trial 'zzz'"),
        ((folder, trial.trial_id, "--out", tmp_path / "used"), 2, "is there already and is left as it is"),
        ((folder, trial.trial_id, "--dataset", f"folder:{other}"), 2, "are not the trial's: their fingerprint is"),
        ((folder, trial.trial_id, "--dataset", "folder:/nowhere"), 2, "/nowhere"),
        ((folder, trial.trial_id, "--weights", "w.pth"), 2, "began with random weights"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == code, result.output
        assert message in " ".join(result.stderr.split())
    Store(folder).append("trial", {**record, "status": "diverged"})
    assert invoke(folder, trial.trial_id).exit_code == 4
    assert not (folder.parent / "reproduced").exists()


def test_a_device_that_is_not_here_is_refused(stored: Any) -> None:
    _, trial, record = stored
    gone = dataclasses.replace(trial, engine=EngineSettings("cuda:77", "fp32"))
    with pytest.raises(InputError, match=r"the trial ran on NVIDIA H200 \(cuda:77\), and there is no such device"):
        check_machine(StoredTrial(None, {**record, "device_name": "NVIDIA H200"}, gone, {}))  # type: ignore[arg-type]


def test_as_many_devices_are_asked_for_as_the_trial_had(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, trial, record = stored
    two = dataclasses.replace(trial, engine=dataclasses.replace(trial.engine, devices=2))
    monkeypatch.setattr("torch.get_num_threads", lambda: 6)
    found = StoredTrial(None, {**record, "cpu_threads": 3}, two, {})  # type: ignore[arg-type]
    assert {check.name: check.here for check in check_machine(found)}["cpu_threads"] == 3
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: "NVIDIA H200")
    gone = dataclasses.replace(trial, engine=EngineSettings("cuda", "fp32", devices=2))
    with pytest.raises(InputError, match=r"ran on 2 x NVIDIA H200 \(cuda\), and there are not so many devices here"):
        check_machine(StoredTrial(None, {**record, "device_name": "NVIDIA H200"}, gone, {}))  # type: ignore[arg-type]


# When the bits must be the same -----------------------------------------------------------------------------------


def all_agree(**changes: tuple[Any, Any]) -> list[Check]:
    given = {"git_dirty": (False, False), "git_diff_hash": (None, None), **changes}
    return [Check(name, *given.get(name, ("x", "x"))) for name in MEANS]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"git_dirty": (True, True), "git_diff_hash": ("a", "a")}, True),
        ({"git_dirty": (True, True)}, False),  # an older record: nobody knows which changes they were
        ({"git_dirty": (True, True), "git_diff_hash": ("a", "b")}, False),
        ({"git_dirty": (None, None), "git_sha": (None, None)}, True),  # installed from a package
        *(({name: ("x", "y")}, name in ("python", "measuring_version")) for name in MEANS if "git_d" not in name),
    ],
)
def test_which_differences_excuse_other_bits(changes: dict[str, tuple[Any, Any]], expected: bool) -> None:
    assert bits_expected(make_trial(engine=CPU), all_agree(**changes)) is expected


def test_a_gpu_and_a_budget_of_time_excuse_other_bits() -> None:
    assert not bits_expected(make_trial(engine=EngineSettings("cuda", "fp32")), all_agree())
    assert not bits_expected(make_trial(engine=CPU, budget="10min"), all_agree())


def test_every_column_that_is_checked_is_known_here(stored: Any) -> None:
    folder, trial, _ = stored
    checks = check_machine(find_trial(folder, trial.trial_id))
    assert [check.name for check in checks] == list(circumstances.MEANS)
    assert all(check.agrees for check in checks)


# For the whole of it ----------------------------------------------------------------------------------------------


def test_a_rerun_is_beside_the_folder_that_it_reproduces() -> None:
    assert reproduce.default_folder(Path("results/smoke"), "0123") == Path("results/reproduced/0123")
    assert reproduce.default_folder(Path(), "0123") == Path.cwd().parent / "reproduced" / "0123"


@pytest.mark.usefixtures("warm_trials")
def test_a_trial_is_run_again_as_it_was(invoke: Invoke, data: Path, tmp_path: Path) -> None:
    suite = make_suite(
        {
            "name": "tiny",
            "models": ["cnn"],
            "dataset": f"folder:{data}",
            "budget": "2ep",
            "batch_size": 8,
            "seeds": [3],
        },
        device="cpu",
        precision="fp32",
        calibrate=False,
    )
    before = resbench.run_suite(suite, out=tmp_path / "results").trials.iloc[0]
    result = invoke(tmp_path / "results", before["trial_id"])
    assert result.exit_code in (0, 1), result.output  # a busy machine may be slower than it was
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("test accuracy"))
    assert "identical" in line
    assert "the same to the bit" in line, result.output
    again = load_results(tmp_path / "reproduced" / before["trial_id"])
    (row,) = again.trials.itertuples()
    assert (row.trial_id, row.status, row.seed) == (before["trial_id"], "ok", 3)
    assert row.test_loss == before["test_loss"]
    assert again.suites[0]["suite"]["name"] == f"reproduce-{before['trial_id']}"
