from __future__ import annotations

import re

import pytest
from few_records import accuracies, group_of, results_of

from resbench.report.details import run_table
from resbench.report.groups import groups_of
from resbench.report.notes import table_notes
from resbench.report.pareto import COSTS, front_of
from resbench.report.tables import comparison_table
from resbench.stats import SPEED
from resbench.stats.power import seeds_to_halve

RIVALS = [*accuracies("a", 0.90, 0.91, 0.92), *accuracies("b", 0.92, 0.90, 0.91)]


def notes_of(folder, *records) -> str:
    return "\n".join(table_notes(group_of(folder, *records)))


def test_one_seed_says_why_there_is_no_interval_and_no_tier(tmp_path):
    first, *others = table_notes(group_of(tmp_path, *accuracies("a", 0.9), *accuracies("b", 0.8)))
    assert len(others) == 1
    assert first == (
        "Every row is one run of one seed: it has no interval, no tier and no probability of a place on the Pareto "
        "front, and small gaps mean nothing."
    )


def test_several_seeds_say_what_the_columns_are(tmp_path):
    notes = notes_of(tmp_path, *RIVALS)
    assert "Mean ± standard deviation over n seeds" in notes
    assert "models that share a letter are not separated" in notes
    assert "run of one seed" not in notes


def test_the_smallest_gap_that_the_seeds_could_find_is_printed(tmp_path):
    group = group_of(tmp_path, *RIVALS, *accuracies("c", 0.95, 0.90, 0.85))
    notes = "\n".join(table_notes(group))
    told = r"3 seeds would find.* 80 %: (\S+) to (\S+) points.*, (\S+) to (\S+) points after .* 3 tests."
    found = re.search(told, notes)
    gaps = [100 * row["detectable_gap"] for row in group.rows]
    corrected = [100 * row["detectable_gap_holm"] for row in group.rows]
    expected = [min(gaps), max(gaps), min(corrected), max(corrected)]
    assert [float(value) for value in found.groups()] == pytest.approx(expected, abs=0.005)
    seeds = int(re.search(r"To halve the latter takes (\d+) seeds", notes)[1])
    assert seeds == seeds_to_halve(3, alpha=0.05 / 3)


def test_no_gap_is_told_of_that_accuracies_cannot_have(tmp_path):
    values = {"a": (0.90, 0.85), "b": (0.50, 0.44), "c": (0.20, 0.26)}
    group = group_of(tmp_path, *(trial for name, pair in values.items() for trial in accuracies(name, *pair)))
    assert min(row["detectable_gap_holm"] for row in group.rows) > 1 > min(row["detectable_gap"] for row in group.rows)
    (note,) = (note for note in table_notes(group) if note.startswith("Smallest gap"))
    assert note.endswith("can have after Holm's correction for 3 tests. More seeds are wanted here.")
    assert re.search(r"80 %: [\d.]+ to [\d.]+ points in one pair tested alone, none that", note)


def test_models_without_a_tier_are_named_with_their_reason(tmp_path):
    notes = notes_of(tmp_path, *RIVALS, *accuracies("c", 0.95), *accuracies("d", 0.95, None, 0.9))
    assert "No tier: c (one seed: no interval and no tier)." in notes
    assert "No tier: d (2 of 3 planned seeds ended ok)." in notes
    assert "A row without ± is one run of one seed" in notes
    assert "Trials that did not end ok enter no mean." in notes


def test_many_suspect_seeds_are_counted(tmp_path):
    doubt = {"verdict": "suspect", "verdict_reasons": ["odd"]}
    notes = notes_of(tmp_path, *accuracies("a", *[0.9] * 5, **doubt))
    assert "† a is suspect. seed 0: odd; seed 1: odd; seed 2: odd; and 2 seeds more, see trials.csv." in notes


def test_a_suspect_trial_without_a_reason_says_so(tmp_path):
    assert "seed 0: no reason recorded" in notes_of(tmp_path, *accuracies("a", 0.9, verdict="suspect"))


