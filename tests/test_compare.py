from __future__ import annotations

import io
import json

import pytest
from records import make_record, make_trial
from rich.console import Console

from resbench.compare import Thresholds, compare, parse_thresholds
from resbench.errors import InputError
from resbench.store import Results, Store, load_results

MIXED = [0.951, 0.952, 0.953]


def results_of(folder, *records) -> Results:
    store = Store(folder, create=True)
    for record in records:
        store.append("trial", record)
    return load_results(folder)


def seeds(column: str, *values: float, model: str = "resnet34", **changes) -> list[dict]:
    return [make_record(make_trial(model, i), **{column: v}, **changes) for i, v in enumerate(values)]


def verdicts(comparison) -> dict[str, str]:
    return {row.metric: row.verdict for row in comparison.rows}


# column, base, new, metric, verdict, note
GOLDEN = {
    "accuracy, one seed, within": ("test_accuracy", [0.900], [0.897], "test accuracy (%)", "same", "one seed"),
    "accuracy, one seed, beyond": ("test_accuracy", [0.900], [0.8969], "test accuracy (%)", "worse", "one seed"),
    "accuracy, one seed, better": ("test_accuracy", [0.900], [0.904], "test accuracy (%)", "better", "one seed"),
    "accuracy, seeds, significant": (
        "test_accuracy", MIXED, [v - 0.005 for v in MIXED], "test accuracy (%)", "worse", ""
    ),
    "accuracy, seeds, small but significant": (
        "test_accuracy", [0.95000, 0.95001, 0.95002], [0.94900, 0.94901, 0.94902], "test accuracy (%)", "same", ""
    ),
    "accuracy, seeds, large but noisy": (
        "test_accuracy", [0.90, 0.95, 0.93], [0.88, 0.94, 0.93], "test accuracy (%)", "same", "not significant"
    ),
    "accuracy, seeds against one": (
        "test_accuracy", MIXED, [0.90], "test accuracy (%)", "worse", "one seed: threshold only"
    ),
    "accuracy, no spread": ("test_accuracy", [0.9, 0.9], [0.8, 0.8], "test accuracy (%)", "worse", ""),
    "throughput, within": ("train_images_per_second", [1000.0], [950.0], "train images/s", "same", ""),
    "throughput, slower": ("train_images_per_second", [1000.0], [949.0], "train images/s", "worse", ""),
    "throughput, faster": ("train_images_per_second", [1000.0], [1051.0], "train images/s", "better", ""),
    "inference, slower": ("inference_images_per_second", [1000.0], [900.0], "inference images/s", "worse", ""),
    "latency, higher is worse": ("latency_ms_p50", [1.0], [1.06], "latency p50 (ms)", "worse", ""),
    "latency, lower is better": ("latency_ms_p50", [1.0], [0.94], "latency p50 (ms)", "better", ""),
    "step, higher is worse": ("step_ms_p50", [10.0], [11.0], "step p50 (ms)", "worse", ""),
    "memory, higher is worse": ("peak_memory_allocated_mib", [100.0], [106.0], "train memory (MiB)", "worse", ""),
    "not measured in new": ("latency_ms_p50", [1.0], [None], "latency p50 (ms)", "not comparable", "in NEW"),
    "not measured in base": ("latency_ms_p50", [None], [1.0], "latency p50 (ms)", "not comparable", "in BASE"),
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_golden(tmp_path, case):
    column, base, new, metric, verdict, note = GOLDEN[case]
    comparison = compare(
        results_of(tmp_path / "base", *seeds(column, *base)), results_of(tmp_path / "new", *seeds(column, *new))
    )
    (row,) = [row for row in comparison.rows if row.metric == metric]
    assert row.verdict == verdict
    assert note in row.note
    others = {row.verdict for row in comparison.rows if row.metric != metric}
    assert others == {"same"}
    assert comparison.exit_code == (1 if verdict == "worse" else 0)


SAME, NOT = "same", "not comparable"


@pytest.mark.parametrize(
    ("changes", "accuracy", "speed"),
    [
        ({"driver": "1.0"}, SAME, NOT),
        ({"device_name": "another"}, SAME, NOT),
        ({"torch": "2.12"}, SAME, NOT),
        ({"cuda": "12.8"}, SAME, NOT),
        ({"cudnn": "90000"}, SAME, NOT),
        ({"cpu_threads": 2}, SAME, NOT),
        ({"cuda_graph": True}, SAME, NOT),
        ({"memory_format": "contiguous"}, SAME, NOT),
        ({"git_sha": "another"}, SAME, SAME),
        ({"started_at": "2031-01-01"}, SAME, SAME),
    ],
)
def test_speed_needs_the_same_machine_and_software(tmp_path, changes, accuracy, speed):
    base = results_of(tmp_path / "base", make_record(make_trial()))
    new = results_of(tmp_path / "new", make_record(make_trial(), **changes))
    comparison = compare(base, new)
    found = verdicts(comparison)
    assert found["test accuracy (%)"] == accuracy
    assert {verdict for metric, verdict in found.items() if metric != "test accuracy (%)"} == {speed}
    if speed == NOT:
        assert all(next(iter(changes)) in row.note for row in comparison.rows if row.verdict == NOT)
    assert comparison.exit_code == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"compiled": False},
        {"tf32": True},
        {"precision": "fp32"},
        {"batch_size": 64},
        {"recipe": "other"},
        {"budget": "10min"},
        {"dataset_fingerprint": "f" * 64},
        {"stem": "source"},
        {"input": "3x64x64"},
        {"weights": "default"},
    ],
)
def test_nothing_is_comparable_where_the_learning_differs(tmp_path, changes):
    base = results_of(tmp_path / "base", make_record(make_trial()))
    new = results_of(tmp_path / "new", make_record(make_trial(), **changes))
    comparison = compare(base, new)
    (row,) = comparison.rows
    assert row.verdict == "not comparable"
    assert row.note.startswith(f"{next(iter(changes))}: ")
    assert comparison.exit_code == 4


