"""The estimate of a plan: which trials count, what rests on records, and when there is none."""

from __future__ import annotations

import fcntl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import DATA, measurement, plan, trial
from records import make_record
from tiny_folder import TEST_IMAGES, TRAIN_IMAGES, make_tiny_folder

from resbench.errors import InputError
from resbench.estimate import estimate as costs
from resbench.estimate.arithmetic import Data, trial_times
from resbench.estimate.disk import disk_use, free_mib
from resbench.estimate.estimate import NoEstimateError, estimate_costs, is_short, read_data
from resbench.estimate.measuring import Outcome, network_of
from resbench.inputs import Inputs
from resbench.locks import device_lock, host_name
from resbench.schema import Trial
from resbench.store import Store

Measured = list[Trial]
WALL_S = trial_times(trial(), measurement(), DATA).wall_s


def data() -> Data:
    return DATA


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Measures nothing; ``resnet152`` does not fit. Returns what was asked for."""
    asked: Measured = []

    def measure(trials: list[Trial], stored: tuple[int, int, int], conduct: Any) -> dict[Trial, Outcome]:
        assert stored == DATA.shape
        asked.extend(trials)
        fits, not_fits = Outcome("measured", measurement()), Outcome("out of memory", reason="no memory left")
        return {network_of(one): not_fits if one.model == "resnet152" else fits for one in trials}

    monkeypatch.setattr(costs, "measure_networks", measure)
    monkeypatch.setattr(costs, "available_memory_mib", lambda: 4096)
    return asked


def record(folder: Path, *rows: dict[str, Any]) -> None:
    store = Store(folder, create=True)
    for row in rows:
        store.append("trial", row)


def test_each_cell_is_measured_once_and_each_of_its_trials_is_expected_to_take_what_one_takes(
    measured: Measured, tmp_path: Path
) -> None:
    trials = [trial(model, seed) for seed in range(3) for model in ("cnn", "resnet34", "resnet152")]
    found = estimate_costs(plan(trials), trials, tmp_path / "none", data=data)
    assert measured == [trial(model) for model in ("cnn", "resnet34", "resnet152")]
    assert [(cell.name, len(cell.trials), cell.basis) for cell in found.cells] == [
        ("cnn", 3, "measured"),
        ("resnet34", 3, "measured"),
        ("resnet152", 3, "out of memory"),
    ]
    assert found.expected_s == {one.trial_id: WALL_S for one in trials if one.model != "resnet152"}
    assert found.total_s == 6 * (WALL_S + 2.0)
    first, _, last = found.cells
    assert (first.need_mib, last.need_mib) == (320 + DATA.held_mib(4), None)
    assert (found.room_mib, found.calibration_s, found.resumed) == (4096, 0.0, 0)
    assert not (tmp_path / "none").exists()


def test_arms_have_their_names_and_budgets_and_share_a_measurement(measured: Measured, tmp_path: Path) -> None:
    long, short = trial(budget="3ep"), trial(budget="1ep")
    found = estimate_costs(
        plan([long, short], arms={"long": [long], "short": [short]}), [long, short], tmp_path, data=data
    )
    assert {cell.name: cell.train_s for cell in found.cells} == {"long": 7.5, "short": 2.5}
    assert {network_of(one) for one in measured} == {network_of(long)}


def test_only_what_waits_counts_and_records_of_a_cell_take_the_place_of_measuring_it(
    measured: Measured, tmp_path: Path
) -> None:
    trials = [trial(model, seed) for seed in range(3) for model in ("cnn", "resnet34")]
    done = {"wall_s": 50.0, "data_s": 2.0, "step_s": 30.0, "eval_s": 8.0, "step_ms_p50": 400.0, "epochs": 3.0}
    record(
        tmp_path,
        make_record(trials[0], **done),
        make_record(trials[2], **{**done, "wall_s": 70.0, "peak_memory_allocated_mib": 1700.0}),
        make_record(trials[1], status="crashed", wall_s=1.0),
        make_record(trial("gone"), **done),
    )
    waiting = [trials[1], *trials[3:]]
    found = estimate_costs(plan(trials), waiting, tmp_path, data=data)
    assert measured == [trial("resnet34")]
    cells = {cell.name: cell for cell in found.cells}
    cnn = cells["cnn"]
    assert (cnn.basis, cnn.recorded, cnn.wall_s, cnn.train_s, cnn.step_s) == ("recorded", 2, 60.0, 32.0, 0.4)
    assert (cnn.peak_mib, cnn.evaluations) == (1600.0, 3)
    assert cnn.need_mib == 1800 + DATA.held_mib(4)  # what was reserved
    assert len(cells["resnet34"].trials) == 3
    assert found.total_s == 60.0 + 3 * (WALL_S + 2.0)
    assert set(found.expected_s) == {one.trial_id for one in waiting}


def test_where_all_cells_are_recorded_nothing_is_measured_and_no_device_is_needed(
    measured: Measured, tmp_path: Path
) -> None:
    trials = [trial("cnn", seed) for seed in range(2)]
    record(tmp_path, make_record(trials[0], wall_s=50.0, params=2**20, trainable_params=2**20, step_s=100.0))
    with device_lock("cpu"):
        found = estimate_costs(plan(trials), trials[1:], tmp_path, data=data)
    assert measured == []
    assert found.cells[0].checkpoint_mib == 8.0  # weights and momentum


def test_records_that_cannot_be_read_are_an_error(measured: Measured, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text("what\never\n")
    with pytest.raises(InputError, match="not a resbench record"):
        estimate_costs(plan([trial()]), [trial()], tmp_path, data=data)


def test_a_device_that_is_in_use_is_not_waited_for(measured: Measured, tmp_path: Path, own_cache: Path) -> None:
    (own_cache / "locks" / host_name()).mkdir(parents=True, exist_ok=True)
    with (own_cache / "locks" / host_name() / "cpu.lock").open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(NoEstimateError, match="waiting for the device cpu, which is in use by"):
            estimate_costs(plan([trial()]), [trial()], tmp_path, data=data)
    assert measured == []
    assert estimate_costs(plan([trial()]), [trial()], tmp_path, data=data).cells


def test_where_no_process_can_be_started_there_is_no_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(costs, "measure_networks", refuse)
    with pytest.raises(NoEstimateError, match="no space left"):
        estimate_costs(plan([trial()]), [trial()], tmp_path, data=data)


def test_the_ruler_and_the_noise_floor_count_where_they_are_asked_for(measured: Measured, tmp_path: Path) -> None:
    found = estimate_costs(plan([trial()], calibrate=True), [trial()], tmp_path, data=data)
    # Two processes; the first trial again less its training: 30 steps, as it has no more, and one evaluation.
    prepared = WALL_S - 7.5 - 9 * 0.125
    assert found.calibration_s == costs.RULER_S + 2.0 + 3 * (2.0 + prepared + 30 * 0.25 + 3 * 0.125)
    assert found.total_s == WALL_S + 2.0 + found.calibration_s


def test_the_room_is_the_memory_limit_where_there_is_one_and_unknown_on_other_devices(
    measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = estimate_costs(plan([trial()], memory_limit_mib=700), [trial()], tmp_path, data=data)
    assert limited.room_mib == 700
    gpu = replace(trial(), engine=replace(trial().engine, device="cuda"))
    assert estimate_costs(plan([gpu]), [gpu], tmp_path, data=data).room_mib is None
    outcome = Outcome("measured", measurement(device_mib=80_000.0))
    monkeypatch.setattr(costs, "measure_networks", lambda *arguments: {network_of(gpu): outcome})
    assert estimate_costs(plan([gpu]), [gpu], tmp_path, data=data).room_mib == 80_000


def test_trials_with_a_checkpoint_are_counted_whole_and_named(measured: Measured, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / f"{trial().trial_id}.pt").touch()
    found = estimate_costs(plan([trial()]), [trial()], tmp_path, data=data)
    assert (found.resumed, found.total_s) == (1, WALL_S + 2.0)


# Disk ---------------------------------------------------------------------------------------------------------


def test_a_checkpoint_stands_beside_the_one_it_replaces_and_is_written_by_long_trainings_only(
    measured: Measured, tmp_path: Path
) -> None:
    trials = [trial(seed=seed) for seed in range(3)]

    def checkpoints(**conduct: Any) -> float:
        return estimate_costs(plan(trials, **conduct), trials, tmp_path, data=data).disk.checkpoints

    assert checkpoints() == 0  # the training takes less than a minute
    assert checkpoints(checkpoint_every_s=5.0) == 2 * 64
    assert checkpoints(checkpoint_every_s=5.0, concurrent_seeds=2) == 2 * 2 * 64
    assert checkpoints(checkpoint_every_s=5.0, concurrent_seeds=8) == 3 * 2 * 64


def test_what_results_take_is_more_than_those_that_are_committed_took(measured: Measured, tmp_path: Path) -> None:
    committed = Path(__file__).parents[2] / "results" / "cifar10-jpeg75-cpu"
    there = sum(path.stat().st_size for path in committed.rglob("*") if path.is_file()) / 2**20
    trials = [trial(seed=seed, budget="10steps") for seed in range(16)]
    found = estimate_costs(plan(trials), trials, tmp_path, data=data)
    assert there < found.disk.results < 4 * there


def test_results_grow_with_trials_and_epochs_and_nothing_is_needed_for_none(tmp_path: Path) -> None:
    assert disk_use([], tmp_path, test_images=10_000, together=1).needed == 0
    assert free_mib(tmp_path / "not" / "there" / "yet") == pytest.approx(free_mib(tmp_path), rel=0.05)


# Whether it is worth it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "short"),
    [
        *(("20steps", True), ("21steps", False), ("2000img", True), ("2001img", False)),
        *(("20s", True), ("21s", False), ("2ep", True), ("2.01ep", False), ("1flop", False)),
    ],
)
def test_a_suite_is_short_by_its_steps_or_seconds(budget: str, short: bool) -> None:
    assert is_short([trial(budget=budget)], data) is short
    assert not is_short([trial(budget="1steps"), trial(budget="21steps")], data)


def test_the_dataset_is_read_only_where_epochs_are_counted() -> None:
    def unread() -> Data:
        raise AssertionError("it was read")

    assert is_short([trial(budget="2steps"), trial(budget="3s")], unread)


def test_a_dataset_is_read_as_a_trial_reads_it(tmp_path: Path) -> None:
    found = read_data(Inputs(f"folder:{make_tiny_folder(tmp_path / 'tiny')}"))
    assert (found.train_images, found.test_images, found.shape) == (TRAIN_IMAGES, TEST_IMAGES, (3, 8, 8))
    assert found.train_mib == TRAIN_IMAGES * 3 * 8 * 8 / 2**20
    assert found.load_s > 0