@pytest.mark.parametrize("column", SPEED)
def test_what_was_measured_otherwise_is_named_with_its_column_and_shown_with_no_other(tmp_path, column):
    changes = {"memory_format": "contiguous", "cuda_graph": True, "cached_features": True, "cpu_threads": 2}
    changes |= {"measuring_version": 1}
    records = [*accuracies("a", 0.9, 0.8, 0.7), *accuracies("b", 0.9, 0.8, 0.7)]
    records[2] |= {column: changes.get(column, "another"), "train_images_per_second": 1.0}
    groups = groups_of(results_of(tmp_path, *records))
    tables = [comparison_table(group) for group in groups]
    for table in tables:
        shown = {row[table.headers.index("train images/s")].text for row in table.rows}
        assert shown <= {"44,000 ± 0", "1.000"}
    words = "\n".join([*(table.title for table in tables), *(note for table in tables for note in table.notes)])
    if len(groups) == 1 and column != "cached_features":
        value = records[2][column]
        assert f"of a (seed 2) were measured otherwise than those beside them ({column} {value}, not" in words
    else:  # other tables, or other rows
        assert {"cached_features": "a (cached features True)"}.get(column, str(records[2][column])) in words or (
            column == "cuda_graph" and "no CUDA graph" in words
        )


def test_a_model_that_was_measured_elsewhere_is_shown_marked_and_is_never_the_best(tmp_path):
    elsewhere = accuracies("c", 0.9, 0.8, torch="2.12", train_images_per_second=9e9, latency_ms_p50=0.001)
    group = group_of(tmp_path, *accuracies("a", 0.9, 0.8), *accuracies("b", 0.9, 0.8), *elsewhere)
    table = comparison_table(group)
    column = table.headers.index("train images/s")
    cells = {row[0].text: row[column] for row in table.rows}
    assert (cells["c"].text, cells["c"].best) == ("9,000,000,000 ± 0 §", False)
    assert cells["a"].best
    assert cells["b"].best
    assert any(
        "of c were measured otherwise" in note and "torch 2.12, not 2.11.0+cu130" in note for note in table.notes
    )
    (front,) = (front_of(group, cost) for cost in COSTS if cost.name == "latency")
    assert [row["label"] for row in front.rows] == ["a", "b"]


def test_two_codes_of_one_network_are_two_rows(tmp_path):
    records = [*accuracies("a", 0.9, code="a.py 1"), *accuracies("a", 0.5, code="a.py 2")]
    records[1]["trial_id"] = "0" * 12
    table = comparison_table(group_of(tmp_path, *records))
    accuracy = table.headers.index("test accuracy (%)")
    assert {row[0].text: row[accuracy].text for row in table.rows} == {
        "a (code a.py 1)": "90.00",
        "a (code a.py 2)": "50.00",
    }


def test_rows_of_several_states_of_the_code_are_named(tmp_path):
    states = [{"git_sha": "1" * 40}, {"git_sha": "1" * 40, "git_dirty": True, "git_diff_hash": "abc"}, {}]
    records = [*accuracies("a", 0.9, 0.9, **states[0]), *accuracies("b", 0.9, 0.9, **states[1])]
    records += [*accuracies("c", 0.9, 0.9), *accuracies("d", 0.9, 0.9)]
    records[1] |= {"git_dirty": True, "git_diff_hash": "abc"}
    (note,) = run_table(results_of(tmp_path, *records)).notes
    assert note == (
        "The rows come from 3 states of the code of resbench 0.1.0. "
        "commit 111111111111, no uncommitted changes: a (seed 0); "
        "commit 111111111111, uncommitted changes abc: a (seed 1), b; "
        "commit 4f5e6d7c8b9a, no uncommitted changes: all others."
    )


def test_rows_of_one_state_of_the_code_need_no_note(tmp_path):
    assert run_table(results_of(tmp_path, *RIVALS)).notes == []
