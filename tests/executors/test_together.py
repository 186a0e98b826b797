"""Jobs and trials that run side by side: alone up to their gate, and with the same results as alone."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import process_jobs
import pytest
from records import make_trial
from tiny_folder import make_tiny_folder

from resbench.errors import InputError
from resbench.executors import local
from resbench.executors.process import Exit, Task, run_in_processes
from resbench.planning.plan import Plan, plan_suite
from resbench.run import run_plan
from resbench.store import Store, load_results
from resbench.suite import make_suite

SEEDS = 3
LEARNT = ["test_accuracy", "best_test_accuracy", "train_accuracy", "test_loss", "epochs", "steps", "images_seen"]
MEASURED = ["train_images_per_second", "step_ms_p50", "step_ms_p90", "latency_ms_p50", "peak_memory_allocated_mib"]


def run_together(folder: Path, *jobs: Callable[..., None]) -> tuple[list[Exit], list[tuple[str, str]]]:
    """Runs jobs named a, b, c and returns how they ended and what they said, in the order in which it came."""
    said: list[tuple[str, str]] = []

    def hear(kind: str, data: dict[str, Any]) -> None:
        said.append((kind, data["name"]))

    tasks = [Task(job, (name,), folder / name, hear) for job, name in zip(jobs, "abc", strict=False)]
    return run_in_processes(tasks), said


def test_each_reaches_its_gate_before_the_next_begins_and_all_pass_together(tmp_path: Path) -> None:
    exits, said = run_together(tmp_path, *[process_jobs.pass_the_gate] * 3)
    assert exits == [Exit(0, "")] * 3
    assert said[:3] == [("before", "a"), ("before", "b"), ("before", "c")]
    assert sorted(said[3:]) == [("after", "a"), ("after", "b"), ("after", "c")]


@pytest.mark.parametrize(
    ("death", "number"),
    [(process_jobs.die_before_the_gate, signal.SIGKILL), (process_jobs.die_at_the_gate, signal.SIGALRM)],
)
def test_one_that_dies_does_not_hold_up_the_others(
    tmp_path: Path, death: Callable[..., None], number: signal.Signals
) -> None:
    gate = process_jobs.pass_the_gate
    exits, said = run_together(tmp_path, gate, death, gate)
    assert [ended.code for ended in exits] == [0, -number, 0]
    assert said[:3] == [("before", "a"), ("before", "b"), ("before", "c")]
    assert sorted(said[3:]) == [("after", "a"), ("after", "c")]


def test_jobs_without_a_gate_run_one_after_another(tmp_path: Path) -> None:
    said: list[int] = []
    tasks = [
        Task(process_jobs.emit_numbers, (count,), tmp_path / str(count), lambda kind, data: said.append(data["number"]))
        for count in (3, 2)
    ]
    assert [ended.code for ended in run_in_processes(tasks)] == [0, 0]
    assert said == [0, 1, 2, 0, 1]


def test_groups_hold_seeds_of_one_network_in_the_order_of_planning() -> None:
    trials = [make_trial(model, seed) for seed in range(5) for model in ("a", "b")]
    groups = local._groups(trials, 2)
    assert [[(trial.model, trial.seed) for trial in group] for group in groups] == [
        [("a", 0), ("a", 1)], [("b", 0), ("b", 1)], [("a", 2), ("a", 3)], [("b", 2), ("b", 3)], [("a", 4)], [("b", 4)],
    ]  # fmt: skip
    assert local._groups(trials, 1) == [[trial] for trial in trials]


def test_only_the_seed_may_differ_within_a_group() -> None:
    trial = make_trial()
    others = [replace(trial, seed=1, stem="source"), replace(trial, seed=2, batch_size=8)]
    assert local._groups([trial, *others], 3) == [[trial], [others[0]], [others[1]]]


@pytest.fixture
def plans(tmp_path: Path) -> tuple[Plan, Plan]:
    """The same suite, a seed at a time and all at once."""
    folder = make_tiny_folder(tmp_path / "tiny")
    data = {"name": "x", "models": ["cnn"], "dataset": f"folder:{folder}", "seeds": SEEDS, "batch_size": 8}
    suite = {**data, "budget": "3ep"}
    return tuple(  # type: ignore[return-value]
        plan_suite(make_suite(suite, device="cpu", concurrent_seeds=together, calibrate=False))
        for together in (1, SEEDS)
    )


@pytest.mark.slow
@pytest.mark.usefixtures("warm_trials")
def test_seeds_at_once_learn_what_they_learn_alone_and_are_measured_alone(
    tmp_path: Path, plans: tuple[Plan, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plans[0].trials == plans[1].trials
    with monkeypatch.context() as patch:
        patch.setattr(local, "trial_job", process_jobs.trial_without_profile)  # only what they learn is compared
        alone, _ = run_plan(plans[0], tmp_path / "alone")
    phases: list[tuple[int, str]] = []

    def note(trial: Any, kind: str, data: dict[str, Any]) -> None:
        if kind == "phase":
            phases.append((trial.seed, data["phase"]))

    together, _ = run_plan(plans[1], tmp_path / "together", on_message=note)
    assert list(together.trials["seed"]) == list(range(SEEDS))
    assert list(together.trials["status"]) == ["ok"] * SEEDS
    assert together.trials[LEARNT].equals(alone.trials[LEARNT])
    curves = ["seed", "steps", "train_loss", "test_loss", "learning_rate"]
    order = {"by": ["seed", "steps"], "ignore_index": True}
    assert together.epochs[curves].sort_values(**order).equals(alone.epochs[curves].sort_values(**order))
    assert list(alone.trials["concurrent_seeds"]) == [1] * SEEDS
    assert list(together.trials["concurrent_seeds"]) == [SEEDS] * SEEDS
    assert (together.trials[MEASURED] > 0).all(axis=None)
    assert together.trials["energy_j"].isna().all()
    begun = [phases.index((seed, "data")) for seed in range(SEEDS)]
    measured = [max(i for i, phase in enumerate(phases) if phase == (seed, "profile")) for seed in range(SEEDS)]
    assert begun[0] < measured[0] < begun[1] < measured[1] < begun[2] < measured[2]


def test_a_budget_of_time_is_refused_for_seeds_that_train_at_once(tmp_path: Path) -> None:
    folder = make_tiny_folder(tmp_path / "tiny")
    data = {"name": "x", "models": ["cnn"], "dataset": f"folder:{folder}", "batch_size": 8, "budget": "10s"}
    with pytest.raises(InputError, match="take it from each other"):
        plan_suite(make_suite(data, device="cpu", concurrent_seeds=2))


def test_an_interrupt_records_those_that_have_begun(tmp_path: Path, plans: tuple[Plan, Plan], monkeypatch: Any) -> None:
    def begin_two_and_stop(tasks: list[Task], **options: Any) -> list[Exit]:
        for task in tasks[:2]:
            task.on_message("phase", {"phase": "train"})
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "run_in_processes", begin_two_and_stop)
    plan, store = plans[1], Store(tmp_path / "out", create=True)
    store.append("suite", {"trials": [trial.to_dict() for trial in plan.trials]})
    with pytest.raises(KeyboardInterrupt):
        local.run_trials(plan.trials, plan.inputs, store, conduct=plan.conduct)
    trials = load_results(tmp_path / "out").trials
    assert list(trials["status"]) == ["interrupted", "interrupted", "not_run"]
