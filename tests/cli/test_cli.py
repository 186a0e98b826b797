from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import process_jobs
import pytest
import torch
from records import write_folder
from tiny_folder import make_tiny_folder
from typer.testing import Result

from resbench.cli import suites
from resbench.executors import local
from resbench.store import load_results

Invoke = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("cli") / "tiny")


@pytest.fixture
def suite(tmp_path: Path, folder: Path) -> Path:
    """A suite file that runs in no time."""
    path = tmp_path / "tiny.toml"
    text = ["models = ['cnn']", f"dataset = 'folder:{folder}'", "batch_size = 8", "budget = '1steps'", "[engine]"]
    path.write_text("\n".join([*text, "device = 'cpu'", "[run]", "calibrate = false"]))
    return path


def case(value: str | list[str]) -> str:
    """What a parametrised test is called: its flags."""
    return " ".join(value) if isinstance(value, list) else "-"


def errors(text: str) -> list[str]:
    """The messages on stderr that are not about progress."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("decoding ")]


def assert_one_message(result: Result, said: str) -> None:
    assert result.exit_code == 2, result.output
    (message,) = errors(result.stderr)
    assert message.startswith("error: ")
    assert said in message
    assert "Traceback" not in result.output


# Bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--models", "resnt34"], "unknown model 'resnt34'. Did you mean resnet34"),
        (["--models", "vgg*"], "no model matches 'vgg*'"),
        (["--models", ","], "'models'"),
        (["--dataset", "cifar11"], "unknown dataset 'cifar11'. Did you mean cifar10"),
        (["--dataset", "folder:/nowhere/at/all"], "/nowhere/at/all"),
        (["--stem", "cfar"], "unknown stem 'cfar'. Did you mean cifar"),
        (["--recipe", "comon"], "unknown recipe 'comon'. Did you mean common"),
        (["--precision", "fp12"], "unknown precision 'fp12'"),
        (["--budget", "0ep"], "'0ep' is not more than zero"),
        (["--budget", "-1ep"], "'-1ep' is not more than zero"),
        (["--budget", "10parsecs"], "'10parsecs' has the unit 'parsecs'"),
        (["--budget", "7img"], "a step of 8 images takes 8img"),
        (["--batch-size", "33"], "larger than the training set of tiny (32 images)"),
        (["--input", "32x32"], "cannot read the input '32x32'"),
        (["--input", "2x32x32"], "Give 3x32x32"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--compile", "maybe"], "unknown compile mode 'maybe'. "),
        (["--cuda-graph", "maybe"], "unknown cuda_graph setting 'maybe'. "),
        (["--cuda-graph", "on"], "only CUDA has graphs"),
        (["--memory-format", "nhwc"], "unknown memory format 'nhwc'"),
        (["--weights", "/nowhere.pt", "--models", "resnet152"], "'/nowhere.pt' does not exist"),
        (["--oom", "shrink"], "unknown oom setting 'shrink'"),
        (["--trial-timeout", "30"], "cannot read the trial timeout '30'. Give a number and a unit, such as 90s"),
        (["--memory-limit", "8GB"], "cannot read the memory limit '8GB'"),
        (["--checkpoint-every", "often"], "cannot read the time between checkpoints 'often'"),
    ],
    ids=case,
)
def test_a_bad_flag_of_bench_is_one_clear_message(
    invoke: Invoke, suite: Path, tmp_path: Path, flags: list[str], said: str
) -> None:
    assert_one_message(invoke("bench", suite, "--out", tmp_path / "out", *flags), said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models = ['cnn']\nbudgett = '2ep'", "unknown key 'budgett', did you mean 'budget'?"),
        ("models = ['cnn']\n[engine]\nprecison = 'fp32'", "unknown key 'engine.precison', did you mean 'precision'?"),
        ("models = ['cnn']\nbatch_size = '64'", "the key 'batch_size' is '64': input should be a valid integer"),
        ("models = ['cnn'\n", "is not valid TOML"),
    ],
)
def test_a_bad_suite_file_is_one_clear_message(invoke: Invoke, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    assert_one_message(invoke("bench", tmp_path / "bad.toml"), said)


def test_a_suite_that_does_not_exist_is_one_clear_message(invoke: Invoke) -> None:
    assert_one_message(invoke("bench", "smokey"), "unknown suite 'smokey'. Did you mean smoke")
    assert_one_message(invoke("bench", "nowhere.toml"), "cannot read the suite 'nowhere.toml'")


def test_a_results_folder_that_cannot_be_written_is_one_clear_message(
    invoke: Invoke, suite: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "out", tmp_path / "file"):
        assert_one_message(invoke("bench", suite, "--out", out), f"cannot write to the results folder '{out}'")


def test_cuda_where_there_is_none_is_one_clear_message(
    invoke: Invoke, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert_one_message(invoke("bench", suite, "--device", "cuda"), "--device cuda: torch sees no CUDA device here")
    assert_one_message(invoke("profile", "cnn", "--device", "cuda"), "--device cuda: torch sees no CUDA device here")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["profile", "resnt34"], "unknown model 'resnt34'"),
        (["profile", "cnn", "--stem", "cfar"], "unknown stem 'cfar'"),
        (["profile", "cnn", "--batch-size", "1,zero"], "the batch size 'zero'"),
        (["profile", "cnn", "--batch-size", "0"], "the batch size '0'"),
        (["profile", "cnn", "--precision", "fp12"], "unknown precision 'fp12'"),
        (["profile", "cnn", "--cuda-graph", "maybe"], "unknown cuda_graph setting 'maybe'"),
        (["list", "vgg*"], "no model matches 'vgg*'"),
        (["report", "/nowhere"], "no records.jsonl in '/nowhere'"),
        (["compare", "/nowhere", "/nowhere"], "no records.jsonl in '/nowhere'"),
        (["compare", "/nowhere", "/nowhere", "--threshold", "beauty=1"], "beauty"),
    ],
    ids=case,
)
def test_bad_input_of_another_command_is_one_clear_message(invoke: Invoke, arguments: list[str], said: str) -> None:
    assert_one_message(invoke(*arguments), said)


@pytest.mark.parametrize(
    "arguments",
    [["bench", "--modles", "cnn"], ["bench", "--seeds", "0"], ["bench", "--batch-size", "many"], ["benhc"], ["report"]],
    ids=case,
)
def test_a_usage_error_has_exit_code_2_and_says_what_is_wrong(invoke: Invoke, arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.stderr
    assert "Traceback" not in result.output


def test_a_file_that_the_system_refuses_is_one_clear_message(invoke: Invoke, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "results", models={"cnn": (1, 1, 0.5, 1.0, 1.0)}, epochs=2)
    (folder / "trials.csv").mkdir()
    assert_one_message(invoke("report", folder), "cannot use '")


def test_an_interrupt_of_any_command_has_exit_code_130(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(pattern: str) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("resbench.registry.list_models", interrupt)
    result = invoke("list")
    assert result.exit_code == 130
    assert errors(result.stderr) == ["interrupted; what ended before is recorded"]


def test_a_dry_run_prints_the_plan_and_makes_no_folder(
    invoke: Invoke, suite: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    flags = ["--models", "cnn,d2l_resnet18", "--seeds", "3", "--budget", "2.0ep", "--stem", "cifar", "--dry-run"]
    result = invoke("bench", suite, *flags)
    assert result.exit_code == 0, result.output
    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert rows["suite"] == "tiny"
    assert rows["models"] == "cnn, d2l_resnet18"
    assert rows["trials"] == "6 (2 models x 3 seeds)"
    assert rows["dataset"].startswith("tiny  (3x8x8, 2 classes, 32 training images, 16 test images, sha256 ")
    assert rows["training"] == "recipe common, budget 2ep, batch 8, stem cifar"
    assert rows["engine"] == "cpu, fp32, channels_last, torch.compile off, CUDA graph off"
    assert rows["results"] == str(Path("results") / "tiny")
    assert sorted(tmp_path.iterdir()) == before


def test_a_plan_says_what_is_ignored_and_what_is_trained_on_and_tested_on(invoke: Invoke, tmp_path: Path) -> None:
    root = make_tiny_folder(tmp_path / "pets")
    (root / "train" / "dark" / "notes.txt").touch()
    (root / "test" / "dark" / "copy.png").write_bytes((root / "train" / "dark" / "01.png").read_bytes())
    flags = ["--models", "cnn", "--batch-size", "8", "--device", "cpu", "--dry-run", "--no-estimate"]
    result = invoke("bench", "smoke", "--dataset", f"folder:{root}", *flags)
    assert result.exit_code == 0, result.output
    assert "2 classes, 32 training images, 17 test images" in result.stdout
    assert "warning: pets: 1 file of the dataset ignored: .txt 1." in result.stderr
    assert (
        "warning: pets: 1 of 17 test images are also trained on, pixel for pixel: test/dark/copy.png is "
        in result.stderr
    )


def test_a_dry_run_shows_the_flags_of_the_engine(invoke: Invoke, suite: Path) -> None:
    flags = ["--precision", "bf16", "--compile", "max-autotune", "--cuda-graph", "off", "--memory-format", "contiguous"]
    lines = invoke("bench", suite, *flags, "--dry-run").stdout.splitlines()
    (engine,) = (line for line in lines if line.startswith("engine"))
    expected = "cpu, bf16, contiguous, torch.compile max-autotune-no-cudagraphs, CUDA graph off"
    assert engine.split(maxsplit=1)[1] == expected


def test_a_plan_is_not_cut_or_wrapped_however_long_its_paths_are(invoke: Invoke, suite: Path, tmp_path: Path) -> None:
    out = tmp_path / ("long" * 30) / "results"
    assert f"results   {out}" in invoke("bench", suite, "--dry-run", "--out", out).stdout.splitlines()


@pytest.mark.usefixtures("no_cifar10")
def test_a_fallback_dataset_is_a_warning_on_stderr(invoke: Invoke, suite: Path) -> None:
    suite.write_text("fallback_dataset = 'shapes10'\n" + suite.read_text())
    result = invoke("bench", suite, "--dataset", "cifar10", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "warning: cifar10 is neither on disk nor downloadable here: THIS RUN USES shapes10 INSTEAD" in result.stderr
    assert "shapes10  (3x32x32, 10 classes" in result.stdout


def test_the_default_suite_is_cifar10_only_where_cuda_is_and_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [suites.default_suite(device) for device in (None, "auto", "cuda:1", "cpu")] == [*["cifar10"] * 3, "smoke"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert suites.default_suite(None) == "smoke"


@pytest.mark.usefixtures("warm_trials")
def test_a_bench_leaves_a_report_and_a_second_one_runs_nothing(invoke: Invoke, suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = invoke("bench", suite, "--out", out, "--calibrate")
    assert result.exit_code == 0, result.output
    # One step teaches nothing, and other tests run beside it: the row may well be suspect.
    assert [line for line in errors(result.stderr) if "suspect" not in line and "cnn seed 0: " not in line] == []
    assert "noise floor, cnn against itself: train images/s " in result.stdout
    assert "[1/1] cnn seed 0  started" in result.stdout
    assert "1/1 ok" in result.stdout
    for page in ("README.md", "report.html"):
        assert "2 classes, 32 training images, 16 test images" in (out / page).read_text(encoding="utf-8")
    assert list((out / "plots").glob("*.png"))
    records = (out / "records.jsonl").read_text()
    assert "testing the instruments on known quantities" in result.stdout
    kinds = [json.loads(line)["event"] for line in records.splitlines()]
    assert kinds[:3] == ["suite", "ruler", "start"]
    assert kinds[-4:] == ["trial", "noise_floor", "noise_floor", "noise_floor"]
    floor, *_ = load_results(out).noise_floors
    assert floor["trial_id"] == load_results(out).trials["trial_id"][0]
    assert {"train_images_per_second", "latency_ms_p50", "step_ms_p50"} <= set(floor["relative"])
    assert all(difference >= 0 for difference in floor["relative"].values())

    again = invoke("bench", suite, "--out", out)
    assert again.exit_code == 0, again.output
    assert f"1 of 1 trial ended well in {out} before: not run again." in again.stdout
    assert "started" not in again.stdout
    assert (out / "records.jsonl").read_text().startswith(records)
    assert len(load_results(out).trials) == 1

    report = invoke("report", out)
    assert report.exit_code == 0, report.output
    assert "1/1 ok" in report.stdout
    assert invoke("compare", out, out).exit_code == 0


@pytest.mark.usefixtures("warm_trials")
def test_a_trial_that_fails_has_exit_code_3_and_its_reason_on_stderr(
    invoke: Invoke, suite: Path, tmp_path: Path
) -> None:
    die = patch.object(local, "trial_job", process_jobs.die_in_training)
    out = tmp_path / "out"
    with die:
        result = invoke("bench", suite, "--out", out)
    assert result.exit_code == 3
    headline, reason = errors(result.stderr)
    assert headline == f"failed: 1 of 1 planned trial did not end well (1 crashed; logs: {out / 'logs'}):"
    assert reason.strip().startswith("cnn seed 0: crashed in phase train: the process was killed by SIGKILL")
    assert "out of patience" in reason
    assert "Traceback" not in result.output
    assert "crashed" in (out / "README.md").read_text()

    again = invoke("bench", suite, "--out", out)
    assert again.exit_code == 3
    assert "1 of 1 trial failed there before: not run again without --retry-failed." in again.stdout
    assert "started" not in again.stdout
    assert [line.strip() for line in errors(again.stderr)][1] == reason.strip()
    retried = invoke("bench", suite, "--out", out, "--retry-failed")
    assert retried.exit_code == 0, retried.output
    assert list(load_results(out).trials["status"]) == ["ok"]


def test_a_profile_prints_every_figure_whole(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def measure(models: list[str], **options: Any) -> pd.DataFrame:
        asked.update(options, models=models)
        folder = tmp_path / "made"
        from resbench.measure.profile import ProfileRecord

        row = dict.fromkeys(ProfileRecord.__dataclass_fields__, 123_456_789)
        row |= {"model": "resnet152_frozen", "device_name": "a device", "precision": "fp32", "stem": "source"}
        frame = pd.DataFrame([{**row, "input": str(folder)}])
        frame.attrs["failed"] = 1
        return frame

    monkeypatch.setattr("resbench.profiling.profile_models", measure)
    flags = ["--batch-size", "1, 64", "--stem", "cifar", "--precision", "bf16", "--compile", "on"]
    result = invoke("profile", "cnn", "resnet*", *flags)
    assert result.exit_code == 3
    assert asked["models"] == ["cnn", "resnet*"]
    assert (asked["batch_sizes"], asked["stem"], asked["engine"]["precision"]) == ([1, 64], "cifar", "bf16")
    assert (asked["engine"]["compile"], asked["engine"]["cuda_graph"]) == ("on", "off")
    assert "resnet152_frozen" in result.stdout
    assert "…" not in result.stdout
