"""Arms: networks that differ in more than their architecture, in one suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_folder import make_tiny_folder

from resbench.errors import InputError
from resbench.planning.arms import plan_arms
from resbench.planning.plan import Plan, plan_suite
from resbench.suite import make_suite

ARMS = [
    {"name": "as published", "model": "cnn", "recipe": "se_resnet50"},
    {"name": "control", "model": "resnet34", "recipe": "se_resnet50", "batch_size": 4},
    {"name": "common", "model": "cnn", "budget": "1ep", "stem": "cifar"},
]
MakePlan = Callable[..., Plan]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("arms") / "tiny")


@pytest.fixture
def plan(folder: Path) -> MakePlan:
    def make(**changes: Any) -> Plan:
        data = {"name": "test", "arms": ARMS, "dataset": f"folder:{folder}", "budget": "2ep", "batch_size": 8}
        return plan_suite(make_suite(data, **{"device": "cpu", **changes}))

    return make


def test_an_arm_says_what_differs_and_the_suite_the_rest(plan: MakePlan) -> None:
    planned = plan()
    said = {
        name: (trial.model, trial.recipe, trial.budget, trial.batch_size, trial.stem)
        for name, (trial,) in planned.arms.items()
    }
    assert said == {
        "as published": ("cnn", "se_resnet50", "2ep", 8, "source"),
        "control": ("resnet34", "se_resnet50", "2ep", 4, "source"),
        "common": ("cnn", "common", "1ep", 8, "cifar"),
    }


def test_what_neither_says_is_the_recipes_own() -> None:
    suite = make_suite({"name": "x", "arms": ARMS, "dataset": "shapes10"})
    first, second, third = plan_arms(suite)
    assert (first.batch_size, str(first.budget)) == (128, "12ep")
    assert (second.batch_size, str(second.budget)) == (4, "12ep")
    assert (third.batch_size, str(third.budget)) == (512, "1ep")


def test_every_arm_has_every_seed_and_the_order_rotates(plan: MakePlan) -> None:
    planned = plan(seeds=3)
    names = {trial.trial_id: name for name, trials in planned.arms.items() for trial in trials}
    first, second, third = planned.arms
    assert [(trial.seed, names[trial.trial_id]) for trial in planned.trials] == [
        *((0, first), (0, second), (0, third)),
        *((1, second), (1, third), (1, first)),
        *((2, third), (2, first), (2, second)),
    ]


def test_a_suite_without_arms_has_none(plan: MakePlan, folder: Path) -> None:
    suite = make_suite({"name": "x", "models": ["cnn"], "dataset": f"folder:{folder}", "batch_size": 8}, device="cpu")
    assert plan_suite(suite).arms == {}


@pytest.mark.parametrize(("models", "left"), [(["cnn"], ["as published", "common"]), (["resnet*"], ["control"])])
def test_a_choice_of_networks_is_one_of_arms(plan: MakePlan, models: list[str], left: list[str]) -> None:
    assert list(plan(models=models).arms) == left


def test_a_change_reaches_the_arms_that_do_not_say_it_themselves(plan: MakePlan) -> None:
    planned = plan(recipe="d2l", batch_size=16)
    assert [(trial.recipe, trial.batch_size) for (trial,) in planned.arms.values()] == [
        ("se_resnet50", 16),
        ("se_resnet50", 4),
        ("d2l", 16),
    ]


def test_a_change_that_reaches_no_arm_is_refused(plan: MakePlan) -> None:
    with pytest.raises(InputError, match=r"every arm of .* says its own recipe: 'd2l' would change nothing"):
        plan(arms=ARMS[:2], recipe="d2l")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": ["resnet152"]}, "no arm of the suite 'test' is of resnet152. Its networks: cnn, resnet34"),
        ({"arms": [ARMS[0], {**ARMS[1], "name": "as published"}]}, "two .*arms.* have the same name"),
        ({"arms": [ARMS[0], {**ARMS[0], "name": "again"}]}, "'as published' and 'again' are the same"),
        ({"arms": [{**ARMS[0], "weights": "mine.pt"}]}, "'mine.pt': an arm takes random or default"),
        ({"arms": [{"name": "x"}]}, "'arms.0.model' is missing"),
        ({"arms": [{**ARMS[0], "recipee": "d2l"}]}, "unknown key 'arms.0.recipee', did you mean 'recipe'"),
        ({"arms": [{**ARMS[0], "model": "resnt34"}]}, "unknown model 'resnt34'"),
        ({"arms": [{**ARMS[0], "model": "resnet*"}]}, r"unknown model 'resnet\*'"),
        ({"compare": [{"question": "?", "arm": "as published", "against": "nobody"}]}, "'nobody' is no arm of it"),
        (
            {"source": {"title": "t", "said": ["s"], "claims": [{"arm": "who", "column": "params", "value": 1.0}]}},
            "'who' is no arm of it",
        ),
        ({"source": {"title": "t", "said": []}}, "'source.said' is"),
    ],
)
def test_what_is_wrong_with_an_arm_is_said(plan: MakePlan, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan(**changes)


@pytest.mark.parametrize("recipes", [("common", "resnet152_finetune"), ("resnet152_finetune", "common")])
def test_images_of_mixed_sizes_are_decoded_as_large_as_the_largest_that_an_arm_crops_from(
    plan: MakePlan, recipes: tuple[str, str]
) -> None:
    arms = [{"name": recipe, "model": "cnn", "recipe": recipe} for recipe in recipes]
    assert plan(arms=arms, input="3x256x128").inputs.resize == (300, 150)  # 300/256 of either side
