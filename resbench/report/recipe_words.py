"""What a recipe is, in words and figures: a column for each that a folder's trials followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resbench.recipes import RECIPES, Augmentation, Recipe, Schedule, Steps, Triangle
from resbench.report.tables import Cell, Table

if TYPE_CHECKING:
    import pandas as pd


def recipe_table(trials: pd.DataFrame) -> Table:
    """Returns a table with a column for each recipe and a row for each thing that it decides.

    Args:
        trials: The columns of ``trials.csv``. A recipe that this version of resbench does not know, of an older one or
            of a stranger's records, is named and not described.
    """
    pairs = trials[["recipe", "batch_size"]].drop_duplicates().to_dict("records")
    batch_sizes: dict[str, list[int]] = {}
    for pair in pairs:
        sizes = batch_sizes.setdefault(str(pair["recipe"]), [])
        if pair["batch_size"] == pair["batch_size"] and pair["batch_size"] is not None:
            sizes.append(int(pair["batch_size"]))
    described = {name: _described(RECIPES[name], sizes) for name, sizes in batch_sizes.items() if name in RECIPES}
    rows = [
        [Cell(what), *(Cell(words[what]) for words in described.values())]
        for what in next(iter(described.values()), {})
    ]
    unknown = [name for name in batch_sizes if name not in RECIPES]
    notes = ["As this version of resbench defines it."] if described else []
    notes += [f"{name} is no recipe that this version of resbench knows." for name in unknown]
    return Table("", ["recipe", *described], rows, notes, frozenset(range(1 + len(described))))


def _described(recipe: Recipe, batch_sizes: list[int]) -> dict[str, str]:
    """Says what a recipe decides."""
    rates = ", ".join(f"{recipe.peak_learning_rate(size):g} at batch size {size:,}" for size in sorted(batch_sizes))
    return {
        "source": recipe.source,
        "optimizer": _optimizer(recipe),
        "peak learning rate": rates or f"{recipe.learning_rate:g}",
        "schedule": schedule_words(recipe.schedule),
        "weight decay": f"{recipe.weight_decay:g}",
        "label smoothing": f"{recipe.label_smoothing:g}",
        "augmentation": augmentation_words(recipe.augmentation),
        "normalisation": {
            "dataset": "mean and deviation of the training images",
            "imagenet": "ImageNet's mean and deviation",
            "none": "pixels in 0..1",
        }[recipe.normalisation],
        "initialisation": {"model": "each network's own", "xavier_uniform": "Xavier, uniform"}[recipe.initialisation],
    }


def _optimizer(recipe: Recipe) -> str:
    """Names the optimizer and its momentum."""
    if recipe.optimizer != "sgd" or not recipe.momentum:
        return {"sgd": "SGD", "adam": "Adam"}[recipe.optimizer]
    return f"SGD, {'Nesterov ' if recipe.nesterov else ''}momentum {recipe.momentum:g}"


def schedule_words(schedule: Schedule) -> str:
    """Says how the learning rate goes.

    Args:
        schedule: Of a recipe.
    """
    if isinstance(schedule, Triangle):
        return (
            f"linear from {schedule.start:g} of the peak up to it over the first {100 * schedule.warmup:g} % of the "
            "budget, then linear to 0"
        )
    if isinstance(schedule, Steps):
        at = ", ".join(f"{100 * milestone:.3g} %" for milestone in schedule.milestones)
        return f"times {schedule.factor:g} at {at} of the budget"
    return "constant"


def augmentation_words(augmentation: Augmentation) -> str:
    """Says what happens to a training image, in its order.

    Args:
        augmentation: Of a recipe.
    """
    jitter = augmentation.colour_jitter
    steps: dict[str, Any] = {
        f"crop after reflecting {augmentation.crop_padding} pixels": augmentation.crop_padding,
        f"resized to {augmentation.resize_ratio:.3g} of the input": augmentation.resize_ratio != 1,
        f"rotated by up to {augmentation.rotation_degrees:g} degrees": augmentation.rotation_degrees,
        "flipped left to right": augmentation.horizontal_flip,
        "flipped upside down": augmentation.vertical_flip,
        "colours jittered": jitter is not None,
        f"gray with a probability of {augmentation.grayscale_probability:g}": augmentation.grayscale_probability,
        f"a square of {augmentation.cutout} pixels cut out": augmentation.cutout,
    }
    return ", ".join(words for words, happens in steps.items() if happens) or "none"
