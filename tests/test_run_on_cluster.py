"""A suite's run on a cluster in memory: what is recorded before, beside and after its trials."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import FakeCluster, make_node
from tiny_folder import make_tiny_folder

from resbench import run_on_cluster as module
from resbench.errors import ClusterError, InputError
from resbench.executors.process import Exit
from resbench.executors.ray_cluster import require_ray
from resbench.executors.ray_cluster.messages import Joined
from resbench.measure.ruler import Reading, Ruler
from resbench.noise import METRICS
from resbench.planning.plan import Plan, plan_suite
from resbench.run import run_plan
from resbench.run_on_cluster import run_name
from resbench.store import Store, planned_record
from resbench.suite import make_suite

FIGURES = dict.fromkeys(METRICS, 100.0)


def ruler(device: str, *, ok: bool = True) -> dict[str, Any]:
    measured = 20.0 if ok else 40.0
    return Ruler(device, "fp32", (Reading("sleep", 20.0, measured, "ms", 0.02, ok),)).to_dict()


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    folder = make_tiny_folder(tmp_path / "tiny")
    data = {"name": "x", "models": ["cnn"], "dataset": f"folder:{folder}", "seeds": 3, "batch_size": 8}
    return plan_suite(make_suite(data, device="cpu", executor="ray", budget="1steps"))


def act(cluster: FakeCluster, wrong: set[str]) -> None:
    """Does what every open job asks for, at once."""
    for attempt, name, work in cluster.open():
        if work.name == "ruler":
            cluster.say(attempt, ("ruler", ruler(name, ok=name not in wrong)))
        elif work.name == "again":
            cluster.say(attempt, ("again", {**FIGURES, "step_ms_p50": 110.0, "reasons": []}))
        else:
            trial = work.arguments[0]
            record = planned_record(trial, source="test")
            record.status, record.phase, record.micro_batch_size = "ok", "done", trial.batch_size
            record.device_name = name
            for column, value in FIGURES.items():
                setattr(record, column, value)
            cluster.say(attempt, ("trial", record.to_dict()))
        cluster.end_with(attempt, Exit(0, ""))


def use(monkeypatch: pytest.MonkeyPatch, *nodes: str, wrong: str = "") -> FakeCluster:
    """Makes the cluster that a run finds."""
    pytest.importorskip("ray", reason="what a trial needs of a node is counted by Ray's own code")
    cluster = FakeCluster(lambda cluster: act(cluster, {wrong}), events=[Joined(make_node(name)) for name in nodes])

    @contextlib.contextmanager
    def open_it(*arguments: Any) -> Iterator[FakeCluster]:
        yield cluster

    monkeypatch.setattr(module, "open_cluster", open_it)
    return cluster


def test_each_node_is_tested_once_and_the_first_trial_is_measured_again_where_it_ran(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = use(monkeypatch, "a", "b")
    said: list[str] = []
    results, _ = run_plan(plan, tmp_path / "out", say=said.append)
    assert list(results.trials["status"]) == ["ok"] * 3
    events = Store(tmp_path / "out").events()
    kinds = [event["event"] for event in events]
    assert kinds[:3] == ["suite", "ruler", "ruler"]
    assert [event["node"] for event in events if event["event"] == "ruler"] == ["a", "b"]
    floor = events[-1]
    first = next(event for event in events if event["event"] == "trial")
    assert (floor["event"], floor["node"], floor["trial_id"]) == ("noise_floor", first["node"], first["trial_id"])
    assert floor["relative"]["step_ms_p50"] == pytest.approx(0.1)
    assert cluster.begun[-1][1] == first["node"]
    assert any("noise floor, cnn against itself" in text for text in said)


def test_a_node_whose_instruments_are_wrong_runs_no_trial(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = use(monkeypatch, "bad", "good", wrong="bad")
    said: list[str] = []
    results, _ = run_plan(plan, tmp_path / "out", say=said.append)
    assert set(results.trials["node"]) == {"good"}
    assert [name for _, name, work in cluster.begun if work.name == "ruler"] == ["bad", "good"]
    assert any("bad is not used: the instruments misread known quantities" in text for text in said)


def test_where_all_instruments_are_wrong_nothing_is_run(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, "bad", wrong="bad")
    with pytest.raises(ClusterError, match=r"left to run 3 planned trials on \(bad: the instruments misread"):
        run_plan(plan, tmp_path / "out")
    assert {event["event"] for event in Store(tmp_path / "out").events()} == {"suite", "ruler"}


def test_a_folder_keeps_its_name_on_nodes_and_another_in_its_place_has_another(tmp_path: Path) -> None:
    first, other = tmp_path / "first", tmp_path / "other"
    first.mkdir()
    other.mkdir()
    name = run_name(first)
    assert name == run_name(first)
    assert name.isalnum()
    assert name != run_name(other)


def test_without_ray_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"it needs the package ray, .* pip install 'resbench\[ray\]'"):
        require_ray()
