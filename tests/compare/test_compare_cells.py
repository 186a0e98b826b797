"""What may be compared, and which cell finds which."""

from __future__ import annotations

import random
from typing import Any

import pytest
from folders import results_of, seeds
from records import make_record, make_trial

from resbench.compare import LEARNING, METRICS, SPEED, compare, matching
from resbench.compare.cells import read_cells
from resbench.compare.matching import pair_cells
from resbench.report.comparison import Comparison
from resbench.schema import MEASURING_VERSION, EngineSettings

SAME, NOT = "same", "not comparable"
SPEED_CHANGES: dict[str, Any] = {
    "memory_format": "contiguous",
    "cuda_graph": True,
    "lowering": "auto",
    "cached_features": True,
    "device_name": "another",
    "driver": "1.0",
    "torch": "2.12",
    "cuda": "12.8",
    "cudnn": "90000",
    "host_cpu": "another",
    "cpu_threads": 2,
    "measuring_version": 1,
}
LEARNING_CHANGES: dict[str, Any] = {
    "stem": "source",
    "weights": "default",
    "input": "3x64x64",
    "dataset": "cifar10",
    "dataset_fingerprint": "f" * 64,
    "recipe": "other",
    "budget": "10min",
    "batch_size": 64,
    "micro_batch_size": 128,
    "precision": "fp32",
    "tf32": True,
    "compiled": False,
    "compile_mode": "reduce-overhead",
    "devices": 2,
}


def verdicts(comparison: Comparison) -> dict[str, str]:
    return {row.metric: row.verdict for row in comparison.rows}


def test_every_field_that_refuses_is_tried() -> None:
    assert set(SPEED_CHANGES) == set(SPEED)
    assert {*LEARNING_CHANGES, "model"} == set(LEARNING)


@pytest.mark.parametrize("column", SPEED_CHANGES)
def test_speed_needs_the_same_machine_software_and_measuring_code(column: str) -> None:
    base = make_record(make_trial())
    new = {**base, column: SPEED_CHANGES[column]}
    comparison = compare(results_of(base), results_of(new))
    found = verdicts(comparison)
    assert found.pop("test accuracy (%)") == SAME
    assert set(found.values()) == {NOT}
    for row in comparison.rows[1:]:
        assert row.note == f"{column}: {base[column]} -> {new[column]}"
    assert comparison.exit_code == 0


@pytest.mark.parametrize("column", LEARNING_CHANGES)
def test_nothing_is_comparable_where_the_learning_differs(column: str) -> None:
    base = make_record(make_trial())
    new = {**base, column: LEARNING_CHANGES[column]}
    comparison = compare(results_of(base), results_of(new))
    (row,) = comparison.rows
    assert (row.metric, row.verdict) == ("all", NOT)
    assert row.note == f"{column}: {str(base[column])[:40]} -> {str(new[column])[:40]}"
    assert comparison.exit_code == 4


@pytest.mark.parametrize("changes", [{"git_sha": "another"}, {"started_at": "2031-01-01"}, {"concurrent_seeds": 3}])
def test_all_is_comparable_whatever_else_differs(changes: dict[str, Any]) -> None:
    comparison = compare(results_of(make_record(make_trial())), results_of(make_record(make_trial(), **changes)))
    assert set(verdicts(comparison).values()) == {SAME}


def test_another_code_of_the_network_is_compared_and_named() -> None:
    old, new = (make_record(make_trial(), code=code) for code in ("net.py 1", "net.py 2"))
    comparison = compare(results_of(old), results_of(new))
    assert set(verdicts(comparison).values()) == {SAME}
    assert all("code: net.py 1 -> net.py 2" in row.notes for row in comparison.rows)


def test_what_one_side_never_knew_is_named() -> None:
    base = results_of(make_record(make_trial(), measuring_version=None))
    comparison = compare(base, results_of(make_record(make_trial())))
    assert comparison.rows[1].note == f"measuring_version: unknown -> {MEASURING_VERSION}"


def test_seeds_of_a_cell_that_differ_among_themselves_are_both_named() -> None:
    base = results_of(*(make_record(make_trial(seed=seed)) for seed in range(2)))
    new = results_of(make_record(make_trial(seed=0)), make_record(make_trial(seed=1), torch="2.12"))
    comparison = compare(base, new)
    assert verdicts(comparison)["train images/s"] == NOT
    assert comparison.rows[1].note == "torch: 2.11.0+cu130 -> 2.11.0+cu130/2.12"


# Which cell finds which -------------------------------------------------------------------------------------------


def test_cells_of_one_model_find_their_own() -> None:
    records = [
        make_record(make_trial(budget=budget), test_accuracy=accuracy)
        for budget, accuracy in (("1ep", 0.5), ("2ep", 0.6), ("3ep", 0.7))
    ]
    comparison = compare(results_of(*records), results_of(*reversed(records)))
    assert set(verdicts(comparison).values()) == {SAME}
    assert comparison.exit_code == 0


def test_cells_that_differ_in_layout_alone_find_their_own_on_another_machine() -> None:
    engines = [EngineSettings("cuda", "bf16", memory_format=layout) for layout in ("channels_last", "contiguous")]
    base = [make_record(make_trial(engine=engine)) for engine in engines]
    new = [make_record(make_trial(engine=engine), driver="1.0") for engine in reversed(engines)]
    comparison = compare(results_of(*base), results_of(*new))
    assert {row.note for row in comparison.rows if row.verdict == NOT} == {"driver: 580.65 -> 1.0"}


