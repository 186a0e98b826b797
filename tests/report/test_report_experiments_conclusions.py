from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))

from records import make_record, make_trial
from source_folders import ASKED, arm, experiment, read

from resbench.report.experiments.conclusions import Answer, conclude
from resbench.report.experiments.costs import cost_sentences, ratio_words
from resbench.report.experiments.runs import ArmRun
from resbench.schema import EngineSettings
from resbench.store import Store


def answer(folder: Path, se: list[Any], plain: list[Any], **more: Any) -> Answer:
    """The answer to the one question of an experiment of two arms."""
    (found,) = conclude(read(folder, {"se": se, "plain": plain}, **more))
    return found


def words(found: Answer) -> str:
    return " ".join([found.accuracy, *found.cost])


def test_a_separated_pair_has_difference_interval_p_and_direction(tmp_path):
    one, two = [0.83, 0.84, 0.86, 0.85], [0.80, 0.80, 0.82, 0.82]
    found = answer(tmp_path, arm("net_se", *one), arm("net_plain", *two))
    exact = stats.ttest_ind(one, two, equal_var=False)
    low, high = (100 * value for value in exact.confidence_interval())
    assert exact.pvalue < 0.05
    assert found.accuracy.startswith("Test accuracy after 26 epochs on shapes10: se 84.50 % and plain 81.00 % (+3.50")
    assert "se lies 3.50 points above plain" in found.accuracy
    assert f"95 % interval {low:+.2f} to {high:+.2f}, p = {exact.pvalue:.3f}, 4 seeds" in found.accuracy
    assert found.short.startswith("accuracy after 26 epochs on shapes10: +3.50 points (separated, 4 seeds)")


def test_the_worse_arm_lies_below(tmp_path):
    found = answer(tmp_path, arm("net_se", 0.5, 0.51, 0.505), arm("net_plain", 0.8, 0.82, 0.81))
    assert "se lies 30.5 points below plain" in found.accuracy
    assert "-30.50 points" in found.accuracy


def test_a_pair_that_is_not_separated_gets_no_order(tmp_path):
    found = answer(tmp_path, arm("net_se", 0.80, 0.85, 0.81), arm("net_plain", 0.82, 0.81, 0.80))
    assert "se 82.00 % and plain 81.00 % (+1.00 points); not separated" in found.accuracy
    assert not {"above", "below"} & set(found.accuracy.split())
    assert "not separated (3 seeds)" in found.short


def test_several_questions_share_the_chance_of_a_false_answer(tmp_path):
    accuracies = {"se": [0.83, 0.84, 0.85], "plain": [0.80, 0.79, 0.82], "other": [0.80, 0.79, 0.821]}
    compare = [ASKED, {"question": "And the other?", "arm": "se", "against": "other"}]
    arms = {name: arm(f"net_{name}", *values) for name, values in accuracies.items()}
    found = conclude(read(tmp_path, arms, experiment("se", "plain", "other", compare=compare)))
    p = [stats.ttest_ind(accuracies["se"], accuracies[name], equal_var=False).pvalue for name in ("plain", "other")]
    assert max(p) < 0.05 < 2 * min(p)  # alone each would count
    assert all("not separated" in each.accuracy for each in found)
    assert all("after Holm's correction for 2 questions" in each.accuracy for each in found)
    assert all("95 % interval of this pair alone" in each.accuracy for each in found)


