"""A run that has to stop in time: which trials are begun, and what becomes of one that is under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import process_jobs
import psutil
import pytest
from fake_cluster import FakeCluster, Scene, make_node, make_trials, row_of, steps

from resbench.errors import InputError
from resbench.executors import local
from resbench.executors.deadline import Deadline, OutOfTime, deadline_after
from resbench.executors.local import run_trials
from resbench.executors.process import Exit, Task, run_in_processes
from resbench.inputs import Inputs
from resbench.schema import Trial
from resbench.store import Store


class Clock:
    """Tells the time that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_first_trial_begins_however_long_it_takes_and_the_next_only_where_it_fits(clock: Clock) -> None:
    deadline = Deadline(60, "60s", now=clock)
    first, second, third = make_trials(3)
    deadline.expect({first.trial_id: 500.0, second.trial_id: 61.0, third.trial_id: 59.0})
    assert [deadline.lets_begin(trial) for trial in (first, second, third)] == [True, False, True]
    clock.seconds += 2
    assert not deadline.lets_begin(third)


def test_no_trial_begins_when_the_time_is_over(clock: Clock) -> None:
    deadline = Deadline(60, "60s", now=clock)
    clock.seconds += 60
    assert not deadline.lets_begin(make_trials(1)[0])
    with pytest.raises(OutOfTime, match=r"^--stop-after 60s$"):
        deadline.check()


def test_another_seed_of_the_same_cell_counts_more_than_an_estimate(clock: Clock) -> None:
    deadline = Deadline(60, "60s", now=clock)
    first, second = make_trials(2)
    deadline.expect({second.trial_id: 1.0})
    deadline.lets_begin(first)
    deadline.learn(first, 61.0)
    assert not deadline.lets_begin(second)


def test_a_trial_of_which_nothing_is_known_is_taken_to_last_as_long_as_the_longest(clock: Clock) -> None:
    deadline = Deadline(60, "60s", now=clock)
    first, second = make_trials(2)
    other = replace(second, model="resnet34")
    assert deadline.lets_begin(first)
    deadline.learn(first, 40.0)
    assert deadline.lets_begin(other)
    clock.seconds += 30
    assert not deadline.lets_begin(other)


@pytest.mark.parametrize("text", ["0s", "soon", "-1min"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="the time to stop after"):
        deadline_after(text)


def test_a_process_that_is_under_way_is_ended(tmp_path: Path, clock: Clock) -> None:
    pids: list[int] = []

    def hear(kind: str, data: dict[str, Any]) -> None:
        pids.append(data["pid"])
        clock.seconds += 60

    with pytest.raises(OutOfTime):
        run_in_processes(
            [Task(process_jobs.wait_to_be_ended, (), tmp_path / "log", hear)], deadline=Deadline(60, "60s", now=clock)
        )
    (pid,) = pids
    assert not psutil.pid_exists(pid)


def running(clock: Clock, takes: dict[int, float], ends: str = "ok") -> Callable[..., list[Exit]]:
    """Stands in for run_in_processes: the trial of each seed takes so many seconds."""

    def run_it(tasks: list[Task], *, deadline: Deadline) -> list[Exit]:
        trial: Trial = tasks[0].arguments[0]
        clock.seconds += takes[trial.seed]
        if ends == "ok":
            deadline.check()
        tasks[0].on_message("trial", row_of(trial, ends))
        return [Exit(0, "")]

    return run_it


def statuses(store: Store) -> list[tuple[int, str]]:
    return [(row["seed"], row["status"]) for row in store.events() if row["event"] == "trial"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out", create=True)


def run_four(store: Store, deadline: Deadline) -> None:
    run_trials(make_trials(4), Inputs("folder", "nowhere"), store, deadline=deadline)


def test_what_would_not_be_over_in_time_waits(store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "run_in_processes", running(clock, dict.fromkeys(range(4), 25.0)))
    with pytest.raises(OutOfTime):
        run_four(store, Deadline(60, "60s", now=clock))
    assert statuses(store) == [(0, "ok"), (1, "ok")]


def test_enough_time_stops_nothing(store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "run_in_processes", running(clock, dict.fromkeys(range(4), 15.0)))
    run_four(store, Deadline(61, "61s", now=clock))
    assert statuses(store) == [(seed, "ok") for seed in range(4)]


def test_what_is_under_way_when_the_time_is_over_is_recorded_as_interrupted(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "run_in_processes", running(clock, {0: 20.0, 1: 45.0}))
    with pytest.raises(OutOfTime):
        run_four(store, Deadline(60, "60s", now=clock))
    assert statuses(store) == [(0, "ok"), (1, "interrupted")]
    assert [*store.events()][-1]["error"] == "interrupted by --stop-after 60s"


def test_a_trial_that_fails_early_says_nothing_of_how_long_the_others_take(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadline = Deadline(60, "60s", now=clock)
    deadline.expect({trial.trial_id: 50.0 for trial in make_trials(4)})
    monkeypatch.setattr(local, "run_in_processes", running(clock, dict.fromkeys(range(4), 15.0), "diverged"))
    with pytest.raises(OutOfTime):
        run_four(store, deadline)
    assert statuses(store) == [(0, "diverged")]


def test_a_cluster_is_given_no_trial_that_would_not_be_over_in_time(tmp_path: Path, clock: Clock) -> None:
    scene = Scene(tmp_path, trials=3)
    deadline = Deadline(60, "60s", now=clock)

    def take_forty_seconds(cluster: FakeCluster) -> None:
        scene.clock += 40
        clock.seconds += 40
        cluster.finish(1)

    def begin(cluster: FakeCluster) -> None:
        cluster.say(1, ("phase", {"phase": "train"}))

    cluster = FakeCluster(steps(lambda c: c.join(make_node("a")), begin, take_forty_seconds))
    with pytest.raises(OutOfTime):
        scene.run(cluster, deadline=deadline)
    assert [(row["seed"], row["status"]) for row in scene.rows] == [(0, "ok")]
    assert len(cluster.begun) == 1


def test_a_clusters_trials_under_way_are_recorded_as_interrupted(tmp_path: Path, clock: Clock) -> None:
    scene = Scene(tmp_path, trials=2)

    def let_time_pass(cluster: FakeCluster) -> None:
        clock.seconds += 60
        cluster.say(1, ("phase", {"phase": "train"}))

    cluster = FakeCluster(steps(lambda c: c.join(make_node("a")), let_time_pass))
    with pytest.raises(OutOfTime):
        scene.run(cluster, deadline=Deadline(60, "60s", now=clock))
    assert [(row["seed"], row["status"], row["phase"]) for row in scene.rows] == [(0, "interrupted", "train")]
