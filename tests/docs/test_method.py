"""Every number that METHOD.md names is the code's."""

from __future__ import annotations

import math
import re
from dataclasses import fields

import pandas as pd
from documents import ROOT, prose

from benchmarks.docs.columns import FILES
from resbench import noise, published, schema, trial, verdicts
from resbench.compare import METRICS, Thresholds, judging
from resbench.devices import CpuDevice
from resbench.devices.cuda import CudaDevice
from resbench.measure import flops, latency, profile, ruler, telemetry
from resbench.planning import precision_choice
from resbench.recipes import get_recipe
from resbench.report.beside_published import RUN_TO_RUN
from resbench.report.experiments import runs
from resbench.stats import differences, fronts, images, power, ranking, summary
from resbench.stats.pairwise import PAIR
from resbench.training import engine
from resbench.training.ledger import PARTS

TEXT = prose("METHOD.md")


def percent(fraction: float) -> str:
    """A fraction as sentences have it."""
    return f"{100 * fraction:g} %"


def shares(table: str, rows: str) -> str:
    """The least and the largest share in what a pattern finds in a table of results/statistics."""
    text = (ROOT / "results" / "statistics" / table).read_text(encoding="utf-8")
    found = [float(share) for row in re.finditer(rows, text) for share in re.findall(r"[\d.]+(?= %)", row["shares"])]
    return f"{min(found):.0f} to {max(found):.0f} %"


ON_FRONT = r"\| +0\.[35] \|[^|]*\|(?P<shares>[^|]*)"
"""Of front.md: which of those told 95 % or more are on it, of models that differ by less than their seeds."""

AS_MANY = r"(?m)^\| (\d+) and \1 (?P<shares>.*)"
"""Of power.md: how often a gap is found by as many seeds a side."""

HELD = [
    f"may be: {shares('power.md', AS_MANY)} in simulations of 2 to 10 seeds",
    f"of those told 95 % or more only {shares('front.md', ON_FRONT)} are on the front",
    f"runs up to {CudaDevice.queue_depth} steps ahead",
    f"on CUDA up to {CudaDevice.queue_depth} are queued",
    f"a disagreement of more than {percent(flops.TOLERANCE)} is noted",
    f"{trial.ALONE_STEPS} steps that each takes alone",
    f"{latency.WARM_UP_CALLS} calls warm up, then {latency.MIN_CALLS} to {latency.MAX_CALLS} calls are timed one by "
    f"one, and none is begun after {latency.MAX_SECONDS:g} seconds once there are {latency.MIN_CALLS}",
    f"{engine.WARM_UP_STEPS} training steps and one evaluation step warm up",
    f"every {telemetry.PERIOD_S:g} s for clock",
    f"more than {percent(telemetry.MAX_SHARE)} of a processor thread",
    f"(at most {precision_choice.NETWORKS} of them) train at least {precision_choice.CLEARLY_FASTER:g} times as fast",
    f"the mean's {percent(differences.CONFIDENCE)} interval",
    f"is {percent(power.ALPHA)} at most; where two models alone",
    f"Of more than {ranking.MOST_PAIRED} models each",
    f"the corrected p is {power.ALPHA:g} or more",
    f"with a probability of {percent(power.POWER)}",
    f"of all models {fronts.DRAWS:,} times",
    f"the draws is {100 * math.sqrt(0.25 / fronts.DRAWS):.1f} points at most",
    f"p is below {judging.SIGNIFICANCE:g}",
    f"{Thresholds().accuracy:g} points of accuracy, or {percent(Thresholds().throughput)} of speed and memory",
    f"({published.run_to_run_sd():g} points at {percent(judging.PUBLISHED_ACCURACY)} on "
    f"{judging.PUBLISHED_IMAGES:,} test images",
    f"is worth {judging.LONG_WEIGHT:g} degrees; for trainings under {published.shortest_training()} epochs "
    f"{judging.SHORT_TYPICAL_SD:g} points are worth {judging.SHORT_WEIGHT:g}.",
    f"takes {published.run_to_run_sd():g} points, or {judging.SHORT_TRAINING_SD:g} points in short trainings",
    f"{1.96 * math.sqrt(2) * published.run_to_run_sd():.1f} points, or "
    f"{1.96 * math.sqrt(2) * judging.SHORT_TRAINING_SD:.0f}.",
    f"the {percent(1 - judging.SIGNIFICANCE)} interval of each difference by Welch's test",
    f"sleeps of {1000 * ruler.SLEEP_S:g} ms through the timer (within {percent(ruler.SLEEP_TOLERANCE)} of",
    f"a block of {ruler.BLOCK_MIB} MiB through the memory meter (within {percent(ruler.ALLOCATION_TOLERANCE)})",
    f"the host's clock (within {percent(ruler.QUEUED_TOLERANCE)})",
    f"with {noise.LEAST_STEPS} to {trial.ALONE_STEPS} training steps (as many as {noise.MOST_SECONDS:g} seconds hold)",
    f"in more than {percent(telemetry.THROTTLED_SHARE)} of the samples",
    f"fell by more than {percent(telemetry.CLOCK_FALL)} from the first half",
    f"less than {percent(1 - telemetry.OTHER_LOAD)} of the processor threads",
    f"no more than {verdicts.GUESSING_SD:g} standard deviations above guessing",
    f"more than {100 * published.IMPLAUSIBLE_MARGIN:g} points above everything published for such a network on "
    f"`{' '.join(published.BOUNDED)}`",
    f"no further than {100 * RUN_TO_RUN:.2f} points outside of it, by which one run can deviate (1.96 x "
    f"{published.run_to_run_sd():g})",
    f"is at most {runs.NEAR_CHANCE:g} times what guessing reaches",
]
"""Sentences that name a number, made of the code's own."""

