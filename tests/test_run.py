from __future__ import annotations

import csv
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import process_jobs
import pytest
import torch
from tiny_folder import TRAIN_IMAGES, make_tiny_folder
from warm_processes import warm_processes

import resbench
from resbench.errors import InputError, RulerError
from resbench.executors import local
from resbench.measure.ruler import Reading, Ruler
from resbench.noise import METRICS
from resbench.planning.plan import plan_suite
from resbench.run import open_run, run_plan
from resbench.schema import EpochRecord, ProfileRecord, Trial, TrialRecord, columns
from resbench.store import Results, Store, load_results, planned_record
from resbench.suite import Suite, make_suite
from resbench.training.ledger import PARTS

MODELS, SEEDS, EPOCHS, BATCH = ["cnn", "d2l_resnet18"], 2, 2, 8


def suite_of(folder: Path, **changes: Any) -> Suite:
    data = {"name": "tiny", "models": MODELS, "dataset": f"folder:{folder}", "seeds": SEEDS, "budget": f"{EPOCHS}ep"}
    return make_suite(
        {**data, "batch_size": BATCH}, **{"device": "cpu", "precision": "fp32", "calibrate": False, **changes}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("run") / "tiny")


@pytest.fixture(scope="module")
def results(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What the whole suite leaves, run once for all tests here."""
    with warm_processes(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return resbench.run_suite(suite_of(folder), out=tmp_path_factory.mktemp("results") / "new" / "tiny")


def test_there_is_one_row_a_planned_trial_in_the_order_of_planning_and_all_are_ok(
    results: Results, folder: Path
) -> None:
    planned = [trial.trial_id for trial in plan_suite(suite_of(folder)).trials]
    assert list(results.trials["trial_id"]) == planned
    assert list(results.trials["status"]) == ["ok"] * len(MODELS) * SEEDS
    assert set(results.trials["phase"]) == {"done"}
    assert results.trials["error"].isna().all()


@pytest.mark.parametrize(
    ("name", "record", "rows"),
    [
        ("trials", TrialRecord, len(MODELS) * SEEDS),
        ("epochs", EpochRecord, len(MODELS) * SEEDS * EPOCHS),
        ("profile", ProfileRecord, len(MODELS) * SEEDS),
    ],
)
def test_a_csv_has_its_columns_and_rows(
    results: Results, name: str, record: type[TrialRecord | EpochRecord | ProfileRecord], rows: int
) -> None:
    with (results.folder / f"{name}.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    assert header == columns(record)
    assert len(lines) == rows


def test_the_summary_has_a_row_a_model_with_the_mean_over_its_seeds(results: Results) -> None:
    summary = pd.read_csv(results.folder / "summary.csv").set_index("model")
    assert sorted(summary.index) == sorted(MODELS)
    assert set(summary["ok"]) == {SEEDS}
    for model in MODELS:
        losses = results.trials.query("model == @model")["test_loss"]
        assert summary.loc[model, "test_loss_mean"] == pytest.approx(losses.mean())
        assert summary.loc[model, "test_loss_sd"] == pytest.approx(losses.std())


def test_the_ledgers_parts_add_up_to_the_wall_time(results: Results) -> None:
    for trial in results.trials.to_dict("records"):
        parts = {part: trial[f"{part}_s"] for part in (*PARTS, "other")}
        assert sum(parts.values()) == pytest.approx(trial["wall_s"], rel=0.01)
        assert min(parts.values()) >= 0
        for part in ("build", "profile", "warmup", "data", "step", "eval", "wall"):
            assert trial[f"{part}_s"] > 0, part


def test_every_trial_spends_its_budget_and_no_more(results: Results) -> None:
    trials = results.trials
    steps = EPOCHS * TRAIN_IMAGES // BATCH
    assert set(trials["steps"]) == {steps}
    assert set(trials["images_seen"]) == {steps * BATCH}
    assert set(trials["epochs"]) == {EPOCHS}
    assert set(trials["stopped_by"]) == {"ep"}
    assert set(trials["overshoot"]) == {0.0}
    spent = trials["train_flops_per_image"] * trials["images_seen"]
    assert (trials["train_flops_spent"] == spent).all()


def test_the_epochs_of_a_trial_end_with_what_its_row_says(results: Results) -> None:
    for trial in results.trials.to_dict("records"):
        epochs = results.epochs[results.epochs["trial_id"] == trial["trial_id"]].to_dict("records")
        assert [epoch["epoch"] for epoch in epochs] == [1, 2]
        assert [epoch["budget_fraction"] for epoch in epochs] == [0.5, 1.0]
        for column in ("test_accuracy", "test_loss", "train_accuracy", "steps", "images_seen", "train_flops_spent"):
            assert epochs[-1][column] == trial[column]
        assert trial["best_test_accuracy"] == max(epoch["test_accuracy"] for epoch in epochs)
        assert trial["data_s"] + trial["step_s"] == pytest.approx(epochs[-1]["train_clock_s"], rel=1e-6)
        rate = trial["images_seen"] / (trial["data_s"] + trial["step_s"])
        assert trial["train_images_per_second"] == pytest.approx(rate, rel=1e-6)


def test_every_column_that_an_ok_trial_on_a_processor_can_fill_is_filled(results: Results) -> None:
    only_elsewhere = {"compile_mode", "cuda", "cudnn", "driver", "mfu", "energy_j", "peak_memory_reserved_mib", "error"}
    only_elsewhere |= {"exit_code", "signal", "clock_mhz", "temperature_c", "power_w"}
    only_elsewhere |= {"other_load"}  # too short to tell
    only_elsewhere |= {"code", "node"}
    only_in_a_checkout = {"git_sha", "git_dirty", "git_diff_hash"}
    empty = {column for column in columns(TrialRecord) if results.trials[column].isna().any()}
    assert empty - only_in_a_checkout <= only_elsewhere
    assert "error" in empty


def test_different_seeds_give_different_losses(results: Results) -> None:
    assert results.trials["test_loss"].nunique() == len(MODELS) * SEEDS


@pytest.mark.usefixtures("warm_trials")
def test_the_same_seed_gives_the_same_results_to_the_bit_whatever_was_measured_before(
    results: Results, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "trial_job", process_jobs.trial_without_profile)
    again = resbench.run_suite(suite_of(folder), out=tmp_path / "again", seeds=1)
    first = results.epochs[results.epochs["seed"] == 0]
    for column in ("trial_id", "test_accuracy", "test_loss", "train_accuracy", "train_loss", "learning_rate"):
        assert list(again.epochs[column]) == list(first[column]), column
    for column in ("trial_id", "test_accuracy", "best_test_accuracy", "train_accuracy", "test_loss"):
        assert list(again.trials[column]) == list(results.trials.query("seed == 0")[column]), column


def test_running_again_into_the_same_folder_runs_nothing_and_keeps_every_row(results: Results, folder: Path) -> None:
    plan = plan_suite(suite_of(folder))
    messages = []
    again, skipped = run_plan(plan, results.folder, on_message=lambda *message: messages.append(message))
    assert messages == []
    assert skipped == plan.trials
    pd.testing.assert_frame_equal(again.trials, results.trials)
    pd.testing.assert_frame_equal(again.epochs, results.epochs)


def statuses_written(folder: Path, trials: list[Trial], *statuses: str) -> None:
    store = Store(folder, create=True)
    store.append("suite", {"suite": {"name": "tiny"}, "trials": [trial.to_dict() for trial in trials]})
    for trial, status in zip(trials, statuses, strict=False):
        store.append("start", {"trial": trial.to_dict(), "started_at": "2030-01-01T00:00:00+00:00"})
        if status != "cut off":
            store.append("trial", {**planned_record(trial).to_dict(), "status": status})


def test_what_was_cut_short_waits_and_what_failed_waits_where_that_is_asked_for(folder: Path, tmp_path: Path) -> None:
    plan = plan_suite(suite_of(folder, seeds=5))
    ended = ("ok", "oom", "diverged", "timeout", "crashed", "interrupted", "not_run", "cut off")
    statuses_written(tmp_path, plan.trials, *ended)
    with open_run(plan, tmp_path) as run:
        assert run.done == plan.trials[:1]
        assert run.failed == plan.trials[1:5]
        assert run.waiting == plan.trials[5:]
    with open_run(plan, tmp_path, retry_failed=True) as run:
        assert (run.done, run.failed, run.waiting) == (plan.trials[:1], [], plan.trials[1:])
    rows = load_results(tmp_path).trials
    assert list(rows["status"]) == [*ended[:-1], "interrupted", "not_run", "not_run"]
    assert "left no record" in rows["error"][7]


def test_a_trial_that_is_planned_twice_waits_or_is_skipped_twice(folder: Path, tmp_path: Path) -> None:
    first, second, *_ = plan_suite(suite_of(folder)).trials
    plan = replace(plan_suite(suite_of(folder)), trials=[first, second, first, second])
    statuses_written(tmp_path, [first, first, second, second], "crashed", "ok", "ok", "interrupted")
    with open_run(plan, tmp_path) as run:
        assert run.waiting == [second, second]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": 3}, "seed was 0, 1 and is 0, 1, 2"),
        ({"budget": "3ep"}, "budget was 2ep and is 3ep"),
        ({"models": ["cnn"]}, "model was cnn, d2l_resnet18 and is cnn"),
        ({"precision": "bf16", "batch_size": 4}, "batch_size was 8 and is 4; precision was fp32 and is bf16"),
    ],
)
def test_another_suite_in_the_same_folder_is_refused_with_what_changed(
    folder: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    statuses_written(tmp_path, plan_suite(suite_of(folder)).trials, "ok")
    before = (tmp_path / "records.jsonl").read_bytes()
    with pytest.raises(InputError, match=f"holds another suite: {said}\\. .* another one with --out"):
        run_plan(plan_suite(suite_of(folder, **changes)), tmp_path)
    assert (tmp_path / "records.jsonl").read_bytes() == before


def test_how_trials_are_watched_over_may_change(folder: Path, tmp_path: Path) -> None:
    statuses_written(tmp_path, plan_suite(suite_of(folder)).trials, "ok")
    plan = plan_suite(suite_of(folder, trial_timeout="1h", oom="accumulate", checkpoint_every="5s"))
    with open_run(plan, tmp_path) as run:
        assert len(run.waiting) == 3


def test_questions_may_come_later(folder: Path, tmp_path: Path) -> None:
    statuses_written(tmp_path, plan_suite(suite_of(folder)).trials, "ok")
    asked = [{"question": "What does a residual network add?", "arm": "d2l_resnet18", "against": "cnn"}]
    with open_run(plan_suite(suite_of(folder, compare=asked)), tmp_path) as run:
        assert (len(run.done), len(run.waiting)) == (1, 3)


def test_an_arm_may_come_later_and_the_trials_of_the_others_stay(folder: Path, tmp_path: Path) -> None:
    arms = [{"name": f"arm {model}", "model": model} for model in MODELS]
    early, late = ({"models": [], "arms": chosen} for chosen in (arms[:1], arms))
    with open_run(plan_suite(suite_of(folder, **early)), tmp_path) as run:
        run._announce()
        run.store.append("trial", {**planned_record(run.plan.trials[0]).to_dict(), "status": "ok"})
        first = [trial.trial_id for trial in run.plan.trials]
    with open_run(plan_suite(suite_of(folder, **late)), tmp_path) as run:
        assert [trial.trial_id for trial in run.plan.arms[arms[0]["name"]]] == first
        assert [trial.trial_id for trial in run.done] == first[:1]
        assert len(run.waiting) == len(MODELS) * SEEDS - 1
    with (
        pytest.raises(InputError, match="holds another suite: seed was 0, 1 and is 0, 1, 2"),
        open_run(plan_suite(suite_of(folder, **late, seeds=3)), tmp_path),
    ):
        pass


def test_a_folder_that_is_in_use_is_refused_with_who_uses_it(folder: Path, tmp_path: Path) -> None:
    plan = plan_suite(suite_of(folder))
    with (
        open_run(plan, tmp_path),
        pytest.raises(InputError, match=rf"in use by process {os.getpid()}, started 20\d\d-"),
    ):
        run_plan(plan, tmp_path)
    with open_run(plan, tmp_path) as run:
        assert run.waiting == plan.trials


def test_weights_are_read_once_and_not_for_each_model_and_seed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def identity(weights: str) -> str:
        asked.append(weights)
        return "random"

    monkeypatch.setattr("resbench.planning.initial_weights._identity", identity)
    assert len(plan_suite(suite_of(folder, seeds=50)).trials) == 50 * len(MODELS)
    assert asked == ["random"]


def test_load_results_reads_the_same_tables_that_the_run_returned(results: Results) -> None:
    read = resbench.load_results(results.folder)
    for name in ("trials", "epochs", "profile", "summary"):
        pd.testing.assert_frame_equal(getattr(read, name), getattr(results, name))


def test_the_folder_tells_what_was_planned_and_no_row_of_it_holds_a_path(results: Results, folder: Path) -> None:
    event = Store(results.folder).events()[0]
    assert event["event"] == "suite"
    assert {name: value for name, value in event["inputs"].items() if value is not None} == {
        "dataset": f"folder:{folder}",
        "imports": [],
    }
    assert event["suite"]["name"] == "tiny"
    assert [trial["trial_id"] for trial in event["trials"]] == list(results.trials["trial_id"])
    assert str(folder) not in json.dumps(event["trials"]) + results.trials.to_csv()


@pytest.mark.usefixtures("warm_trials")
def test_a_trial_that_fails_leaves_a_row_that_says_why_and_the_others_run(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "wrong.pt")
    monkeypatch.setattr(
        "resbench.planning.initial_weights.create_model", lambda *name, **options: None
    )  # as if it had changed
    monkeypatch.setattr(local, "trial_job", process_jobs.trial_without_profile)
    suite = suite_of(folder, models=["resnet152_frozen", "cnn"], seeds=1, budget="1steps")
    results = resbench.run_suite(suite, out=tmp_path / "out", weights=str(tmp_path / "wrong.pt"))
    failed, ok = results.trials.to_dict("records")
    assert (failed["status"], failed["phase"]) == ("not_run", "build")
    assert "the weights are not those of torchvision's resnet152" in failed["error"]
    assert failed["weights"].startswith("wrong.pt:")
    assert (ok["model"], ok["status"], ok["steps"]) == ("cnn", "ok", 1)
    assert set(results.epochs["trial_id"]) == {ok["trial_id"]}


def test_changes_apply_to_a_suite_that_is_given_as_an_object(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Suite] = []

    def plan(suite: Suite, **options: Any) -> Any:
        asked.append(suite)
        raise InputError("enough")

    monkeypatch.setattr("resbench.run.plan_suite", plan)
    with pytest.raises(InputError, match="enough"):
        resbench.run_suite(suite_of(folder), out=tmp_path / "out", budget="3ep", precision="bf16")
    assert (asked[0].budget, asked[0].models, asked[0].engine.precision) == ("3ep", MODELS, "bf16")
    assert asked[0].engine.device == "cpu"
    with pytest.raises(InputError, match="budgett"):
        resbench.run_suite(suite_of(folder), out=tmp_path / "out", budgett="3ep")


@pytest.mark.parametrize("ok", [True, False])
def test_nothing_runs_where_an_instrument_misreads_what_is_known(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ok: bool
) -> None:
    readings = Reading("sleep", 20.0, 20.0, "ms", 0.02, True), Reading("allocation", 96.0, 90.0, "MiB", 0.03, ok)
    began: list[Trial] = []
    monkeypatch.setattr("resbench.run.calibrate_machine", lambda engine: Ruler("a processor", "fp32", readings))
    monkeypatch.setattr("resbench.run.run_trials", lambda trials, *arguments, **options: began.extend(trials))
    plan = plan_suite(suite_of(folder, calibrate=True))
    if ok:
        run_plan(plan, tmp_path)
    else:
        with pytest.raises(RulerError, match=r"allocation: measured 90 MiB, expected 96 MiB within 3%") as raised:
            run_plan(plan, tmp_path)
        assert raised.value.exit_code == 3
    assert began == (plan.trials if ok else [])
    events = Store(tmp_path).events()
    assert [event["event"] for event in events] == ["suite", "ruler"]
    assert events[1]["ok"] is ok


@pytest.fixture
def measured_again(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Labels of the trials that are measured again, by a machine that always gives the same."""
    asked: list[str] = []

    def again(job: Any, arguments: tuple[Any, ...], *, on_message: Any, **options: Any) -> None:
        asked.append(arguments[0].label)
        on_message("again", {**dict.fromkeys(METRICS, 100.0), "reasons": []})

    monkeypatch.setattr("resbench.run.run_in_process", again)
    monkeypatch.setattr("resbench.run.calibrate_machine", lambda engine: Ruler("cpu", "fp32", ()))
    monkeypatch.setattr(local, "trial_job", process_jobs.trial_without_profile)
    return asked


@pytest.mark.usefixtures("warm_trials")
@pytest.mark.parametrize(("seeds", "order"), [(1, "t n n n"), (2, "t n t n n"), (4, "t t n t n t n")])
def test_one_trial_is_measured_again_three_times_between_the_others(
    folder: Path, tmp_path: Path, measured_again: list[str], seeds: int, order: str
) -> None:
    plan = plan_suite(suite_of(folder, models=["cnn"], seeds=seeds, budget="1steps", calibrate=True))
    run_plan(plan, tmp_path / "out")
    kinds = [event["event"] for event in Store(tmp_path / "out").events()]
    assert [kind[0] for kind in kinds if kind in ("trial", "noise_floor")] == order.split()
    assert measured_again == [plan.trials[0].label] * 3


@pytest.mark.usefixtures("warm_trials")
@pytest.mark.parametrize(("before", "more"), [(1, 2), (3, 0)])
def test_a_run_that_goes_on_measures_the_same_trial_again_and_no_more_than_is_wanted(
    folder: Path, tmp_path: Path, measured_again: list[str], before: int, more: int
) -> None:
    plan = plan_suite(suite_of(folder, models=["cnn"], seeds=2, budget="1steps", calibrate=True))
    statuses_written(tmp_path, plan.trials, "ok")
    for _ in range(before):
        Store(tmp_path).append("noise_floor", {"trial_id": plan.trials[0].trial_id, "model": "cnn", "relative": {}})
    run_plan(plan, tmp_path)
    assert measured_again == [plan.trials[0].label] * more


def test_an_interrupt_leaves_the_tables_of_what_ended(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_suite(suite_of(folder))

    def interrupted(trials: Any, inputs: Any, store: Store, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("resbench.run.run_trials", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, tmp_path / "out")
    assert list(load_results(tmp_path / "out").trials["status"]) == ["not_run"] * 4
    assert len((tmp_path / "out" / "trials.csv").read_text().splitlines()) == 5


def test_a_second_interrupt_does_not_cost_the_tables(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    derive = Store.derive

    def interrupted(trials: Any, inputs: Any, store: Store, **options: Any) -> None:
        raise KeyboardInterrupt

    def derive_under_interrupt(store: Store) -> Results:
        os.kill(os.getpid(), signal.SIGINT)
        return derive(store)

    monkeypatch.setattr("resbench.run.run_trials", interrupted)
    monkeypatch.setattr(Store, "derive", derive_under_interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan_suite(suite_of(folder)), tmp_path / "out")
    assert len((tmp_path / "out" / "trials.csv").read_text().splitlines()) == 5


def test_a_folder_that_cannot_be_written_is_refused_before_anything_runs(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to the results folder"):
        resbench.run_suite(suite_of(folder), out=tmp_path / "file" / "out")
