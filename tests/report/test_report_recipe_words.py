from __future__ import annotations

from pathlib import Path

import pytest
from few_records import results_of
from records import make_record, make_trial

from resbench.recipes import RECIPES, Augmentation, ColourJitter, Constant, Steps, Triangle
from resbench.report.recipe_words import augmentation_words, recipe_table, schedule_words


def rows_of(folder: Path, *recipes: str, batch_size: int = 512) -> tuple[dict[str, list[str]], list[str]]:
    """The table of a folder whose trials followed some recipes: cells by the row's name, and the notes."""
    trials = [make_trial(recipe=recipe, batch_size=batch_size) for recipe in recipes]
    table = recipe_table(results_of(folder, *map(make_record, trials)).trials)
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}, table.notes


def test_each_recipe_is_a_column(tmp_path: Path) -> None:
    rows, notes = rows_of(tmp_path, "common", "resnet50_adam")
    assert rows["optimizer"] == ["SGD, Nesterov momentum 0.9", "Adam"]
    assert rows["schedule"] == [
        "linear from 0.2 of the peak up to it over the first 20 % of the budget, then linear to 0",
        "constant",
    ]
    assert rows["augmentation"] == ["crop after reflecting 4 pixels, flipped left to right", "none"]
    assert notes == ["As this version of resbench defines it."]


def test_the_learning_rate_is_that_of_the_batch_size_that_ran(tmp_path: Path) -> None:
    rows, _ = rows_of(tmp_path, "common", "d2l", batch_size=128)
    # common: 0.4 at 512, scaled linearly; d2l: never scaled.
    assert rows["peak learning rate"] == ["0.1 at batch size 128", "0.05 at batch size 128"]


def test_a_recipe_that_is_not_known_any_more_is_named(tmp_path: Path) -> None:
    rows, notes = rows_of(tmp_path, "of-another-time")
    assert rows == {}
    assert notes == ["of-another-time is no recipe that this version of resbench knows."]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_told(name: str, tmp_path: Path) -> None:
    rows, _ = rows_of(tmp_path, name)
    assert all(text for (text,) in rows.values())
    assert rows["source"] == [RECIPES[name].source]


def test_schedules() -> None:
    assert schedule_words(Steps((0.5, 0.75))) == "times 0.1 at 50 %, 75 % of the budget"
    assert schedule_words(Constant()) == "constant"
    assert "first 30 %" in schedule_words(Triangle(warmup=0.3))


def test_augmentations_in_their_order() -> None:
    everything = Augmentation(2, True, 1.25, 45, True, ColourJitter(0.2, 0.1, 0.1, 0.1), 0.1, 8)
    assert augmentation_words(everything) == (
        "crop after reflecting 2 pixels, resized to 1.25 of the input, rotated by up to 45 degrees, flipped left to "
        "right, flipped upside down, colours jittered, gray with a probability of 0.1, a square of 8 pixels cut out"
    )