def test_the_time_of_an_image_is_the_mean_of_times_and_not_of_rates(tmp_path):
    # 1/100 s and 1/300 s an image are 1/150 s on average, 1/200 s and 1/600 s are 1/300 s: twice the time.
    slow = [make_record(make_trial("net_se", seed), test_accuracy=0.8, train_images_per_second=rate)
            for seed, rate in enumerate((100.0, 300.0))]  # fmt: skip
    fast = [make_record(make_trial("net_plain", seed), test_accuracy=0.8, train_images_per_second=rate)
            for seed, rate in enumerate((200.0, 600.0))]  # fmt: skip
    run = {name: ArmRun(name, None, records, None) for name, records in (("se", slow), ("plain", fast))}
    (said, *_) = cost_sentences(run["se"], run["plain"], {})
    assert "2.00 times the training time an image" in said
    run["plain"].trials[1]["train_images_per_second"] = 200.0
    (said, *_) = cost_sentences(run["se"], run["plain"], {})
    assert "33 % more training time an image" in said  # 1/150 over 1/200


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("measuring_version", "measuring version"),
        ("torch", "torch"),
        ("precision", "precision"),
        ("devices", "number of devices"),
    ],
)
def test_speeds_of_arms_that_were_measured_otherwise_are_not_divided(tmp_path, column, words):
    other = {"measuring_version": 1, "devices": 2}.get(column, "another")
    rate = {"train_images_per_second": 1.0, column: other}
    found = answer(tmp_path, arm("net_se", 0.83, 0.84, **rate), arm("net_plain", 0.80, 0.81))
    cost = " ".join(found.cost)
    assert "(+3.00 points)" in found.accuracy
    assert f"Speed and memory are not compared: the arms differ in {words}." in cost
    assert "training time" not in cost


def test_one_seed_each_is_no_verdict(tmp_path):
    found = answer(tmp_path, arm("net_se", 0.83), arm("net_plain", 0.80))
    assert "(+3.00 points); one seed each: no interval, small gaps mean nothing" in found.accuracy
    assert " p " not in found.accuracy
    assert "in one seed each, no verdict" in found.short


def test_a_difference_without_spread_is_said_and_other_seeds_are_as_good(tmp_path):
    same = answer(tmp_path / "same", arm("net_se", 0.82, 0.82), arm("net_plain", 0.81, 0.81))
    assert "the same under every seed: no spread to test with: no order is claimed" in same.accuracy
    apart = answer(tmp_path / "apart", arm("net_se", 0.82, None), arm("net_plain", None, 0.82))
    assert "one seed each: no interval" in apart.accuracy


def test_failed_seeds_allow_no_order(tmp_path):
    found = answer(tmp_path, arm("net_se", 0.9, 0.91, 0.92), arm("net_plain", 0.1 * 5, 0.52, None))
    assert "no order is claimed: 2 of 3 planned seeds of plain ended ok" in found.accuracy
    assert "2 seeds)" in found.accuracy
    assert "separated" not in words(found)


def test_an_arm_without_an_ok_trial_or_without_any_is_not_answered_for(tmp_path):
    failed = answer(tmp_path / "a", arm("net_se", 0.8, 0.9), arm("net_plain", None, None))
    assert failed.accuracy == "Not answered: plain has no trial that ended ok (2 oom)."
    assert failed.cost == []
    (missing,) = conclude(read(tmp_path / "b", {"se": arm("net_se", 0.8)}))
    assert "plain has no trial that ended ok (not run)" in missing.short
    planned = read(
        tmp_path / "c", {"se": arm("net_se", 0.8), "plain": arm("net_plain", 0.8)}, without_records=["plain"]
    )
    assert "plain has no trial that ended ok (1 not run)" in conclude(planned)[0].short


def test_costs_are_ratios_with_a_direction(tmp_path):
    se = {"train_images_per_second": 100.0, "peak_memory_allocated_mib": 560.0, "latency_ms_p50": 4.0}
    plain = {"train_images_per_second": 116.0, "peak_memory_allocated_mib": 500.0, "latency_ms_p50": 1.0}
    sizes = {"params": 26_100_000, "trainable_params": 26_100_000, "macs": 74_000_000}
    found = answer(
        tmp_path,
        arm("net_se", 0.8, **se, **sizes),
        arm("net_plain", 0.8, **plain, params=23_500_000, trainable_params=23_500_000, macs=80_000_000),
    )
    told = words(found)
    assert "Against plain, se takes 16 % more training time an image, 12 % more training memory" in told
    assert "4.00 times the latency" in told
    assert "with 7.5 % fewer MACs and 11 % more parameters" in told
    assert "of its parameters" not in told
    assert found.short.endswith("16 % more training time an image, 12 % more training memory")


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(1.16, "16 % more latency"), (0.94, "6.0 % less latency"), (2.306, "2.31 times the latency")],
)
def test_a_ratio_in_words(ratio, said):
    assert ratio_words(ratio, "latency") == said