def test_cells_of_one_model_find_their_own(tmp_path):
    records = [
        make_record(make_trial(budget=budget), test_accuracy=accuracy)
        for budget, accuracy in (("1ep", 0.5), ("2ep", 0.6), ("3ep", 0.7))
    ]
    comparison = compare(results_of(tmp_path / "a", *records), results_of(tmp_path / "b", *reversed(records)))
    assert {row.verdict for row in comparison.rows} == {"same"}
    assert comparison.exit_code == 0


def test_a_cell_that_is_on_one_side_only_is_named(tmp_path):
    base = results_of(tmp_path / "base", make_record(make_trial("a")), make_record(make_trial("b")))
    new = results_of(tmp_path / "new", make_record(make_trial("b")), make_record(make_trial("c")))
    comparison = compare(base, new)
    assert {row.model: row.note for row in comparison.rows if row.metric == "all"} == {
        "a": "not in NEW",
        "c": "not in BASE",
    }
    assert comparison.exit_code == 0


NEVER_KNOWN = dict.fromkeys(["device_name", "compiled", "tf32", "cuda_graph", "driver", "test_accuracy", "step_s"])


@pytest.mark.parametrize("status", ["oom", "diverged", "timeout", "crashed", "not_run"])
def test_what_newly_fails_is_a_regression(tmp_path, status):
    base = results_of(tmp_path / "base", make_record(make_trial()))
    new = results_of(tmp_path / "new", make_record(make_trial(), status=status, **NEVER_KNOWN))
    (row,) = (comparison := compare(base, new)).rows
    assert row.verdict == "new failure"
    assert status in row.note
    assert comparison.exit_code == 1


def test_other_seeds_that_all_fail_are_a_regression(tmp_path):
    base = results_of(tmp_path / "base", make_record(make_trial(seed=0)))
    new = results_of(tmp_path / "new", make_record(make_trial(seed=7), status="crashed", **NEVER_KNOWN))
    assert compare(base, new).exit_code == 1


def test_one_seed_that_newly_fails_is_a_regression_and_the_rest_is_compared(tmp_path):
    base = results_of(tmp_path / "base", *seeds("test_accuracy", *MIXED))
    records = seeds("test_accuracy", *MIXED)
    records[1] |= {"status": "diverged", **NEVER_KNOWN}
    comparison = compare(base, results_of(tmp_path / "new", *records))
    assert verdicts(comparison)["status"] == "new failure"
    assert verdicts(comparison)["test accuracy (%)"] == "same"
    assert comparison.exit_code == 1


def test_what_failed_before_is_no_new_failure(tmp_path):
    failed = make_record(make_trial(), status="oom", **NEVER_KNOWN)
    comparison = compare(results_of(tmp_path / "a", failed), results_of(tmp_path / "b", failed))
    assert [row.verdict for row in comparison.rows] == ["not comparable"]
    assert comparison.exit_code == 4
    comparison = compare(results_of(tmp_path / "c", failed), results_of(tmp_path / "d", make_record(make_trial())))
    assert "no ok trial in BASE: oom" in comparison.rows[0].note


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Thresholds()),
        ("accuracy=0.5", Thresholds(accuracy=0.5)),
        ("accuracy=0.5%", Thresholds(accuracy=0.5)),
        ("throughput=7%", Thresholds(throughput=0.07)),
        ("throughput=0.07", Thresholds(throughput=0.07)),
        (" latency = 10% , memory=0 ,", Thresholds(latency=0.1, memory=0.0)),
    ],
)
def test_thresholds(text, expected):
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
    ],
)
def test_bad_thresholds(text, message):
    with pytest.raises(InputError, match=message):
        parse_thresholds(text)


def test_a_threshold_decides(tmp_path):
    base = results_of(tmp_path / "base", *seeds("test_accuracy", 0.90))
    new = results_of(tmp_path / "new", *seeds("test_accuracy", 0.88))
    assert compare(base, new, Thresholds(accuracy=3.0)).exit_code == 0
    assert compare(base, new, Thresholds(accuracy=1.0)).exit_code == 1


def test_rendering(tmp_path):
    base = results_of(tmp_path / "base", *seeds("test_accuracy", 0.90, model="[b]a|b[/b]"))
    new = results_of(tmp_path / "new", *seeds("test_accuracy", 0.88, model="[b]a|b[/b]"))
    comparison = compare(base, new)
    dicts = json.loads(json.dumps(comparison.to_dicts(), allow_nan=False))
    assert dicts[0]["change"] == pytest.approx(-2.0)
    assert r"\[b\]a\|b\[/b\]" in comparison.to_markdown()
    assert "**worse**" in comparison.to_markdown()
    assert "-2.00 points" in comparison.to_markdown()
    console = Console(file=io.StringIO(), width=220)
    console.print(comparison.to_rich())
    assert "[b]a|b[/b]" in console.file.getvalue()
    assert "worse" in console.file.getvalue()
