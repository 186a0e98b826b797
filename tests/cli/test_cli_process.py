"""The command line as a process: exit codes, signals, and what they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest
from records import write_folder
from tiny_folder import make_tiny_folder

from resbench.store import load_results


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite file that runs in no time."""
    path = tmp_path / "tiny.toml"
    dataset = f"dataset = 'folder:{make_tiny_folder(tmp_path / 'tiny')}'"
    text = ["models = ['cnn']", dataset, "batch_size = 8", "budget = '1steps'", "[engine]", "device = 'cpu'"]
    path.write_text("\n".join([*text, "[run]", "calibrate = false", "estimate = false"]))
    return path


def run_process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "resbench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=cwd)


def test_as_a_process_bad_input_is_one_message_and_exit_code_2(suite: Path, tmp_path: Path) -> None:
    done = run_process("bench", str(suite), "--models", "resnt34", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (message,) = done.stderr.splitlines()
    assert message.startswith("error: unknown model 'resnt34'")


def test_a_torn_line_is_told_of_as_other_things_are(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "done", seeds=1, epochs=1)
    with (folder / "records.jsonl").open("a") as file:
        file.write('{"schema_version": 4, "eve')
    done = run_process("report", str(folder), "--format", "csv", cwd=tmp_path)
    assert done.returncode == 0
    (message,) = done.stderr.splitlines()
    assert message.startswith("warning: ")
    assert "the last line is torn" in message


def test_a_ctrl_c_while_python_tears_itself_down_changes_no_exit_code(tmp_path: Path) -> None:
    script = (
        "import atexit, os, signal, sys\nfrom resbench.cli import main\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)\nsys.argv = ['resbench', 'list', 'cnn']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cnn")


def test_ctrl_c_leaves_complete_records_and_no_process(suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "resbench", "bench", str(suite), "--out", str(out)]
    command += ["--budget", "1000000ep", "--seeds", "2"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        told = next((line for line in process.stdout if "epoch" in line), "")
        assert told.startswith("[1/2] cnn seed 0  epoch 1 "), told
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted; what ended before is recorded"
    assert "Traceback" not in stderr
    assert children
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []

    results = load_results(out)
    interrupted, other = results.trials.to_dict("records")
    assert (interrupted["status"], interrupted["phase"] in {"train", "eval"}) == ("interrupted", True)
    assert interrupted["error"] == "interrupted by the user"
    assert (interrupted["model"], interrupted["dataset"], interrupted["batch_size"]) == ("cnn", "tiny", 8)
    assert (other["status"], other["seed"]) == ("not_run", 1)
    assert set(results.epochs["trial_id"]) == {interrupted["trial_id"]}
    for name in ("trials", "epochs", "profile", "summary"):
        assert len((out / f"{name}.csv").read_text().splitlines()) > 1, name
    assert list(pd.read_csv(out / "trials.csv")["status"]) == ["interrupted", "not_run"]
