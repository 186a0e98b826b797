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
from scipy.optimize import brentq
from scipy.special import digamma, polygamma
from scipy.stats import norm, t, ttest_ind

from benchmarks.docs.pages import committed_folders
from resbench.compare import METRICS, Thresholds, compare
from resbench.compare.judging import (
    NOTHING_KNOWN,
    SHORT_TRAINING_SD,
    SHORT_TYPICAL_SD,
    SHORT_WEIGHT,
    Spread,
    difference,
)

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
    deviation: float | None = None
    """Of the column in either folder, where a trial was measured again three times."""
    changes: dict[str, Any] | None = None
    """What NEW's records say besides."""
    images: int | None = None
    """Of the test set, where that is known."""


STEADY = 0.01
"""Over six metrics, with 6 degrees of freedom: t = 3.45 x sqrt(2) x 1 % = 4.9 %, below the threshold."""

GOLDEN = {
    # Accuracy, one seed a side: 1.96 x sqrt(2) x 0.24 = 0.665 points and the threshold of 0.3 must both be exceeded.
    "accuracy, one seed, the same": Case(ACCURACY, ONE, ONE, "same", "deviation of 0.24 points"),
    "accuracy, one seed, above the threshold by chance": Case(
        ACCURACY, ONE, [0.8950], "not decided", "(p < 0.05 is); a change of this size is found by 6 seeds a side"
    ),
    "accuracy, one seed, worse": Case(ACCURACY, ONE, [0.8932], "worse", "no change under 0.7 points can be shown"),
    "accuracy, one seed, better": Case(ACCURACY, ONE, [0.9068], "better", "largest published of CIFAR-10"),
    "accuracy, one seed, 94 %": Case(ACCURACY, [0.94], [0.9345], "worse", "deviation of 0.19 points"),
    "accuracy, one seed, 500 images": Case(
        ACCURACY, [0.94], [0.926], "not decided", "0.91 points, the largest published of CIFAR-10 at 93 % of 500 "
        "images; no change under 2.5 points can be shown", images=500,
    ),
    "accuracy, one seed, all right on 500 images": Case(ACCURACY, [1.0], [0.996], "not decided", images=500),
    # Several seeds.
    "accuracy, seeds, significant": Case(ACCURACY, MIXED, [v - 0.005 for v in MIXED], "worse"),
    "accuracy, seeds, gained": Case(ACCURACY, MIXED, [v + 0.005 for v in MIXED], "better"),
    "accuracy, seeds, small but significant": Case(
        ACCURACY, [0.95000, 0.95001, 0.95002], [0.94750, 0.94751, 0.94752], "same"
    ),
    "accuracy, seeds, large but noisy": Case(
        ACCURACY, [0.90, 0.95, 0.93], [0.88, 0.94, 0.93], "not decided", "above the threshold, not significant"
    ),
    "accuracy, seeds, pairs would be significant": Case(
        ACCURACY, [0.90, 0.92, 0.94], [0.896, 0.9161, 0.9359], "not decided", "found by more than 100 seeds"
    ),
    "accuracy, no spread": Case(ACCURACY, [0.9, 0.9], [0.8, 0.8], "worse"),
    "accuracy, no spread by luck": Case(ACCURACY, [0.9, 0.9], [0.8965, 0.8965], "not decided"),
    "accuracy, seeds against one, worse": Case(ACCURACY, MIXED, [0.940], "worse", "different seeds: 0, 1, 2 -> 0"),
    "accuracy, seeds against one, chance": Case(ACCURACY, MIXED, [0.9485], "not decided", "not significant"),
    "accuracy, one against seeds, better": Case(ACCURACY, [0.940], MIXED, "better", "different seeds: 0 -> 0, 1, 2"),
    "accuracy, its noise is the seeds', not a floor": Case(
        ACCURACY, MIXED, [v - 0.005 for v in MIXED], "worse", floors=(0.5, 0.5), deviation=0.5
    ),
    # Speed and memory, one seed a side, never measured again.
    "throughput, within": Case(TRAIN, [1000.0], [950.0], "same", "no A/A measurement and one seed: no p"),
    "throughput, slower": Case(TRAIN, [1000.0], [500.0], "not decided", "give two seeds or more, or --calibrate"),
    "from nothing": Case("inference_memory_mib", [0.0], [1.0], "not decided"),
    # One seed a side, measured again.
    "measured again, within": Case(TRAIN, [1000.0], [950.0], "same", deviation=STEADY),
    "measured again, slower": Case(TRAIN, [1000.0], [949.0], "worse", deviation=STEADY),
    "measured again, faster": Case(TRAIN, [1000.0], [1051.0], "better", deviation=STEADY),
    "measured again, slower by chance": Case(
        TRAIN, [1000.0], [900.0], "not decided", "not significant (p < 0.013 is); a change of this size is found by 4 "
        "seeds a side in 80 % of runs", deviation=0.03,
    ),
    "measured again, slower than chance": Case(TRAIN, [1000.0], [850.0], "worse", deviation=0.03),
    "inference, slower": Case("inference_images_per_second", [1000.0], [900.0], "worse", deviation=STEADY),
    "latency, higher is worse": Case(LATENCY, [1.0], [1.06], "worse", deviation=STEADY),
    "latency, lower is better": Case(LATENCY, [1.0], [0.94], "better", deviation=STEADY),
    "step, higher is worse": Case("step_ms_p50", [10.0], [11.0], "worse", deviation=STEADY),
    "memory, higher is worse": Case("peak_memory_allocated_mib", [100.0], [106.0], "worse", deviation=0.0),
    "inference memory, lower is better": Case("inference_memory_mib", [100.0], [94.0], "better", deviation=0.0),
    # The noise floor.
    "below a floor that is above the threshold": Case(
        TRAIN, [1000.0], [930.0], "same", "the noise floor of 8.0 % decides, above the threshold", (0.08, None), STEADY
    ),
    "beyond a floor that is above the threshold": Case(
        TRAIN, [1000.0], [910.0], "worse", "the noise floor of 8.0 % decides", (0.08, None), STEADY
    ),
    "the larger of two floors": Case(TRAIN, [1000.0], [910.0], "same", "noise floor of 10.0 %", (0.02, 0.1), STEADY),
    "a floor below the threshold": Case(TRAIN, [1000.0], [949.0], "worse", "", (0.02, 0.01), STEADY),
    "seeds beyond the threshold and not the floor": Case(
        LATENCY, [1.0, 1.001], [1.06, 1.061], "same", "noise floor of 7.0 %", (0.07, None)
    ),
    "seeds, slower": Case(LATENCY, [1.0, 1.001], [1.06, 1.061], "worse"),
    "seeds that agree by luck": Case(LATENCY, [1.0, 1.001], [1.06, 1.061], "not decided", deviation=0.03),
    "seeds, slower by chance": Case(LATENCY, [1.0, 1.1], [1.05, 1.2], "not decided", "not significant"),
    # Doubts.
    "suspect, worse all the same": Case(
        TRAIN, [1000.0], [900.0], "worse", "suspect in NEW (1 of 1 trial): 2 threads were busy", deviation=STEADY,
        changes={"verdict": "suspect", "verdict_reasons": ["2 threads were busy"]},
    ),
    # Not measured.
    "not measured in new": Case(LATENCY, [1.0], [None], "not comparable", "not measured in NEW"),
    "not measured in base": Case(LATENCY, [None], [1.0], "not comparable", "not measured in BASE"),
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_golden(case: str) -> None:
    column, base, new, verdict, note, (left, right), deviation, changes, images = GOLDEN[case]
    again = {} if deviation is None else {column: deviation}
    comparison = compare(
        results_of(*seeds(column, *base), floors=({column: left},), deviations=again, images=images),
        results_of(*seeds(column, *new, **(changes or {})), floors=({column: right},), deviations=again, images=images),
    )
    (row,) = [row for row in comparison.rows if row.metric == NAMES[column]]
    assert row.verdict == verdict
    assert note in row.note
    assert {row.verdict for row in comparison.rows if row.metric != NAMES[column]} == {"same"}
    assert comparison.exit_code == (1 if verdict == "worse" else 0)


@pytest.mark.parametrize(
    ("epochs", "new", "verdict", "note"),
    [
        (26.0, 0.60, "worse", "points, the largest published of CIFAR-10"),
        (16.0, 0.60, "worse", "the largest published"),
        (
            15.9,
            0.60,
            "not decided",
            f"{SHORT_TRAINING_SD:g} points, the largest of three seeds or more that was measured",
        ),
        (15.9, 0.55, "not decided", "no change under 13.9 points can be shown"),
        (0.26, 0.65, "same", "no change under 13.9 points can be shown"),
        (0.26, 0.10, "worse", f"{SHORT_TRAINING_SD:g} points"),
        (None, 0.60, "not decided", f"{SHORT_TRAINING_SD:g} points"),
    ],
)
def test_one_seed_of_a_short_training_says_less(epochs: float | None, new: float, verdict: str, note: str) -> None:
    base, again = (results_of(*seeds(ACCURACY, value, epochs=epochs)) for value in (0.65, new))
    row = compare(base, again).rows[0]
    assert (row.metric, row.verdict, row.test) == ("test accuracy (%)", verdict, "assumed deviation")
    assert note in row.note


def test_p_is_that_of_the_textbook() -> None:
    metric, speed = METRICS[0], METRICS[1]
    base, new = [95.1, 95.3, 95.2, 95.6], [94.9, 95.0, 94.7]
    assert float(difference(metric, base, new, NOTHING_KNOWN).p) == pytest.approx(ttest_ind(base, new).pvalue)
    assert float(difference(metric, base, [94.7], NOTHING_KNOWN).p) == pytest.approx(ttest_ind(base, [94.7]).pvalue)
    known = float(difference(metric, [95.0], [95.5], Spread(0.19, math.inf)).p)
    assert known == pytest.approx(2 * norm.sf(0.5 / (math.sqrt(2) * 0.19)))
    found = float(difference(speed, [95.0], [95.5], Spread(0.03, 6)).p)
    assert found == pytest.approx(2 * t.sf(math.log(95.5 / 95) / (math.sqrt(2) * 0.03), 6))
    moderated = difference(metric, base, new, Spread(0.2, 2.0))
    pooled = (2 * 0.2**2 + 3 * np.var(base, ddof=1) + 2 * np.var(new, ddof=1)) / 7
    error = math.sqrt(pooled * (1 / 4 + 1 / 3))
    assert float(moderated.p) == pytest.approx(2 * t.sf(abs(np.mean(new) - np.mean(base)) / error, 7))
    assert float(moderated.half_width) == pytest.approx(t.ppf(0.975, 7) * error)
    assert difference(speed, [95.0], [95.5], NOTHING_KNOWN) is None
    assert difference(speed, [0.0], [95.5], Spread(0.03, 6)) is None
    assert float(difference(metric, [90.0, 90.0], [90.0, 90.0], NOTHING_KNOWN).p) == 1
    assert float(difference(metric, [90.0, 90.0], [80.0], NOTHING_KNOWN).p) == 0


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


def test_the_deviations_of_short_trainings_are_those_of_the_committed_results() -> None:
    folders = committed_folders(Path(__file__).resolve().parents[2])
    found = pd.concat(pd.read_csv(path) for folder in folders for path in folder.rglob("summary.csv"))
    several = found[found["n"] >= 3]
    assert len(several) > 5
    assert 100 * several["test_accuracy_sd"].max() == pytest.approx(SHORT_TRAINING_SD, abs=0.005)
    several = found[found["n"] >= 2]
    half = (several["n"].to_numpy() - 1) / 2
    logs = np.log((100 * several["test_accuracy_sd"].to_numpy()) ** 2) - digamma(half) + np.log(half)
    scatter = logs.var(ddof=1) - polygamma(1, half).mean()  # Smyth (2004), section 6.2
    weight = 2 * brentq(lambda value: polygamma(1, value) - scatter, 0.01, 100.0)
    assert weight == pytest.approx(1.46, abs=0.005)
    assert weight >= SHORT_WEIGHT
    centre = logs.mean() + digamma(weight / 2) - math.log(weight / 2)
    assert math.exp(centre / 2) == pytest.approx(SHORT_TYPICAL_SD, rel=0.01)


def test_a_threshold_decides() -> None:
    base, new = results_of(*seeds(ACCURACY, 0.90)), results_of(*seeds(ACCURACY, 0.88))
    assert compare(base, new, Thresholds(accuracy=3.0)).exit_code == 0
    assert compare(base, new, Thresholds(accuracy=1.0)).exit_code == 1
    assert compare(base, new, Thresholds(accuracy=1.0)).thresholds["accuracy"] == 1.0
