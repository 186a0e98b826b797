"""A row a case: what two folders hold, and what is said of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from folders import results_of, seeds
from records import make_record, make_trial
from scipy.stats import norm, ttest_ind

from benchmarks.docs.pages import committed_folders
from resbench import published
from resbench.compare import METRICS, Thresholds, compare
from resbench.compare.judging import SHORT_TRAINING_SD, judge, significance
from resbench.compare.metrics import Limit

ACCURACY, TRAIN, LATENCY = "test_accuracy", "train_images_per_second", "latency_ms_p50"
MIXED = [0.951, 0.952, 0.953]
ONE = [0.9]
NAMES = {metric.source: metric.name for metric in METRICS}


class Case(NamedTuple):
    column: str
    base: list[float | None]
    new: list[float | None]
    verdict: str
    note: str = ""
    floors: tuple[float | None, float | None] = (None, None)
    """Of BASE and of NEW, for the column."""
    changes: dict[str, Any] | None = None
    """What NEW's records say besides."""


GOLDEN = {
    # Accuracy, one seed a side: 1.96 x sqrt(2) x 0.19 = 0.527 points and the threshold of 0.3 must both be exceeded.
    "accuracy, one seed, the same": Case(ACCURACY, ONE, ONE, "same", "deviation of 0.19 points"),
    "accuracy, one seed, above the threshold by chance": Case(ACCURACY, ONE, [0.8950], "same", "not significant"),
    "accuracy, one seed, worse": Case(ACCURACY, ONE, [0.8947], "worse", "deviation of 0.19 points"),
    "accuracy, one seed, better": Case(ACCURACY, ONE, [0.9053], "better", "largest published of CIFAR-10"),
    # Several seeds.
    "accuracy, seeds, significant": Case(ACCURACY, MIXED, [v - 0.005 for v in MIXED], "worse"),
    "accuracy, seeds, gained": Case(ACCURACY, MIXED, [v + 0.005 for v in MIXED], "better"),
    "accuracy, seeds, small but significant": Case(
        ACCURACY, [0.95000, 0.95001, 0.95002], [0.94900, 0.94901, 0.94902], "same"
    ),
    "accuracy, seeds, large but noisy": Case(
        ACCURACY, [0.90, 0.95, 0.93], [0.88, 0.94, 0.93], "same", "above the threshold, not significant"
    ),
    "accuracy, seeds, pairs would be significant": Case(
        ACCURACY, [0.90, 0.92, 0.94], [0.896, 0.9161, 0.9359], "same", "not significant"
    ),
    "accuracy, no spread": Case(ACCURACY, [0.9, 0.9], [0.8, 0.8], "worse"),
    "accuracy, seeds against one, worse": Case(ACCURACY, MIXED, [0.940], "worse", "different seeds: 0, 1, 2 -> 0"),
    "accuracy, seeds against one, chance": Case(ACCURACY, MIXED, [0.9485], "same", "not significant"),
    "accuracy, one against seeds, better": Case(ACCURACY, [0.940], MIXED, "better", "different seeds: 0 -> 0, 1, 2"),
    "accuracy, its noise is the seeds', not a floor": Case(
        ACCURACY, MIXED, [v - 0.005 for v in MIXED], "worse", floors=(0.5, 0.5)
    ),
    # Speed and memory, one seed a side, no noise floor.
    "throughput, within": Case(TRAIN, [1000.0], [950.0], "same", "no noise floor was measured, threshold only"),
    "throughput, slower": Case(TRAIN, [1000.0], [949.0], "worse", "no noise floor was measured, threshold only"),
    "throughput, faster": Case(TRAIN, [1000.0], [1051.0], "better"),
    "inference, slower": Case("inference_images_per_second", [1000.0], [900.0], "worse"),
    "latency, higher is worse": Case(LATENCY, [1.0], [1.06], "worse"),
    "latency, lower is better": Case(LATENCY, [1.0], [0.94], "better"),
    "step, higher is worse": Case("step_ms_p50", [10.0], [11.0], "worse"),
    "memory, higher is worse": Case("peak_memory_allocated_mib", [100.0], [106.0], "worse"),
    "inference memory, lower is better": Case("inference_memory_mib", [100.0], [94.0], "better"),
    "from nothing": Case("inference_memory_mib", [0.0], [1.0], "worse"),
    # The noise floor.
    "below a floor that is above the threshold": Case(
        TRAIN, [1000.0], [930.0], "same", "the noise floor of 8.0 % decides, above the threshold", (0.08, None)
    ),
    "beyond a floor that is above the threshold": Case(
        TRAIN, [1000.0], [910.0], "worse", "no p, noise floor only", (0.08, None)
    ),
    "the larger of two floors": Case(TRAIN, [1000.0], [910.0], "same", "noise floor of 10.0 %", (0.02, 0.1)),
    "a floor below the threshold": Case(
        TRAIN, [1000.0], [949.0], "worse", "one seed: no p, threshold only", (0.02, 0.01)
    ),
    "seeds beyond the threshold and not the floor": Case(
        LATENCY, [1.0, 1.001], [1.06, 1.061], "same", "noise floor of 7.0 %", (0.07, None)
    ),
    "seeds, slower": Case(LATENCY, [1.0, 1.001], [1.06, 1.061], "worse"),
    "seeds, slower by chance": Case(LATENCY, [1.0, 1.1], [1.05, 1.2], "same", "not significant"),
    # Doubts.
    "suspect, worse all the same": Case(
        TRAIN, [1000.0], [900.0], "worse", "suspect in NEW (1 of 1 trial): 2 threads were busy",
        changes={"verdict": "suspect", "verdict_reasons": ["2 threads were busy"]},
    ),
    # Not measured.
    "not measured in new": Case(LATENCY, [1.0], [None], "not comparable", "not measured in NEW"),
    "not measured in base": Case(LATENCY, [None], [1.0], "not comparable", "not measured in BASE"),
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_golden(case: str) -> None:
    column, base, new, verdict, note, (left, right), changes = GOLDEN[case]
    comparison = compare(
        results_of(*seeds(column, *base), floors=({column: left},)),
        results_of(*seeds(column, *new, **(changes or {})), floors=({column: right},)),
    )
    (row,) = [row for row in comparison.rows if row.metric == NAMES[column]]
    assert row.verdict == verdict
    assert note in row.note
    assert {row.verdict for row in comparison.rows if row.metric != NAMES[column]} == {"same"}
    assert comparison.exit_code == (1 if verdict == "worse" else 0)


@pytest.mark.parametrize(
    ("epochs", "new", "verdict", "note"),
    [
        (26.0, 0.60, "worse", "0.19 points, the largest published of CIFAR-10"),
        (16.0, 0.60, "worse", "0.19 points"),
        (15.9, 0.60, "same", f"{SHORT_TRAINING_SD:g} points, the largest of three seeds or more that was measured"),
        (0.26, 0.10, "worse", f"{SHORT_TRAINING_SD:g} points"),
        (None, 0.60, "same", f"{SHORT_TRAINING_SD:g} points"),
    ],
)
def test_one_seed_of_a_short_training_says_less(epochs: float | None, new: float, verdict: str, note: str) -> None:
    base, again = (results_of(*seeds(ACCURACY, value, epochs=epochs)) for value in (0.65, new))
    row = compare(base, again).rows[0]
    assert (row.metric, row.verdict, row.test) == ("test accuracy (%)", verdict, "assumed deviation")
    assert note in row.note


def test_p_is_that_of_the_textbook() -> None:
    metric = METRICS[0]
    base, new = [95.1, 95.3, 95.2, 95.6], [94.9, 95.0, 94.7]
    assert significance(metric, base, new) == (pytest.approx(ttest_ind(base, new, equal_var=False).pvalue), "Welch")
    assert significance(metric, base, [94.7]) == (pytest.approx(ttest_ind(base, [94.7]).pvalue), "Student")
    z = 0.5 / (math.sqrt(2) * published.run_to_run_sd())
    assert significance(metric, [95.0], [95.5], 26.0) == (pytest.approx(2 * norm.sf(z)), "assumed deviation")
    z = 0.5 / (math.sqrt(2) * SHORT_TRAINING_SD)
    assert significance(metric, [95.0], [95.5], 3.0)[0] == pytest.approx(2 * norm.sf(z))
    assert significance(METRICS[1], [95.0], [95.5]) == (None, None)
    assert significance(metric, [90.0, 90.0], [90.0, 90.0]) == (1.0, "Welch")
    assert significance(metric, [90.0, 90.0], [80.0]) == (0.0, "Student")


@pytest.mark.parametrize("sd", [0.15, 0.19])
def test_an_unchanged_cell_of_three_seeds_is_called_worse_in_less_than_one_of_a_hundred_comparisons(sd: float) -> None:
    draws = np.random.default_rng(0).normal(95.0, sd, (4000, 2, 3))
    verdicts = [judge(METRICS[0], base, new, Limit(0.3)).verdict for base, new in draws.tolist()]
    assert 0 < verdicts.count("worse") / len(verdicts) < 0.01


# Failures ---------------------------------------------------------------------------------------------------------

NEVER_KNOWN = dict.fromkeys(["device_name", "compiled", "tf32", "cuda_graph", "driver", "test_accuracy", "step_s"])


@pytest.mark.parametrize("status", ["oom", "diverged", "timeout", "crashed", "interrupted", "not_run"])
def test_what_newly_fails_is_a_regression(status: str) -> None:
    base = results_of(make_record(make_trial()))
    new = results_of(make_record(make_trial(), status=status, **NEVER_KNOWN))
    (row,) = (comparison := compare(base, new)).rows
    assert row.verdict == "new failure"
    assert status in row.note
    assert comparison.exit_code == 1


def test_other_seeds_that_all_fail_are_a_regression() -> None:
    base = results_of(make_record(make_trial(seed=0)))
    new = results_of(make_record(make_trial(seed=7), status="crashed", **NEVER_KNOWN))
    assert compare(base, new).exit_code == 1


def test_one_seed_that_newly_fails_is_a_regression_and_the_rest_is_compared() -> None:
    base = results_of(*(make_record(make_trial(seed=seed)) for seed in range(3)))
    new = results_of(
        make_record(make_trial(seed=0)),
        make_record(make_trial(seed=1), status="oom", **NEVER_KNOWN),
        make_record(make_trial(seed=2)),
    )
    comparison = compare(base, new)
    verdicts = {row.metric: row for row in comparison.rows}
    assert verdicts["status"].verdict == "new failure"
    assert verdicts["status"].note == "seed 1 oom; ok in BASE"
    assert verdicts["test accuracy (%)"].verdict == "same"
    assert "means over different seeds: 0, 1, 2 -> 0, 2" in verdicts["test accuracy (%)"].notes
    assert comparison.exit_code == 1


def test_what_failed_before_is_no_new_failure() -> None:
    failed = make_record(make_trial(), status="oom", **NEVER_KNOWN)
    comparison = compare(results_of(failed), results_of(failed))
    assert [row.verdict for row in comparison.rows] == ["not comparable"]
    assert comparison.exit_code == 4
    comparison = compare(results_of(failed), results_of(make_record(make_trial())))
    assert "no ok trial in BASE: oom" in comparison.rows[0].note


def test_a_cell_of_which_only_what_failed_before_is_left_is_not_comparable() -> None:
    failed = make_record(make_trial(seed=1), status="crashed", **NEVER_KNOWN)
    (row,) = compare(results_of(make_record(make_trial(seed=0)), failed), results_of(failed)).rows
    assert (row.verdict, row.note) == ("not comparable", "no ok trial in NEW: crashed")


def test_the_deviation_of_short_trainings_is_that_of_the_committed_results() -> None:
    folders = committed_folders(Path(__file__).resolve().parents[2])
    found = pd.concat(pd.read_csv(path) for folder in folders for path in folder.rglob("summary.csv"))
    several = found[found["n"] >= 3]
    assert len(several) > 5
    assert 100 * several["test_accuracy_sd"].max() == pytest.approx(SHORT_TRAINING_SD, abs=0.005)


def test_a_threshold_decides() -> None:
    base, new = results_of(*seeds(ACCURACY, 0.90)), results_of(*seeds(ACCURACY, 0.88))
    assert compare(base, new, Thresholds(accuracy=3.0)).exit_code == 0
    assert compare(base, new, Thresholds(accuracy=1.0)).exit_code == 1
    assert compare(base, new, Thresholds(accuracy=1.0)).thresholds["accuracy"] == 1.0
