"""Real Ray nodes on loopback, with jobs that do not import torch: what the cluster in memory cannot show."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import process_jobs
import psutil
import pytest
from fake_cluster import make_trials
from tiny_folder import make_tiny_folder

from benchmarks.faults.loopback import Loopback, loopback
from resbench.conduct import Conduct
from resbench.errors import InputError
from resbench.executors.ray_cluster import attempts, open_cluster, run_trials
from resbench.executors.ray_cluster.joining import Needs, needs_of
from resbench.inputs import Inputs
from resbench.schema import EngineSettings, Trial
from resbench.store import Store

pytestmark = pytest.mark.slow

Follow = Callable[[Trial, str, dict[str, Any]], None]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """Two nodes, the head with room for two trials, the other for one."""
    folder = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as patch:
        here = str(Path(__file__).resolve().parents[1])  # the jobs' module
        patch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
        with loopback(folder, token=os.environ["RAY_AUTH_TOKEN"]) as nodes:
            nodes.start_node(2, gpus=2)  # on paper
            nodes.start_node(1)
            yield nodes


@dataclass
class Run:
    """Trials that wait behind a gate each, until a test opens it."""

    folder: Path
    cluster: Loopback
    trials: list[Trial]
    needs: Needs

    def gate(self, trial: Trial) -> Path:
        return Path(trial.recipe)

    def open_all(self) -> None:
        for trial in self.trials:
            self.gate(trial).unlink(missing_ok=True)

    def run(self, on_message: Follow) -> list[dict[str, Any]]:
        """Runs the trials; returns their rows."""
        each = 1 if self.trials[0].engine.device == "cpu" else None
        conduct = Conduct(calibrate=False, ray_address=self.cluster.address, cpus_per_trial=each)
        store = Store(self.folder / "out", create=True)
        with open_cluster(conduct, self.needs) as nodes:
            run_trials(self.trials, store, nodes, on_message=on_message, conduct=conduct)
        return [event for event in store.events() if event["event"] == "trial"]

    def assert_one_row_each(self, rows: list[dict[str, Any]]) -> None:
        found = Counter((row["trial_id"], row["status"], row["test_accuracy"]) for row in rows)
        assert found == Counter((trial.trial_id, "ok", trial.seed / 100) for trial in self.trials)


@pytest.fixture
def make_run(tmp_path: Path, cluster: Loopback, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Run]:
    monkeypatch.setattr(attempts, "trial_job", process_jobs.trial_behind_a_gate)
    inputs = Inputs(f"folder:{make_tiny_folder(tmp_path / 'tiny')}")
    dataset = inputs.load()

    def make(count: int) -> Run:
        trials = []
        for trial in make_trials(count):
            gate = tmp_path / f"gate{trial.seed}"
            gate.touch()
            trials.append(
                replace(trial, recipe=str(gate), dataset=dataset.name, dataset_fingerprint=dataset.fingerprint)
            )
        return Run(tmp_path, cluster, trials, needs_of(trials, inputs, "run1"))

    return make


def assert_gone(pids: list[int]) -> None:
    """Processes end soon, if they have not yet."""
    alive = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    assert not psutil.wait_procs(alive, timeout=20)[1]


def test_trials_run_at_once_on_all_nodes_and_their_words_and_logs_arrive(make_run: Callable[[int], Run]) -> None:
    run = make_run(5)
    at_once: set[int] = set()

    def follow(trial: Trial, kind: str, data: dict[str, Any]) -> None:
        if kind == "pid":
            at_once.add(trial.seed)
            assert data["threads"] == "1"
            if len(at_once) == 3:  # no gate has been opened: three run
                run.open_all()

    rows = run.run(follow)
    run.assert_one_row_each(rows)
    assert len({row["node"] for row in rows}) == 2
    for trial in run.trials:
        log = (run.folder / "out" / "logs" / f"{trial.trial_id}.log").read_text()
        assert f"seed {trial.seed} runs\n" in log
    caches = [*run.cluster.folder.glob("node?/decoded/tiny-*/meta.json")]
    assert len(caches) == 2  # the images, once a node


def test_each_trial_gets_a_gpu_of_its_own(make_run: Callable[[int], Run]) -> None:
    run = make_run(2)
    run.trials = [replace(trial, engine=EngineSettings("cuda", "fp32")) for trial in run.trials]
    run.needs = replace(run.needs, engine=run.trials[0].engine)
    seen: dict[int, str] = {}

    def follow(trial: Trial, kind: str, data: dict[str, Any]) -> None:
        if kind == "pid":
            seen[trial.seed] = data["gpu"]
            if len(seen) == 2:  # both run
                run.open_all()

    rows = run.run(follow)
    run.assert_one_row_each(rows)
    assert sorted(seen.values()) == ["0", "1"]
    assert len({row["node"] for row in rows}) == 1


def test_a_worker_and_a_node_that_die_cost_nothing_but_time(make_run: Callable[[int], Run]) -> None:
    run = make_run(3)
    running: dict[int, dict[str, Any]] = {}
    begun: list[int] = []

    def follow(trial: Trial, kind: str, data: dict[str, Any]) -> None:
        if kind != "pid":
            return
        running[trial.seed] = data
        begun.append(trial.seed)
        if len(begun) == 3:
            psutil.Process(running[0]["parent"]).kill()  # Ray's worker of one
        elif len(begun) == 4:
            run.cluster.nodes[1].kill()
            run.open_all()

    rows = run.run(follow)
    run.assert_one_row_each(rows)
    lost = sum(len(row["notes"]) for row in rows)
    assert lost == 2
    assert len({row["node"] for row in rows}) == 1
    assert_gone([data["pid"] for data in running.values()])


def test_trials_end_with_their_driver(make_run: Callable[[int], Run]) -> None:
    run = make_run(2)
    pids: list[int] = []

    def interrupt(trial: Trial, kind: str, data: dict[str, Any]) -> None:
        if kind == "pid":
            pids.append(data["pid"])
            if len(pids) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.run(interrupt)
    rows = [event for event in Store(run.folder / "out").events() if event["event"] == "trial"]
    assert [(row["status"], row["error"]) for row in rows] == [("interrupted", "interrupted by the user")] * 2
    assert_gone(pids)


def test_a_cluster_that_is_not_there_is_said_at_once(make_run: Callable[[int], Run]) -> None:
    run = make_run(1)
    for address, message in {
        "127.0.0.1:1": r"no Ray cluster can be reached at 127.0.0.1:1 \(Connection refused\)",
        "ray://127.0.0.1:1": "cannot go through Ray Client",
        "nonsense": "is no address",
    }.items():
        with pytest.raises(InputError, match=message), open_cluster(Conduct(ray_address=address), run.needs):
            pass
