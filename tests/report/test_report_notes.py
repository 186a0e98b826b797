from __future__ import annotations

import re

import pytest
from few_records import accuracies, group_of

from resbench.report.notes import table_notes
from resbench.stats.power import detectable_gap

RIVALS = [*accuracies("a", 0.90, 0.91, 0.92), *accuracies("b", 0.92, 0.90, 0.91)]


def notes_of(folder, *records) -> str:
    return "\n".join(table_notes(group_of(folder, *records)))


def test_one_seed_says_why_there_is_no_interval_and_no_tier(tmp_path):
    notes = notes_of(tmp_path, *accuracies("a", 0.9), *accuracies("b", 0.8))
    assert notes == (
        "Every row is one run of one seed: it has no interval, no tier and no probability of a place on the Pareto "
        "front, and small gaps mean nothing."
    )


def test_several_seeds_say_what_the_columns_are(tmp_path):
    notes = notes_of(tmp_path, *RIVALS)
    assert "mean ± standard deviation over n seeds" in notes
    assert "models that share a letter are not separated" in notes
    assert "one seed" not in notes


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
    halved, fewer = (detectable_gap(1.0, n, alpha=0.05 / 3) for n in (seeds, seeds - 1))
    assert halved <= detectable_gap(1.0, 3, alpha=0.05 / 3) / 2 < fewer


def test_no_gap_is_told_of_that_accuracies_cannot_have(tmp_path):
    values = {"a": (0.90, 0.80), "b": (0.50, 0.30), "c": (0.20, 0.34)}
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


def test_trials_of_different_machines_in_one_table_are_told_apart(tmp_path):
    alike = notes_of(tmp_path / "alike", *accuracies("a", 0.9, 0.8), *accuracies("b", 0.9, 0.8))
    mixed = [*accuracies("a", 0.9, host_cpu="fast"), *accuracies("b", 0.9, 0.8, host_cpu="slow")]
    notes = notes_of(tmp_path / "mixed", *mixed)
    assert "did not run on one machine" not in alike
    assert "did not run on one machine: processor fast or slow. Times and memory of different ones are not" in notes
    assert "is over several of them" not in notes


def test_a_mean_over_seeds_of_different_machines_is_named(tmp_path):
    records = accuracies("a", 0.9, 0.8, 0.7)
    records[2]["host_cpu"] = "another"
    notes = notes_of(tmp_path, *records, *accuracies("b", 0.9, 0.8))
    assert "A mean of a is over several of them and no machine's figure." in notes
