from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from source_folders import SOURCE, arm, claim, experiment, read

from resbench.recipes import RECIPES
from resbench.report.sources.caveats import caveats
from resbench.report.sources.claims import count_words, judge_claim
from resbench.schema import MEASURING_VERSION

OF_BOOK = {"epochs": 16, "dataset": "fashion_mnist"}
ON_BOOKS_DATA = {"dataset": "fashion_mnist", "recipe": "d2l", "batch_size": 256}


def judged(folder: Path, trials: list[Any], column: str, value: float, **of_claim: Any) -> str:
    """What is said of a claim about an arm's trials."""
    tables = experiment("se", source=claim(column, value, **of_claim), compare=[])
    run = read(folder, {"se": trials}, tables)
    assert run.source is not None
    return judge_claim(run.source.claims[0], run)


def told(folder: Path, trials: list[Any], tables: dict[str, Any] | None = None, **event: Any) -> str:
    """All caveats of an experiment of one arm."""
    return "\n".join(caveats(read(folder, {"se": trials}, tables or experiment("se", compare=[]), **event)))


def test_an_accuracy_on_the_claims_data_after_its_epochs_is_held_beside_it(tmp_path):
    trials = arm("net_se", 0.90, 0.92, trial=ON_BOOKS_DATA, epochs=16.0)
    said = judged(tmp_path, trials, "test_accuracy", 0.892, **OF_BOOK)
    assert "the source reports 89.20 %, here 91.00 % ± 1.41 points (n=2)" in said
    assert said.endswith("on the same data after 16 epochs: 1.80 points above.")


def test_more_epochs_and_another_batch_are_named(tmp_path):
    trials = arm("net_se", 0.88, trial={**ON_BOOKS_DATA, "batch_size": 64}, epochs=20.0)
    said = judged(tmp_path, trials, "test_accuracy", 0.892, **OF_BOOK)
    assert "after 20 epochs: 1.20 points below" in said
    assert "Not alike: the source trained 16 epochs; batch 64 where the recipe has 256." in said


@pytest.mark.parametrize(
    ("trial", "record", "of_claim", "reason"),
    [
        ({"dataset": "shapes10"}, {}, OF_BOOK, "other data (shapes10 and not fashion_mnist)"),
        ({"dataset": "fashion_mnist-subset"}, {}, OF_BOOK, "other data (fashion_mnist-subset"),
        ({}, {"epochs": 15.0}, OF_BOOK, "fewer epochs (15.0 of 16)"),
        ({}, {}, {"epochs": 16}, "the claim names no data"),
        ({}, {}, {"dataset": "fashion_mnist"}, "the claim names no epochs"),
        ({}, {"verdict": "suspect", "verdict_reasons": ["busy"]}, OF_BOOK, "suspect rows"),
    ],
)
def test_an_accuracy_of_another_training_is_not_comparable(tmp_path, trial, record, of_claim, reason):
    trials = arm("net_se", 0.90, trial={**ON_BOOKS_DATA, **trial}, **{"epochs": 16.0, **record})
    said = judged(tmp_path, trials, "test_accuracy", 0.892, **of_claim)
    assert "Not comparable: " in said
    assert reason in said
    assert "above" not in said


def test_a_claim_of_transfer_is_not_held_beside_random_weights(tmp_path):
    trials = arm("resnet152_frozen", 0.90, trial=ON_BOOKS_DATA, epochs=16.0)
    said = judged(tmp_path, trials, "test_accuracy", 0.892, **OF_BOOK)
    assert "Not comparable: random weights in the place of pretrained ones." in said


@pytest.mark.parametrize(
    ("column", "claimed", "ours", "said"),
    [
        ("params", 21_797_672, 21_797_672, "reports 21,797,672, here 21,797,672: equal."),
        ("params", 21_797_672, 21_289_802, "here 21,289,802: 507,870 fewer (2.3 %)."),
        ("macs", 3_663_761_408, 3_663_761_409, "here 3,663,761,409: 1 more"),
    ],
)
def test_counts_are_equal_or_off_by_so_many(tmp_path, column, claimed, ours, said):
    assert said in judged(tmp_path, arm("net_se", 0.1, 0.2, **{column: ours}), column, claimed)


def test_a_speed_is_never_comparable_and_what_failed_was_not_measured(tmp_path):
    said = judged(tmp_path / "speed", arm("net_se", 0.5), "train_images_per_second", 1000.0)
    assert "Not comparable: another machine" in said
    assert "Not measured here: 1 oom." in judged(tmp_path / "oom", arm("net_se", None), "params", 5)


def test_in_short_only_counts_that_were_measured_are_told(tmp_path):
    for number, (trials, column, said) in enumerate(
        [
            (arm("net_se", 0.5, params=5), "params", "se: parameters equal"),
            (arm("net_se", 0.5, params=7), "params", "se: parameters 2 more (40 %)"),
            (arm("net_se", None), "params", None),
            (arm("net_se", 0.5), "test_accuracy", None),
        ]
    ):
        run = read(tmp_path / str(number), {"se": trials}, experiment("se", source=claim(column, 5), compare=[]))
        assert count_words(run.source.claims[0], run) == said


