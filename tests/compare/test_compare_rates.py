"""How often unchanged code is called worse, and how often what is there is found: by the functions that decide."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from folders import results_of
from records import make_record, make_trial

from benchmarks.statistics import ACCURACY, SPEEDS, accuracy, accuracy_on, speed
from resbench.compare import Thresholds, compare
from resbench.compare.cells import MeasuredCell
from resbench.compare.judging import NOTHING_KNOWN, Spread, accuracy_spread, judge
from resbench.compare.metrics import limit_of, repeatability
from resbench.store import Results

MODELS = [f"m{number}" for number in range(5)]
SHORT = {"mean": 40.0, "epochs": 1.0}


@pytest.mark.slow
def test_folders_of_unchanged_code_are_judged_as_the_simulations_judge() -> None:
    generator, columns = np.random.default_rng(0), [metric.source for metric in SPEEDS]
    plain = results_of(*(make_record(make_trial(model)) for model in MODELS))

    def folder(*, slower: float = 0.0) -> Results:
        """Readings deviate by 3 %, and the first model's are taken four times; the last model may be slower."""
        readings, again = (100 * np.exp(generator.normal(0, 0.03, (rows, len(columns)))) for rows in (len(MODELS), 3))
        first, *rest = (dict(zip(columns, row, strict=True)) for row in (readings[0].tolist(), *again.tolist()))
        readings[-1, columns.index("train_images_per_second")] *= 1 - slower
        events = tuple({"trial_id": "x", "first": first, "again": one, "relative": {}} for one in rest)
        trials = plain.trials.assign(**dict(zip(columns, readings.T, strict=True)))
        return replace(plain, trials=trials, noise_floors=events)

    worse = found = 0
    for _ in range(30):
        base = folder()
        worse += compare(base, folder()).exit_code
        rows = compare(base, folder(slower=0.4)).rows
        found += ("m4", "train images/s", "worse") in {(row.model, row.metric, row.verdict) for row in rows}
    assert worse <= 2  # of 30; the thresholds alone called nearly all of them worse
    assert found >= 27


@pytest.mark.parametrize("repeats", [1, 3])
def test_unchanged_code_is_called_worse_in_less_than_5_of_100_comparisons_of_five_models(repeats: int) -> None:
    assert speed(150, repeats=repeats)[0] < 0.05


def test_what_was_never_measured_again_is_not_decided() -> None:
    assert speed(20, repeats=0, slower=0.9) == (0.0, 0.0)


def test_several_seeds_call_unchanged_code_worse_no_more_often_and_find_more() -> None:
    assert speed(100, seeds=3)[0] < 0.05
    assert speed(60, slower=0.25)[1] > 0.8
    assert speed(60, seeds=3, slower=0.15)[1] > 0.8


@pytest.mark.parametrize("images", [500, 2000, 10_000])
def test_one_seed_on_few_test_images_calls_an_unchanged_network_worse_in_less_than_5_of_100(images: int) -> None:
    assert accuracy_on(500, images=images) < 0.05  # 34, 14 and 3 with the deviation of 10,000 images


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_unchanged_accuracies_are_called_worse_in_less_than_5_of_100(seeds: int) -> None:
    for sd in (0.15, 0.19):
        false, within = accuracy(20_000, seeds=seeds, sd=sd)
        assert false < 0.03
        assert within > 0.945
    for sd in (0.5, 1.63, 5.03):
        assert accuracy(20_000, seeds=seeds, sd=sd, **SHORT)[0] < 0.05
    if seeds > 1:  # one seed a side cannot know that what is assumed is wrong
        assert accuracy(20_000, seeds=seeds, sd=2 * 0.19)[0] < 0.05


@pytest.mark.parametrize(
    ("sd", "loss", "how"), [(0.15, 0.8, {}), (0.19, 0.8, {}), (5.03, 10.0, SHORT), (1.63, 10.0, SHORT)]
)
def test_a_further_seed_finds_no_less(sd: float, loss: float, how: dict[str, float]) -> None:
    found = [accuracy(20_000, seeds=seeds, sd=sd, loss=loss, **how)[0] for seeds in (1, 2, 3, 5)]
    assert found == sorted(found)
    assert found[-1] > (0.8 if how else 0.99)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_simulated_verdicts_are_those_of_a_comparison(seeds: int) -> None:
    cell, limit = MeasuredCell({}, frozenset(), {}, {}, {}, 26.0), limit_of(ACCURACY, Thresholds(), {})
    runs = np.random.default_rng(0).normal(94.0, 0.19, (300, 2, seeds))
    runs[:, 1] -= 0.5
    verdicts = [judge(ACCURACY, *sides, limit, accuracy_spread(cell, *sides)).verdict for sides in runs.tolist()]
    assert verdicts.count("worse") / 300 == pytest.approx(accuracy(300, seeds=seeds, sd=0.19, loss=0.5)[0], abs=0.02)


def test_of_the_committed_pairs_of_one_trial_none_is_called_worse() -> None:
    """Eleven trials that were measured again: 5 % alone called 7 of them worse in one of six metrics or more."""
    root = Path(__file__).resolve().parents[2] / "results"
    lines = (line for path in sorted(root.rglob("records.jsonl")) for line in path.read_text().splitlines())
    pairs = [json.loads(line) for line in lines if '"event": "noise_floor"' in line]
    assert len(pairs) >= 11

    def worse(pair: dict[str, Any], spreads: dict[str, Spread]) -> bool:
        return "worse" in {
            judge(
                metric,
                [pair["first"][metric.source]],
                [pair["again"][metric.source]],
                limit_of(metric, Thresholds(), {}),
                spreads.get(metric.source, NOTHING_KNOWN),
                tests=len(SPEEDS),
            ).verdict
            for metric in SPEEDS
        }

    by_threshold = [worse(pair, {metric.source: Spread(0.0, 1.0) for metric in SPEEDS}) for pair in pairs]
    assert sum(by_threshold) / len(pairs) > 0.6
    assert not any(worse(pair, {}) for pair in pairs)
    for number, pair in enumerate(pairs):
        others = SimpleNamespace(noise_floors=[*pairs[:number], *pairs[number + 1 :]])
        known = {column: Spread(*found) for column, found in repeatability(others).items()}  # type: ignore[arg-type]
        assert known["step_ms_p50"].weight == len(pairs) - 1
        assert not worse(pair, known)