OTHERS = [
    "Holm (1979)",
    "13 % of 10,000 images",
    "Piepho 2004",
    "Efron 1979",
    "fractions from 0 to 1 in files",
    "empty, never 0",
    "a learning rate of 0",
    "the 90 % quantile",
    "tested against 0",
    "clear of 0 in both",
    "exit code 3",
    "has up to 6 %",
    "over 50 steps",
    "within 1e-6 of one",
    "root of p (1 - p) / n",
    "in less than 5 % of comparisons",
    "deviate by 3 %",
    "is 25 % slower",
    "is 15 % slower",
    "t x sqrt(2)",
    "95 to 97 % of fair reruns",
    "1.96 x sqrt(2)",
    "up to 10 % longer",
]
"""Numbers that are no constant of the code: years, zeros, what tests do and hold, an exit code of README's test."""


def test_every_number_is_the_codes() -> None:
    left = re.sub(r"`[^`]*`", lambda code: code[0] if "cifar" in code[0] else "", TEXT)
    for sentence in HELD:
        assert sentence in TEXT
        left = left.replace(re.sub(r"`(?!cifar)[^`]*`", "", sentence), "")
    for words in OTHERS:
        assert words in left
        left = left.replace(words, "")
    left = re.sub(r"\b(sha256|p50|p90|bf16|fp32|AVX512-BF16|cifar10)\b|^1\.| [1-4]\. \*\*", "", left)
    assert re.findall(r".{30}\d.{10}", left) == [], "no test holds these numbers to the code"


def test_the_tolerances_that_are_one_number_are_equal() -> None:
    assert Thresholds().throughput == Thresholds().latency == Thresholds().memory
    assert telemetry.SCALED_DOWN == 0.5  # "below half of its highest clock"
    assert images.CONFIDENCE == differences.CONFIDENCE


def test_trials_have_the_one_buffer_that_batches_are_said_to_be_made_in() -> None:
    assert "each into the one buffer that the step reads, after the step before" in TEXT
    subject = profile.Subject("cnn", "source", (3, 8, 8), 2, 2, schema.EngineSettings("cpu", "fp32"))
    assert len(subject.engine_for(get_recipe("common"), CpuDevice()).slots) == 1


def test_the_parts_of_the_ledger_are_named() -> None:
    columns = [f"{part}_s" for part in (*PARTS, "other")]
    (listed,) = re.findall(r"`other_s` is what is left: (.*?)\. Compiled", TEXT)
    assert re.findall(r"`(\w+_s)`", listed) == columns
    assert {*columns, "wall_s"} <= {field.name for field in fields(schema.TrialRecord)}
    assert "wall_s" in summary.WITHOUT_INTERVAL


def test_the_columns_that_sentences_name_exist() -> None:
    named = set(re.findall(r"`([a-z]\w*_\w+)`", TEXT))
    known = {field.name for record in FILES.values() for field in fields(record)}
    known |= {*summary.RANKED, *PAIR}
    assert len(named) > 20
    assert named <= known


def test_the_files_that_are_explained_have_those_columns() -> None:
    folder = ROOT / "results" / "cifar10-jpeg75-cpu"
    for name in (*FILES, "summary", "pairwise"):
        assert f"`{name}.csv`" in TEXT
    kept = pd.read_csv(folder / "summary.csv", nrows=1)
    assert {"group", "planned", "ok", "n", "tier", "tier_reason", "tests", "test_accuracy_ci95"} <= set(kept)
    assert {metric.source for metric in METRICS} <= {field.name for field in fields(schema.TrialRecord)}