def test_a_short_budget_says_how_short(tmp_path):
    assert RECIPES["se_resnet50"].budget == "12ep"
    short = arm("net_se", 0.5, trial={"recipe": "se_resnet50", "batch_size": 128}, epochs=1.0)
    said = told(tmp_path / "short", short)
    words = "its accuracies say nothing about where the source's training ends."
    assert f"se: 1 of 12 epochs, the whole schedule in that time: {words}" in said
    part = arm("net_se", 0.5, epochs=0.25)
    assert "se: 0.250 of 26 epochs" in told(tmp_path / "part", part)
    whole = arm("net_se", 0.5, trial={"recipe": "se_resnet50", "batch_size": 128}, epochs=12.0)
    assert told(tmp_path / "whole", whole) == ""


def test_a_recipe_of_another_version_has_no_length_to_hold_against(tmp_path):
    assert told(tmp_path, arm("net_se", 0.5, trial={"recipe": "gone"}, epochs=0.1)) == ""


def test_a_batch_that_is_not_the_recipes_own_is_named_where_the_rate_stays(tmp_path):
    fixed = arm("net_se", 0.5, trial={"recipe": "se_resnet50", "batch_size": 16}, epochs=12.0)
    assert "se: batch 16 where the recipe has 128, at the same learning rate" in told(tmp_path / "fixed", fixed)
    scaled = arm("net_se", 0.5, trial={"recipe": "common", "batch_size": 16})
    assert told(tmp_path / "scaled", scaled) == ""


def test_stand_in_data_are_named(tmp_path):
    tables = experiment("se", source=claim("test_accuracy", 0.9, **OF_BOOK), compare=[])
    other = told(tmp_path / "other", arm("net_se", 0.5), tables)
    assert "The data are shapes10, the source's figures are of fashion_mnist" in other
    same = arm("net_se", 0.5, trial={"dataset": "fashion_mnist"})
    assert told(tmp_path / "same", same, tables) == ""
    assert "The note above holds" in told(tmp_path / "note", arm("net_se", 0.5), notices=["shapes10 INSTEAD"])


def test_random_weights_are_not_transfer(tmp_path):
    said = told(tmp_path / "random", arm("resnet152_frozen", 0.5))
    assert "se: random weights: this is not transfer learning, and its accuracy is not presented as transfer." in said
    assert told(tmp_path / "real", arm("resnet152_frozen", 0.5, trial={"weights": "default"})) == ""
    wanted = {"suite": {"name": "s", "weights": "default"}}
    assert "not transfer" in told(tmp_path / "suite", arm("resnet152", 0.5), **wanted)
    asked = experiment(arms=[{"name": "se", "model": "resnet152", "weights": "random"}], compare=[])
    assert told(tmp_path / "scratch", arm("resnet152", 0.5), asked, **wanted) == ""
    assert told(tmp_path / "takes none", arm("d2l_resnet18", 0.5), **wanted) == ""


def test_guesses_failures_and_suspects_are_named(tmp_path):
    assert "se: near chance (11.00 %)" in told(tmp_path / "chance", arm("net_se", 0.11))
    assert "Not every planned trial ended ok: se (1 ok, 1 oom)" in told(tmp_path / "oom", arm("net_se", 0.5, None))
    arms = [{"name": "se", "model": "net_se"}, {"name": "other", "model": "net_other"}]
    said = told(tmp_path / "out", arm("net_se", 0.5), experiment(arms=arms, compare=[]))
    assert "Not run, left out of the plan or added since: other." in said
    assert "Not every planned trial" not in said
    records = arm("net_se", 0.5, 0.5, 0.5)
    records[2][1].update({"measuring_version": 1})
    said = told(tmp_path / "old", records)
    version = f"measuring_version 1, not {MEASURING_VERSION}"
    assert f"se (seed 2): measured otherwise than those beside them ({version})" in said
    busy = {"verdict": "suspect", "verdict_reasons": ["the machine was busy"]}
    assert "se is suspect: seed 0: the machine was busy." in told(tmp_path / "busy", arm("net_se", 0.5, **busy))


def test_rows_of_no_arm_are_counted(tmp_path):
    trials = {"se": arm("net_se", 0.5), "gone": arm("net_gone", 0.5)}
    named = [{"name": "se", "trial_ids": [trials["se"][0][0].trial_id]}]
    run = read(tmp_path, trials, experiment("se", source=SOURCE, compare=[]), with_arms=False, arms=named)
    (said,) = caveats(run)
    assert said.startswith("1 trial of the folder could not be assigned to an arm (net_gone) and enters no figure")