def test_a_cell_that_failed_finds_the_one_that_it_was() -> None:
    trials = [make_trial(budget=budget) for budget in ("1ep", "2ep")]
    base = [make_record(trial) for trial in trials]
    new = [{**base[1], "status": "crashed", "compiled": None, "compile_mode": None, "device_name": None}, base[0]]
    pairs, left_over = pair_cells(*(read_cells(results_of(*records).trials) for records in (base, new)))
    assert [pairs[index].failures for index in range(2)] == [{}, {0: "crashed"}]
    assert left_over == []


def test_a_failure_that_does_not_know_its_settings_is_not_hidden_by_the_same_seed_that_ran() -> None:
    eager, compiled = (
        make_record(make_trial(engine=EngineSettings("cuda", "bf16", compile=compile))) for compile in (False, True)
    )
    crashed = {**compiled, "status": "crashed", "compiled": None, "compile_mode": None, "device_name": None}
    assert compare(results_of(eager, compiled), results_of(eager, crashed)).exit_code == 1
    assert compare(results_of(eager, crashed), results_of(eager, crashed)).exit_code == 0


def test_a_cell_without_its_like_takes_what_is_likest_and_the_fields_are_named() -> None:
    base = [make_record(make_trial(recipe=recipe)) for recipe in ("a", "b")]
    new = [
        make_record(make_trial(recipe=recipe, budget="1ep", engine=EngineSettings("cuda", "fp32", compile=True)))
        for recipe in ("b", "a")
    ]
    notes = [row.note for row in compare(results_of(*base), results_of(*new)).rows]
    assert notes == ["budget: 26ep -> 1ep; precision: bf16 -> fp32"] * 2


def test_a_cell_that_is_on_one_side_only_is_named() -> None:
    base = results_of(make_record(make_trial("a")), make_record(make_trial("b")))
    new = results_of(make_record(make_trial("b")), make_record(make_trial("c")))
    comparison = compare(base, new)
    assert {row.model: row.note for row in comparison.rows if row.metric == "all"} == {
        "a": "not in NEW",
        "c": "not in BASE",
    }
    assert comparison.exit_code == 0


def test_empty_folders_have_nothing_to_compare() -> None:
    comparison = compare(results_of(), results_of())
    assert (comparison.rows, comparison.exit_code) == ([], 4)
    assert comparison.summary() == ["0 rows: nothing to compare."]


@pytest.mark.parametrize("changes", [{}, {"driver": "1.0"}, {"dataset_fingerprint": "f" * 64}, {"recipe": "other"}])
def test_pairing_looks_at_each_cell_a_fixed_number_of_times(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    cells = 300
    looks = 0

    def counted(cell: Any, columns: Any) -> Any:
        nonlocal looks
        looks += 1
        return tuple(cell.known[column] for column in columns)

    monkeypatch.setattr(matching, "_key", counted)
    monkeypatch.setattr(matching, "differing", lambda *cells: counted(cells[0], ()))
    base = [make_record(make_trial(f"m{index % 3}", budget=f"{index}ep")) for index in range(cells)]
    new = [{**record, **changes} for record in base]
    random.Random(0).shuffle(new)
    pairs, left_over = pair_cells(*(read_cells(results_of(*records).trials) for records in (base, new)))
    assert (len(pairs), left_over) == (cells, [])
    assert looks <= 2 * cells * len([*matching._ways()])


def test_a_record_of_each_seed_counts_once() -> None:
    base = results_of(*seeds("test_accuracy", 0.9, 0.91), *seeds("test_accuracy", 0.5, 0.6))
    assert compare(base, base).rows[0].base == pytest.approx(55.0)


@pytest.mark.parametrize("status", ["crashed", "oom", "diverged", "timeout", "interrupted", "not_run"])
def test_what_a_trial_measured_before_it_failed_is_compared_with_nothing(status: str) -> None:
    figures = {metric.source: 0.001 for metric in METRICS}
    ok = [make_record(make_trial(seed=seed)) for seed in (0, 1)]
    failed = make_record(make_trial(seed=2), status=status, verdict="suspect", **figures)
    without = results_of(*ok)
    assert compare(without, results_of(*ok, failed)).rows == compare(without, without).rows
    assert compare(results_of(*ok, failed), without).rows == compare(without, without).rows


def test_the_mean_of_seeds_that_ran_on_different_machines_is_compared_with_no_other() -> None:
    fast, slow = ({"host_cpu": name, "node": name} for name in ("fast", "slow"))
    records = [
        *seeds("train_images_per_second", 100.0, 100.0, **fast),
        make_record(make_trial("resnet34", 2), train_images_per_second=50.0, **slow),
    ]
    rows = {row.metric: row for row in compare(results_of(*records), results_of(*records)).rows}
    assert rows["train images/s"].verdict == NOT
    assert rows["train images/s"].notes == ("its seeds ran on different machines: host_cpu: fast/slow -> fast/slow",)
    assert rows["test accuracy (%)"].verdict == SAME


def test_seeds_on_different_nodes_of_one_kind_are_compared() -> None:
    records = [
        make_record(make_trial("resnet34", seed), train_images_per_second=100.0, node=f"node{seed}")
        for seed in range(3)
    ]
    rows = verdicts(compare(results_of(*records), results_of(*records)))
    assert rows["train images/s"] == SAME
