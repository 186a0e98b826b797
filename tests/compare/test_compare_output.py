"""Thresholds that are read, comparisons that are shown, and folders that are named."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from folders import results_of, seeds
from records import make_record, make_trial, write_folder
from rich.console import Console

from resbench.compare import Thresholds, compare, compare_with, parse_thresholds
from resbench.errors import InputError
from resbench.report.beside_published import PublishedComparison
from resbench.report.comparison import Comparison
from resbench.report.groups import MOST_SHOWN
from resbench.store import Store


def shown(comparison: Comparison) -> str:
    console = Console(file=io.StringIO(), width=250)
    console.print(comparison.to_rich())
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Thresholds()),
        ("accuracy=0.5", Thresholds(accuracy=0.5)),
        ("accuracy=0.5%", Thresholds(accuracy=0.5)),
        ("throughput=7%", Thresholds(throughput=0.07)),
        ("throughput=0.07", Thresholds(throughput=0.07)),
        ("accuracy=1,memory=100%", Thresholds(accuracy=1.0, memory=1.0)),
        (" latency = 10% , memory=0 ,", Thresholds(latency=0.1, memory=0.0)),
    ],
)
def test_thresholds(text: str, expected: Thresholds) -> None:
    assert parse_thresholds(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acuracy=1", "Did you mean accuracy"),
        ("accuracy", "'accuracy' is not a threshold"),
        ("accuracy=much", "not a threshold"),
        ("throughput=-1%", "not a threshold"),
        ("throughput=nan", "not a threshold"),
        ("accuracy=1,accuracy=2", "twice"),
        ("throughput=5", r"everything up to 500 % pass. Give throughput=5% for 5 %, or throughput=500%"),
    ],
)
def test_bad_thresholds(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_thresholds(text)


def test_rendering() -> None:
    base, new = (results_of(*seeds("test_accuracy", value, model="[b]a|b[/b]")) for value in (0.90, 0.88))
    comparison = compare(base, new)
    assert r"\[b\]a\|b\[/b\]" in comparison.to_markdown()
    assert "**worse**" in comparison.to_markdown()
    assert "-2.00 points" in comparison.to_markdown()
    assert "1 test of accuracy at p &lt; 0.05" in comparison.to_markdown()
    text = shown(comparison)
    assert "[b]a|b[/b]" in text
    assert "worse" in text
    assert "test accuracy (%): one seed: p from a run-to-run deviation" in text
    assert "7 rows: 1 worse, 6 same." in text
    assert "Neither folder holds a noise floor" in text


def test_json_holds_what_a_verdict_rests_on() -> None:
    floors = ({"train_images_per_second": 0.08, "latency_ms_p50": None},)
    base = results_of(*seeds("train_images_per_second", 1000.0, 1001.0), floors=floors)
    new = results_of(*seeds("train_images_per_second", 900.0, 901.0))
    data = json.loads(json.dumps(compare(base, new).to_json(), allow_nan=False))
    assert data["exit_code"] == 1
    assert data["verdicts"] == {"worse": 1, "new failure": 0, "better": 0, "same": 6} | dict.fromkeys(
        ["not decided", "not comparable"], 0
    )
    assert (data["tests"], data["significance"]) == (7, 0.05)
    assert data["thresholds"] == {"accuracy": 0.3, "throughput": 0.05, "latency": 0.05, "memory": 0.05}
    assert data["noise_floors"] == {"train_images_per_second": 0.08}
    row = next(row for row in data["rows"] if row["metric"] == "train images/s")
    assert (row["verdict"], row["test"], row["limit"], row["limit_from"]) == ("worse", "Student", 0.08, "noise floor")
    assert row["change"] == pytest.approx(-0.1, abs=1e-3)
    assert row["p"] < 0.05
    assert row["notes"] == ["the noise floor of 8.0 % decides, above the threshold"]
    assert "not decided" not in {row["verdict"] for row in data["rows"]}
    accuracy = data["rows"][0]
    assert (accuracy["limit"], accuracy["limit_from"]) == (0.3, "threshold")
    others = [row for row in data["rows"] if row["metric"] not in (accuracy["metric"], "train images/s")]
    assert [(row["limit"], row["limit_from"]) for row in others] == [(0.05, "threshold")] * 5
    text = shown(compare(base, new))
    assert (
        "Noise floor, the largest difference of the same trial, measured again: train_images_per_second 8.0 %." in text
    )


def test_an_infinite_change_is_no_number_in_json() -> None:
    base, new = (results_of(*seeds("inference_memory_mib", value)) for value in (0.0, 1.0))
    row = next(row for row in compare(base, new).rows if row.metric == "inference memory (MiB)")
    assert (row.verdict, row.change) == ("not decided", None)


def test_of_many_cells_those_in_which_all_is_the_same_are_counted() -> None:
    few = results_of(*(make_record(make_trial(f"m{index}")) for index in range(MOST_SHOWN)))
    assert f"m{MOST_SHOWN - 1}  " in shown(compare(few, few))
    records = [make_record(make_trial(f"m{index}")) for index in range(MOST_SHOWN + 1)]
    slower = [{**records[0], "train_images_per_second": 1.0}, *records[1:]]
    text = shown(compare(results_of(*records), results_of(*slower)))
    assert "m0  shapes10" in text
    assert "m1  shapes10" not in text
    assert f"Not shown: {MOST_SHOWN} cells in which everything is the same." in text


# By folder --------------------------------------------------------------------------------------------------------


def test_two_folders_or_one_against_published_figures(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", epochs=1)
    assert compare_with(folder, folder).exit_code == 0
    held = compare_with(folder, None, against="published")
    assert isinstance(held, PublishedComparison)
    assert held.exit_code == 4  # shapes10
    for arguments, message in (
        ((folder, None, None), "Only one results folder was given"),
        ((folder, folder, "published"), "Both a second results folder and --against were given"),
        ((folder, None, "publishd"), "Did you mean published"),
    ):
        with pytest.raises(InputError, match=message):
            compare_with(*arguments[:2], against=arguments[2])
    with pytest.raises(InputError, match="a threshold is for two results folders"):
        compare_with(folder, None, against="published", thresholds=Thresholds(accuracy=1))


def test_noise_floors_are_read_from_the_records(tmp_path: Path) -> None:
    base, new = (write_folder(tmp_path / name, epochs=1) for name in ("base", "new"))
    relative = {"train_images_per_second": 0.25}
    Store(base).append("noise_floor", {"trial_id": "x", "model": "resnet34", "relative": relative})
    comparison = compare_with(base, new)
    assert isinstance(comparison, Comparison)
    assert comparison.noise_floors == relative
    assert {row.limit for row in comparison.rows if row.metric == "train images/s"} == {0.25}