def test_small_and_noisy_differences_are_not_told(tmp_path):
    se, plain = arm("net_se", 0.8, train_images_per_second=97.0), arm("net_plain", 0.8, train_images_per_second=100.0)
    small = words(answer(tmp_path / "small", se, plain))
    assert "Training time an image, training memory and latency differ by 5 % or less" in small
    assert "MACs and parameters are the same" in small
    assert "more" not in small
    folder = tmp_path / "noisy"
    se = arm("net_se", 0.8, train_images_per_second=90.0)
    Store(folder, create=True).append("noise_floor", {"relative": {"train_images_per_second": 0.125}})
    noisy = words(answer(folder, se, plain))
    assert "Training time an image differs by 12.5 % or less, the noise that was measured here" in noisy
    assert "Training memory and latency differ by 5 % or less" in noisy
    assert "11 % more training time" in words(answer(tmp_path / "still", se, plain))


def test_trained_parameters_are_told_where_they_are_not_all(tmp_path):
    found = answer(tmp_path / "a", arm("net_se", 0.8, trainable_params=20_490), arm("net_plain", 0.8))
    assert "se trains 20,490 of its parameters, plain 21,289,802." in words(found)
    frozen = {"trainable_params": 20_490}
    both = answer(tmp_path / "b", arm("net_se", 0.8, **frozen), arm("net_plain", 0.8, **frozen))
    assert "Both train 20,490 of their parameters." in words(both)


def test_what_else_differs_is_named(tmp_path):
    other = arm("net_se", 0.8, trial={"recipe": "d2l", "batch_size": 256})
    found = answer(tmp_path, arm("net_se", 0.8), other)
    assert "The two differ in recipe (common against d2l) and batch (512 against 256)." in found.cost


def test_other_data_and_other_engines_are_not_divided(tmp_path):
    data = arm("net_plain", 0.9, trial={"dataset": "mnist", "dataset_fingerprint": "f" * 64})
    other = answer(tmp_path / "data", arm("net_se", 0.8), data)
    assert "not compared: se saw shapes10 and plain mnist" in other.accuracy
    assert "points" not in other.accuracy
    fp32 = {"engine": EngineSettings(device="cuda", precision="fp32", compile=True)}
    engine = words(answer(tmp_path / "engine", arm("net_se", 0.8), arm("net_plain", 0.8, trial=fp32, macs=1)))
    assert "Speed and memory are not compared: the arms differ in precision." in engine
    assert "training time" not in engine
    assert "MACs" in engine
    parts = words(answer(tmp_path / "parts", arm("net_se", 0.8, micro_batch_size=8), arm("net_plain", 0.8)))
    assert "batches of se ran in parts" in parts
    assert "training time" not in parts


def test_two_arms_that_guess_say_nothing(tmp_path):
    found = answer(tmp_path / "both", arm("net_se", 0.14, 0.12), arm("net_plain", 0.1, 0.1))
    assert "Both are near chance (guessing among 10 classes: 10.00 %): the difference says nothing" in found.accuracy
    assert ": both near chance" in found.short
    one = answer(tmp_path / "one", arm("net_se", 0.16), arm("net_plain", 0.1))
    assert "chance" not in one.accuracy


def test_more_logits_than_classes_leave_it_to_the_verdict(tmp_path):
    guess = {"verdict": "suspect", "verdict_reasons": ["the test accuracy is no better than chance: 10%, 10%"]}
    wide = {"num_classes": 1000}
    arms = [arm(name, 0.1, trial=wide, **guess) for name in ("net_se", "net_plain")]
    found = answer(tmp_path, *arms)
    assert "Both are near chance: the difference" in found.accuracy
    assert "suspect" not in words(found)  # that they guess is all that the verdict holds against them


