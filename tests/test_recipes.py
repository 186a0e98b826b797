from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resbench.budget import parse_budget
from resbench.errors import InputError
from resbench.recipes import RECIPES, Augmentation, Constant, Recipe, get_recipe

FRACTIONS = st.floats(0, 1)

# Figures of the sources, as the project's plan states them.
FIGURES = {
    "common": {
        "optimizer": "sgd",
        "learning_rate": 0.4,
        "reference_batch_size": 512,
        "batch_size": 512,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
        "augmentation": Augmentation(crop_padding=4, horizontal_flip=True),
        "initialisation": "model",
    },
    "common_sync_bn": {"sync_batch_norm": True, "learning_rate": 0.4, "reference_batch_size": 512},
    "d2l": {
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "reference_batch_size": None,
        "batch_size": 256,
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "augmentation": Augmentation(),
        "initialisation": "xavier_uniform",
        "schedule": Constant(),
    },
    "se_resnet50": {
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "reference_batch_size": None,
        "batch_size": 128,
        "budget": "12ep",
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "label_smoothing": 0.0,
        "augmentation": Augmentation(),
    },
    "resnet50_adam": {
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "schedule": Constant(),
        "augmentation": Augmentation(),
    },
    "resnet152_finetune": {
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "batch_size": 64,
        "budget": "20ep",
        "schedule": Constant(),
        "normalisation": "imagenet",
        "frozen_batch_norm": "train",
    },
    "resnet152_finetune_bn_eval": {"frozen_batch_norm": "eval"},
    "resnet152_features": {"frozen_batch_norm": "eval", "augmentation": Augmentation(), "normalisation": "imagenet"},
}


@pytest.mark.parametrize(
    ("recipe", "field", "value"),
    [(name, field, value) for name, fields in FIGURES.items() for field, value in fields.items()],
)
def test_a_recipe_has_its_sources_figures(recipe: str, field: str, value: object) -> None:
    assert getattr(get_recipe(recipe), field) == value


def test_every_recipe_is_checked_against_its_source() -> None:
    assert set(FIGURES) == set(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_a_recipe_is_complete_and_found_by_its_name(recipe: Recipe) -> None:
    assert get_recipe(recipe.name) is recipe
    assert recipe.source
    assert recipe.optimizer in {"sgd", "adam"}
    assert recipe.normalisation in {"dataset", "imagenet", "none"}
    assert recipe.frozen_batch_norm in {"train", "eval"}
    assert parse_budget(recipe.budget).unit == "ep"


@pytest.mark.parametrize(
    ("spent", "fraction_of_peak"),
    [(0, 0.2), (0.1, 0.6), (0.2, 1.0), (0.6, 0.5), (1, 0.0)],
)
def test_the_common_schedule_rises_over_a_fifth_of_the_budget_and_falls_to_zero(
    spent: float, fraction_of_peak: float
) -> None:
    assert get_recipe("common").schedule(spent) == pytest.approx(fraction_of_peak, abs=1e-12)


@given(FRACTIONS, FRACTIONS)
def test_the_common_schedule_never_turns_but_at_its_peak(first: float, second: float) -> None:
    schedule = get_recipe("common").schedule
    early, late = sorted((first, second))
    if late <= 0.2:
        assert schedule(early) <= schedule(late) + 1e-12
    if early >= 0.2:
        assert schedule(early) >= schedule(late) - 1e-12


@pytest.mark.parametrize(("batch_size", "peak"), [(512, 0.4), (1024, 0.8), (64, 0.05), (1, 0.4 / 512)])
def test_the_common_peak_scales_linearly_with_the_batch_size(batch_size: int, peak: float) -> None:
    assert get_recipe("common").peak_learning_rate(batch_size) == pytest.approx(peak)


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"common", "common_sync_bn"}))
def test_a_sources_own_learning_rate_is_never_scaled(name: str) -> None:
    recipe = get_recipe(name)
    assert {recipe.peak_learning_rate(size) for size in (1, 64, 4096)} == {recipe.learning_rate}


@pytest.mark.parametrize("epoch", range(12))
@pytest.mark.parametrize("steps_per_epoch", [1, 390, 391])
def test_se_resnet50_learns_at_a_tenth_after_five_epochs_and_a_hundredth_after_ten(
    epoch: int, steps_per_epoch: int
) -> None:
    schedule = get_recipe("se_resnet50").schedule
    total = 12 * steps_per_epoch
    rates = {schedule(step / total) for step in range(epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch)}
    assert list(rates) == [pytest.approx([1, 0.1, 0.01][epoch // 5], rel=1e-12)]


@given(st.sampled_from(sorted(RECIPES)), FRACTIONS)
def test_no_schedule_leaves_the_range_from_zero_to_the_peak(name: str, spent: float) -> None:
    assert -1e-12 <= get_recipe(name).schedule(spent) <= 1 + 1e-12


def test_the_finetuning_augmentation_is_its_sources() -> None:
    augmentation = get_recipe("resnet152_finetune").augmentation
    jitter = augmentation.colour_jitter
    assert (augmentation.rotation_degrees, augmentation.horizontal_flip, augmentation.vertical_flip) == (45, True, True)
    assert jitter is not None
    assert min(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) > 0
    assert augmentation.grayscale_probability > 0


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("resnet152_finetune_bn_eval", {"frozen_batch_norm"}),
        ("resnet152_features", {"frozen_batch_norm", "augmentation"}),
    ],
)
def test_a_variant_differs_from_its_source_in_what_it_is_for_and_says_whose_it_is(name: str, changed: set[str]) -> None:
    source, variant = get_recipe("resnet152_finetune"), get_recipe(name)
    differing = {field for field, value in vars(variant).items() if value != getattr(source, field)}
    assert differing == {"name", "source", *changed}
    assert variant.source.startswith("this project's variant of resnet152_finetune: ")


def test_no_source_says_that_frozen_batch_norm_stays() -> None:
    assert {name for name, recipe in RECIPES.items() if recipe.frozen_batch_norm == "eval"} == {
        "resnet152_finetune_bn_eval",
        "resnet152_features",
    }


def test_an_unknown_recipe_is_an_error_with_the_nearest_and_all_names() -> None:
    with pytest.raises(InputError, match=r"unknown recipe 'comon'\. Did you mean common") as caught:
        get_recipe("comon")
    assert all(name in str(caught.value) for name in RECIPES)
