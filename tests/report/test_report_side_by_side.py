"""Several folders side by side: what is compared, with which numbers, and what is shown and not compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from profile_records import profile_record, write_profiles
from records import make_record, make_trial
from scipy import stats
from side_folders import side_by_side, write

from resbench.compare import LEARNING, SPEED
from resbench.errors import InputError, NothingMeasuredError
from resbench.report.side_by_side import read_side_by_side, sentences, side_by_side_tables
from resbench.report.side_by_side.accuracy import accuracy_table
from resbench.report.side_by_side.folders import short_names
from resbench.report.side_by_side.speed import speed_table
from resbench.report.side_by_side.tables import beside_table, folder_table
from resbench.schema import EngineSettings
from resbench.store import Store

A, B = (0.90, 0.91, 0.92), (0.95, 0.96, 0.985)
OTHER_GPU = {"device_name": "another GPU", "train_images_per_second": 22_000.0, "peak_memory_allocated_mib": 3000.0}


def rows_of(table) -> dict[str, dict[str, str]]:
    """A table's cells by its first column and header."""
    return {row[0].text: dict(zip(table.headers, (cell.text for cell in row), strict=True)) for row in table.rows}


def quantities(table) -> dict[tuple[str, str], list[str]]:
    return {(row[0].text, row[1].text): [cell.text for cell in row[2:]] for row in table.rows}


def test_accuracies_of_two_machines_are_compared_by_the_test_of_every_page(tmp_path: Path) -> None:
    found = side_by_side(write(tmp_path / "a", {"net": A, "same": A}), write(tmp_path / "b", {"net": B, "same": A}))
    table = accuracy_table(found, found.alike[0], "")
    p = stats.ttest_ind(A, B, equal_var=False).pvalue
    interval = stats.ttest_ind([100 * x for x in B], [100 * x for x in A], equal_var=False).confidence_interval(0.95)
    row = rows_of(table)["net"]
    assert row["a (%)"] == "91.00 ± 1.00 (n=3)"
    assert row["b minus a (points)"] == f"+5.50 ± {(interval.high - interval.low) / 2:.2f}"
    assert row["b separated"] == f"yes, p {2 * p:.3f}"  # Holm: the smaller of two
    assert rows_of(table)["same"]["b separated"] == "no, p 1.000"
    assert [cell.best for cell in table.rows[0]] == [False, False, False, True, True]
    assert any("Holm's correction for 2 tests" in note for note in table.notes)


def test_what_holms_correction_does_not_bear_is_not_separated_and_a_loss_keeps_its_sign(tmp_path: Path) -> None:
    lower = (0.885, 0.88, 0.89)
    found = side_by_side(write(tmp_path / "a", {"net": A, "same": A}), write(tmp_path / "b", {"net": lower, "same": A}))
    p = stats.ttest_ind(A, lower, equal_var=False).pvalue
    assert p < 0.05 < 2 * p
    row = rows_of(accuracy_table(found, found.alike[0], ""))["net"]
    assert row["b separated"] == f"no, p {2 * p:.3f}"
    assert row["b minus a (points)"].startswith("-2.50 ± ")


def test_a_ratio_of_one_machine_is_plain_and_one_across_machines_is_marked_with_what_differs(tmp_path: Path) -> None:
    base = write(tmp_path / "a", {"net": A})
    same = side_by_side(base, write(tmp_path / "b", {"net": A}, train_images_per_second=88_000.0))
    plain = speed_table(same, same.alike[0], "")
    assert quantities(plain)["train images/s", "net"] == ["44,000 ± 0", "88,000 ± 0", "2.00"]
    assert not any("§" in note for note in plain.notes)
    unlike = side_by_side(base, write(tmp_path / "c", {"net": A}, **OTHER_GPU))
    marked = speed_table(unlike, unlike.alike[0], "", ["throughput", "memory"])
    assert quantities(marked) == {
        ("train images/s", "net"): ["44,000 ± 0", "22,000 ± 0", "0.500 §"],
        ("train memory (MiB)", "net"): ["1,500 ± 0", "3,000 ± 0", "2.00 §"],
    }
    (note,) = (note for note in marked.notes if "§" in note)
    assert "not the networks' difference" in note
    assert "device_name: NVIDIA H200 -> another GPU" in note