def test_random_weights_in_the_place_of_pretrained_ones_are_no_transfer(tmp_path):
    frozen = arm("resnet152_frozen", 0.30, 0.31, 0.33)
    tables = experiment(arms=[{"name": "se", "model": "resnet152_frozen"}, {"name": "plain", "model": "net_plain"}])
    scratch = arm("net_plain", 0.40, 0.42, 0.44)
    (found,) = conclude(read(tmp_path / "default", {"se": frozen, "plain": scratch}, tables))
    assert found.accuracy.startswith("se ran with random weights: no gap here is an effect of pretraining.")
    assert found.short.startswith("random weights, nothing about transfer; ")
    asked = experiment(arms=[{"name": "se", "model": "net_se", "weights": "default"}])
    (found,) = conclude(read(tmp_path / "asked", {"se": arm("net_se", 0.3), "plain": scratch}, asked))
    assert "no gap here is an effect of pretraining" in found.accuracy
    real = arm("net_se", 0.3, trial={"weights": "default"})
    (found,) = conclude(read(tmp_path / "real", {"se": real, "plain": scratch}, asked))
    assert "random weights" not in words(found)


def test_suspect_rows_are_pointed_at(tmp_path):
    busy = {"verdict": "suspect", "verdict_reasons": ["other processes kept 0.7 of 2 threads busy"]}
    found = answer(tmp_path, arm("net_se", 0.8, **busy), arm("net_plain", 0.8))
    assert "Rows of se are suspect: see below." in found.cost
    assert "(suspect rows)" in found.short


def test_names_of_more_than_one_word_are_quoted(tmp_path):
    named = [{"name": "frozen, too", "model": "net_se"}, {"name": "plain", "model": "net_plain"}]
    tables = experiment(arms=named, compare=[{**ASKED, "arm": "frozen, too"}])
    arms = {"frozen, too": arm("net_se", 0.8), "plain": arm("net_plain", 0.8)}
    (found,) = conclude(read(tmp_path, arms, tables))
    assert "“frozen, too” 80.00 % and plain 80.00 %" in found.accuracy


def test_old_records_are_matched_by_what_each_arm_asks_for(tmp_path):
    named = [
        {"name": "se", "model": "net_se", "recipe": "d2l"},
        {"name": "plain", "model": "net_se"},
        {"name": "twin", "model": "net_twin"},
        {"name": "twin again", "model": "net_twin"},
    ]
    arms = {
        "a": arm("net_se", 0.8, trial={"recipe": "d2l"}),
        "b": arm("net_se", 0.7),
        "c": arm("net_twin", 0.6),
        "d": arm("net_gone", 0.5),
    }
    suite = {"name": "old", "recipe": "common"}
    run = read(tmp_path, arms, experiment(arms=named), with_arms=False, suite=suite)
    assert {each.name: each.mean("test_accuracy") for each in run.arms if each.ok} == {"se": 0.8, "plain": 0.7}
    assert {row["model"] for row in run.unassigned} == {"net_twin", "net_gone"}
    assert make_trial().trial_id not in {row["trial_id"] for row in run.rows}


def test_a_suite_without_arms_has_one_for_each_network(tmp_path):
    arms = {"a": arm("net_a", 0.8, 0.7), "b": arm("net_b", 0.6)}
    run = read(tmp_path, arms, experiment(arms=[], compare=[]), with_arms=False)
    assert {each.name: len(each.ok) for each in run.arms} == {"net_a": 2, "net_b": 1}
    assert run.unassigned == []


def test_a_question_about_networks_finds_them_whatever_weights_they_start_from(tmp_path):
    asked = [{"question": "Which?", "arm": "net_se", "against": "net_plain"}]
    nets = {"se": arm("net_se", 0.83, trial={"weights": "default"}), "plain": arm("net_plain", 0.80)}
    run = read(tmp_path, nets, experiment(arms=[], compare=asked), with_arms=False)
    assert [each.name for each in run.arms] == ["net_se (default weights)", "net_plain"]
    (found,) = conclude(run)
    assert "“net_se (default weights)” 83.00 % and net_plain 80.00 % (+3.00 points)" in found.accuracy
