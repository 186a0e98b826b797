"""What a reader of an experiment's figures must not take from them: each sentence by a rule, only where it holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from resbench.budget import Budget, parse_budget
from resbench.errors import InputError
from resbench.recipes import COMMON, get_recipe
from resbench.report.experiments.runs import ArmRun, ExperimentRun
from resbench.report.numbers import count, names, percent, significant

_SPENT = {
    "ep": ("epochs", "epochs"),
    "steps": ("steps", "steps"),
    "img": ("images_seen", "images"),
    "s": ("train_clock_s", "seconds of the train clock"),
    "flop": ("train_flops_spent", "training FLOPs"),
}
"""Column that tells how much of a budget's unit was spent, and what the unit is called."""
_ROUNDING = 1e-6
"""Relative: a budget short by less than this was spent."""
_MOST_REASONS = 3
"""Suspect seeds of an arm whose reasons are given; the suite's own page has all."""


def caveats(run: ExperimentRun) -> list[str]:
    """Returns every caveat that holds of an experiment.

    Args:
        run: With an arm that has a trial that ended ``ok``.
    """
    arms = [arm for arm in run.arms if arm.ok]
    return [
        *_short_budgets(arms),
        *_other_data(run, arms),
        *_random_weights(arms),
        *_chance(run, arms),
        *_own_batches(arms),
        *_suspects(arms),
        *_elsewhere(arms),
        *_failed(run),
        *_unassigned(run),
    ]


def _short_budgets(arms: list[ArmRun]) -> Iterator[str]:
    """Says which arms trained for less than their recipe's own length."""
    short: dict[tuple[str, str], list[str]] = {}
    for arm in arms:
        for recipe in arm.distinct("recipe"):
            own = recipe_budget(recipe)
            column, words = _SPENT[own.unit] if own else ("", "")
            spent = [float(value) for value in arm.values(column)]
            if own and spent and min(spent) < own.amount * (1 - _ROUNDING):
                whose = "this recipe's" if recipe == COMMON else "the source's"
                text = f"{whole_or_rounded(min(spent))} of {whole_or_rounded(own.amount)} {words}"
                short.setdefault((text, whose), []).append(arm.label)
    for (text, whose), labels in short.items():
        yield (
            f"{names(labels)}: {text}, the whole schedule in that time: {_its(labels)} accuracies say nothing about "
            f"where {whose} training ends."
        )


def recipe_budget(recipe: str) -> Budget | None:
    """Returns a recipe's own length; ``None`` for a recipe that this version does not have."""
    try:
        return parse_budget(get_recipe(recipe).budget)
    except InputError:
        return None


def whole_or_rounded(value: float) -> str:
    """Writes a whole number as it is, and another with three significant digits."""
    return f"{value:,.0f}" if math.isclose(value, round(value), rel_tol=1e-9) else significant(value, 3)


def _other_data(run: ExperimentRun, arms: list[ArmRun]) -> Iterator[str]:
    """Says that data are not those of the source's figures."""
    claimed = list(dict.fromkeys(claim.dataset for claim in (run.source.claims if run.source else ()) if claim.dataset))
    ours = list(dict.fromkeys(dataset for arm in arms for dataset in arm.distinct("dataset")))
    other = [dataset for dataset in ours if dataset not in claimed]
    if claimed and other:
        yield (
            f"The data are {' and '.join(other)}, the source's figures are of {' and '.join(claimed)}: no accuracy on "
            "other data may be held beside them."
        )
    elif run.notices and not claimed:
        yield "The note above holds for every figure here."


def _random_weights(arms: list[ArmRun]) -> Iterator[str]:
    """Says which arms lack the pretrained weights that they are about."""
    labels = [arm.label for arm in arms if arm.lacks_pretraining]
    if labels:
        yield (
            f"{names(labels)}: random weights: this is not transfer learning, and {_its(labels)} accuracy is not "
            "presented as transfer."
        )


def _chance(run: ExperimentRun, arms: list[ArmRun]) -> Iterator[str]:
    """Names the arms that guess, but for pairs whose answers say so already."""
    guessing = [arm.name for arm in arms if arm.guesses]
    told = {
        name for pair in run.compare if {pair.arm, pair.against} <= set(guessing) for name in (pair.arm, pair.against)
    }
    left = [arm for arm in arms if arm.guesses and arm.name not in told]
    if left:
        reached = ", ".join(f"{percent(arm.mean('test_accuracy'))} %" for arm in left)
        labels = names([arm.label for arm in left])
        yield f"{labels}: near chance ({reached}): too little is learnt yet to be compared."


def _own_batches(arms: list[ArmRun]) -> Iterator[str]:
    """Says which arms were not trained with their recipe's own batch, where that leaves its learning rate as it is."""
    found: dict[tuple[int, int], list[str]] = {}
    for arm in arms:
        for name in arm.distinct("recipe"):
            try:
                recipe = get_recipe(name)
            except InputError:  # a recipe of another version
                continue
            for batch in arm.distinct("batch_size"):
                if batch != recipe.batch_size and recipe.reference_batch_size is None:
                    found.setdefault((batch, recipe.batch_size), []).append(arm.label)
    for (batch, own), labels in found.items():
        yield (
            f"{names(labels)}: batch {batch} where the recipe has {own}, at the same learning rate: another training "
            "than the source's."
        )


def _suspects(arms: list[ArmRun]) -> Iterator[str]:
    """Names the suspect rows and their reasons."""
    for arm in arms:
        found = arm.suspects
        if found:
            told = "; ".join(f"seed {seed}: {reasons}" for seed, reasons in found[:_MOST_REASONS])
            more = f"; and {count(len(found) - _MOST_REASONS, 'seed')} more" if len(found) > _MOST_REASONS else ""
            yield f"{arm.label} is suspect: {told}{more}."


def _elsewhere(arms: list[ArmRun]) -> Iterator[str]:
    """Names the rows whose times and memory count for none, and why."""
    found: dict[str, list[str]] = {}
    for arm in arms:
        for row in arm.ok:
            if row["elsewhere"]:
                found.setdefault(row["elsewhere"], []).append(f"{arm.label} (seed {row['seed']})")
    for why, rows in found.items():
        yield (
            f"{names(rows, len(rows))}: measured otherwise than those beside them ({why}): their times and memory "
            "enter no figure."
        )


def _failed(run: ExperimentRun) -> Iterator[str]:
    """Says which arms are not whole."""
    labels = [f"{arm.label} ({arm.endings})" for arm in run.arms if len(arm.ok) < len(arm.trials)]
    if labels:
        yield f"Not every planned trial ended ok: {names(labels, len(labels))}. Those enter no figure."
    left_out = [arm.label for arm in run.arms if not arm.trials]
    if left_out:
        yield f"Not run, left out of the plan or added since: {names(left_out, len(left_out))}."


def _unassigned(run: ExperimentRun) -> Iterator[str]:
    """Says how many rows are of no arm."""
    if run.unassigned:
        models: Iterable[str] = dict.fromkeys(str(row["model"]) for row in run.unassigned)
        yield (
            f"{count(len(run.unassigned), 'trial')} of the folder could not be assigned to an arm "
            f"({names(list(models))}) and enter{'s' if len(run.unassigned) == 1 else ''} no figure here."
        )


def _its(labels: list[str]) -> str:
    return "its" if len(labels) == 1 else "their"