def test_a_ratio_of_means_over_seeds_of_two_machines_is_marked_though_both_folders_have_both(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, {"net": (0.9,)}) for name in ("a", "b")]
    for folder in folders:
        Store(folder).append("trial", make_record(make_trial("net", 1), test_accuracy=0.9, host_cpu="another"))
    found = side_by_side(*folders)
    table = speed_table(found, found.alike[0], "", ["throughput"])
    assert quantities(table)["train images/s", "net"][-1] == "1.00 §"
    assert any("host_cpu: another/some CPU -> another/some CPU" in note for note in table.notes)


@pytest.mark.parametrize("column", sorted({"recipe", "budget", "stem", "batch_size", "dataset"}))
def test_what_was_not_trained_alike_is_never_compared_and_both_are_shown(tmp_path: Path, column: str) -> None:
    assert column in LEARNING
    other = {"recipe": "d2l", "budget": "10min", "stem": "source", "batch_size": 64, "dataset": "cifar10"}[column]
    found = side_by_side(write(tmp_path / "a", {"net": A}), write(tmp_path / "b", {"net": B}, trial={column: other}))
    assert found.alike == []
    rows = [{h: c.text for h, c in zip(t.headers, r, strict=True)} for t in [beside_table(found)] for r in t.rows]
    assert [(row["folder"], row["test accuracy (%)"]) for row in rows] == [
        ("a", "91.00 ± 1.00 (n=3)"),
        ("b", "96.50 ± 1.80 (n=3)"),
    ]
    assert rows[0]["what differs"] == "-"
    assert rows[1]["what differs"].startswith(f"{column}: ")
    assert rows[1]["what differs"].endswith(f" -> {other} (against a)")
    assert [about for about, _ in side_by_side_tables(found)] == ["Side by side, not compared"]
    assert "no two accuracies here may be compared" in sentences(found)[0]


def test_what_differs_in_the_engine_alone_keeps_accuracies_comparable(tmp_path: Path) -> None:
    assert "memory_format" in SPEED
    engine = EngineSettings(device="cuda", precision="bf16", compile=True, memory_format="contiguous")
    base = write(tmp_path / "a", {"net": A})
    found = side_by_side(base, write(tmp_path / "b", {"net": B}, trial={"engine": engine}))
    assert accuracy_table(found, found.alike[0], "") is not None
    assert quantities(speed_table(found, found.alike[0], ""))["latency p50 (ms)", "net"][-1] == "1.00 §"


def test_of_three_folders_those_that_were_trained_alike_are_compared_and_the_third_is_shown(tmp_path: Path) -> None:
    first, recipe = write(tmp_path / "a", {"net": A}), write(tmp_path / "b", {"net": B}, trial={"recipe": "d2l"})
    third = write(tmp_path / "c", {"net": B})
    found = side_by_side(first, recipe, third)
    (one,) = found.alike
    assert accuracy_table(found, one, "").headers[1:3] == ["a (%)", "c (%)"]
    assert [(lone.folder, bool(lone.why)) for lone in found.lone] == [(0, False), (1, True)]
    # The two that share the other recipe are compared with each other, whatever the first folder holds.
    found = side_by_side(first, recipe, write(tmp_path / "d", {"net": A}, trial={"recipe": "d2l"}))
    assert accuracy_table(found, found.alike[0], "").headers[1:4] == ["b (%)", "d (%)", "d minus b (points)"]


def test_budgets_have_tables_of_their_own(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, {"net": A}) for name in "ab"]
    for folder in folders:
        write(folder, {"net": B}, trial={"budget": "1ep"})
    found = side_by_side(*folders)
    assert (found.titles, found.lone) == (["budget 26ep", "budget 1ep"], [])


def test_a_model_that_one_folder_lacks_has_a_row_and_no_difference(tmp_path: Path) -> None:
    found = side_by_side(write(tmp_path / "a", {"net": A, "more": A}), write(tmp_path / "b", {"net": A}))
    row = rows_of(accuracy_table(found, found.alike[0], ""))["more"]
    assert (row["b (%)"], row["b minus a (points)"], row["b separated"]) == ("-", "-", "-")
    assert found.lone == []
    alone = side_by_side(write(tmp_path / "c", {"x": A}), write(tmp_path / "d", {"y": A}))
    told = [row[-1].text for row in beside_table(alone).rows]
    assert [text.split(":")[0] for text in told] == ["only in c", "only in d"]


