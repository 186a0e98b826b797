"""``--import`` on the command line, and in suites."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny_folder import make_tiny_folder
from user_code import LINEAR, builder, forgetting, write

from resbench.store import Store
from resbench.suite import load_suite

Invoke = Callable[..., Any]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forgets what a test imports."""
    with forgetting():
        yield


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    """A file with a network, and one whose name is taken."""
    return write(tmp_path / "my_nets.py", builder("mine", LINEAR), builder("resnet50"))


def test_list_shows_networks_of_ones_own_and_warns_of_faults(invoke: Invoke, nets: Path):
    result = invoke("list", "mi*", "--import", nets, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [{"name": "mine", "source": "mine", "summary": "A network of mine."}]
    assert "warning: my_nets.py:9: model 'resnet50' is already registered" in result.stderr


@pytest.mark.parametrize("verb", [["list"], ["profile", "mine"], ["bench", "--models", "mine"]])
def test_a_file_that_is_not_there_is_bad_usage(invoke: Invoke, tmp_path: Path, verb: list[str]):
    result = invoke(*verb, "--import", tmp_path / "gone.py")
    assert result.exit_code == 2
    assert "gone.py' to import" in result.stderr


def test_a_suites_file_lies_beside_it_and_the_flags_are_added(tmp_path: Path):
    suite = tmp_path / "suites" / "mine.toml"
    suite.parent.mkdir()
    suite.write_text('models = ["mine"]\nimports = ["nets.py", "a.module", "/else/where.py", "sub/more.py"]\n')
    beside = [str(suite.parent / "nets.py"), "a.module", "/else/where.py", str(suite.parent / "sub/more.py")]
    assert load_suite(str(suite)).imports == beside
    assert load_suite(str(suite), imports=["flag.py", "a.module"]).imports == [*beside, "flag.py"]


@pytest.mark.usefixtures("warm_trials")
def test_a_run_beside_faults_of_imported_code_does_not_end_well(invoke: Invoke, nets: Path, tmp_path: Path):
    data, out = make_tiny_folder(tmp_path / "shades"), tmp_path / "out"
    options = ("--dataset", f"folder:{data}", "--batch-size", 8, "--budget", "1steps", "--device", "cpu", "--out", out)
    result = invoke("bench", "--import", nets, "--models", "mine", "--seeds", 1, "--no-calibrate", *options)
    assert set(pd.read_csv(out / "trials.csv")["status"]) == {"ok"}
    assert result.exit_code == 3
    assert "the imported code is at fault: my_nets.py:" in result.stderr


@pytest.mark.usefixtures("warm_trials")
def test_a_suite_runs_networks_of_ones_own_and_what_is_missing_makes_it_fail(
    invoke: Invoke, nets: Path, tmp_path: Path
):
    # One process a trial: both import the file, and one of the networks fails there.
    nets.write_text(nets.read_text() + builder("falls", "nn.Sequential(nn.Flatten(), nn.Linear(7, num_classes))"))
    suite = tmp_path / "mine.toml"
    suite.write_text('models = ["mine", "falls"]\nimports = ["my_nets.py"]\n[run]\ncalibrate = false\n')
    out = tmp_path / "out"
    data = make_tiny_folder(tmp_path / "shades")
    options = ("--dataset", f"folder:{data}", "--batch-size", 8, "--budget", "1steps", "--device", "cpu", "--out", out)
    result = invoke("bench", suite, "--models", "mine,falls,lost", *options)
    assert result.exit_code == 3
    assert "lost is left out: nothing that could be imported registers it" in result.stderr
    assert "not run, for want of their code: lost" in result.stderr
    rows = pd.read_csv(out / "trials.csv").set_index("model")
    assert rows["status"].to_dict() == {"mine": "ok", "falls": "crashed"}
    assert rows["error"]["falls"].startswith("my_nets.py:14: RuntimeError: ")  # of torch, in a layer of that network
    assert set(rows["code"].str.partition(" ")[0]) == {"my_nets.py"}
    planned = next(event for event in Store(out).read() if event["event"] == "suite")
    assert planned["inputs"]["imports"] == [str(nets)]

    trial_id = rows["trial_id"]["mine"]
    with forgetting():  # the records say what to import, and that is not done
        from resbench import registry

        registry._ENTRIES.pop("mine")
        refused = invoke("reproduce", out, trial_id)
    assert refused.exit_code == 2
    assert "registered by my_nets.py, which is not imported here. Give it with --import" in refused.stderr
    nets.write_text(nets.read_text() + "# edited\n")
    edited = invoke("reproduce", out, trial_id, "--import", nets)
    assert edited.exit_code == 2
    assert "the code of 'mine' is not the one that the trial ran" in edited.stderr