def test_one_seed_a_side_has_a_difference_and_no_claim(tmp_path: Path) -> None:
    found = side_by_side(write(tmp_path / "a", {"net": (0.5,)}), write(tmp_path / "b", {"net": (0.91,)}))
    table = accuracy_table(found, found.alike[0], "")
    row = rows_of(table)["net"]
    assert (row["b minus a (points)"], row["b separated"]) == ("+41.00", "no, one seed")
    assert any("neither interval nor p" in note for note in table.notes)
    assert not any("Welch" in note for note in table.notes)
    assert "the seeds separate none" in sentences(found)[1]


def test_failed_suspect_and_missing_seeds_are_named(tmp_path: Path) -> None:
    suspect = {"verdict": "suspect", "verdict_reasons": ["too hot"]}
    first = write(tmp_path / "a", {"net": A}, **suspect)
    found = side_by_side(first, write(tmp_path / "b", {"net": (0.9, 0.91, None)}))
    table = accuracy_table(found, found.alike[0], "")
    assert rows_of(table)["net"]["a (%)"].endswith("†")
    notes = " ".join(table.notes)
    assert "net in a is suspect: too hot" in notes
    assert "net in b: 1 (oom)" in notes
    assert "different seeds: 0, 1, 2 -> 0, 1" in notes


def test_the_noise_floor_stands_below_the_speed(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, {"net": A}) for name in "ab"]
    Store(folders[1]).append("noise_floor", {"model": "net", "relative": {"train_images_per_second": 0.031}})
    found = side_by_side(*folders)
    assert any("train images/s 3.1 %" in note for note in speed_table(found, found.alike[0], "").notes)


def test_the_folders_are_described_and_what_differs_is_marked(tmp_path: Path) -> None:
    found = side_by_side(write(tmp_path / "a", {"net": A}), write(tmp_path / "b", {"net": A}, **OTHER_GPU))
    table = folder_table(found.folders)
    assert rows_of(table)["device"] == {"what": "device", "a": "NVIDIA H200", "b": "another GPU"}
    assert {row[0].text for row in table.rows if row[1].best} == {"device"}


def test_the_sentences_say_what_the_tables_do(tmp_path: Path) -> None:
    tight = {"x": (0.900, 0.901, 0.902), "y": (0.5, 0.51, 0.52)}
    moved = {"x": (0.950, 0.951, 0.952), "y": (0.5, 0.51, 0.52)}
    found = side_by_side(write(tmp_path / "a", tight), write(tmp_path / "b", moved, **OTHER_GPU))
    opening, said = sentences(found)
    assert "2 models" in opening
    assert "separate in accuracy x (+5.00 points)" in said
    assert "b trains 0.500 times and infers 1.00 times as many images a second as a: the machines" in said


def test_folders_are_called_by_what_tells_them_apart() -> None:
    assert short_names([Path("/r/h200"), Path("/r/a100")]) == ["h200", "a100"]
    assert short_names([Path("/1/r"), Path("/2/r"), Path("/2/q")]) == ["1/r", "2/r", "2/q"]
    assert len({*short_names([Path("/r"), Path("/x/r")])}) == 2


def test_what_cannot_stand_side_by_side_is_refused_with_advice(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a", {"net": A}), write(tmp_path / "b", {"net": A})
    collection = tmp_path / "all"
    write(collection / "suite", {"net": A})
    (collection / "collection.json").write_text("{}")
    profiles = write_profiles(tmp_path / "profiles", profile_record("net", 64))
    for folders, options, said in (
        ([one, tmp_path / "a" / ".." / "a"], {}, "given twice"),
        ([one, tmp_path / "nowhere"], {}, "nowhere"),
        ([one, collection], {}, r"collection .*all/suite"),
        ([one, profiles], {}, "no trials"),
        ([one, other], {"called": ["x"]}, "1 name given for 2"),
        ([one, other], {"called": ["x", "x"]}, "not all different"),
        ([one, other], {"called": ["x", ""]}, "one for each"),
        ([one], {}, "two results folders"),
    ):
        with pytest.raises(InputError, match=said):
            read_side_by_side(folders, **options)
    failed = [write(tmp_path / name, {"net": (None,)}) for name in ("f", "g")]
    with pytest.raises(NothingMeasuredError):
        read_side_by_side(failed)
