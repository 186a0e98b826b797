"""A suite's arms with everything resolved: one a network, or as its ``[[arms]]`` tables have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resbench.budget import Budget, parse_budget
from resbench.errors import InputError
from resbench.experiment import Arm
from resbench.inputs import NAMED_WEIGHTS
from resbench.libraries import no_match
from resbench.planning.fitting import check_images, keep_fitting
from resbench.recipes import Recipe, get_recipe
from resbench.registry import ModelEntry, check_stem, list_models, model_entry
from resbench.schema import format_input
from resbench.suite import Suite


@dataclass(frozen=True)
class PlannedArm:
    """One network as it is going to be trained; its trials differ in their seed only."""

    name: str
    """The arm's own, or the network's."""
    entry: ModelEntry
    stem: str
    recipe: Recipe
    budget: Budget
    batch_size: int
    weights: str
    """What it is to start from: ``random``, ``default`` or a file's path."""

    @property
    def model(self) -> str:
        """The network's name."""
        return self.entry.name


def plan_arms(
    suite: Suite,
    *,
    on_left_out: Callable[[str], None] = lambda text: None,
    on_message: Callable[[str], None] = lambda text: None,
) -> list[PlannedArm]:
    """Resolves a suite's arms, or the networks that it names, in the order given.

    Args:
        suite: Whose arms they are.
        on_left_out: Told of networks that a wildcard means and that do not come with the suite's stem.
        on_message: Told of what takes time.

    Raises:
        InputError: A name, a stem or a budget is wrong, or weights that a single arm names are a file.
    """
    arms = _chosen(suite)
    if not suite.arms:
        fitting = keep_fitting(
            [arm.model for arm in arms],
            suite.models,
            lambda model: check_stem(model_entry(model), suite.stem),
            what=f"the stem {suite.stem!r}",
            on_left_out=on_left_out,
            on_message=on_message,
        )
        arms = [arm for arm in arms if arm.model in fitting]
    return [_resolve(arm, suite) for arm in arms]


def that_take(
    images: tuple[int, int, int],
    num_classes: int,
    suite: Suite,
    arms: Sequence[PlannedArm],
    *,
    on_left_out: Callable[[str], None],
    on_message: Callable[[str], None],
) -> list[int]:
    """Returns the places of the arms whose networks take the suite's images.

    Args:
        images: Their channels, height and width.
        num_classes: Width of the logits.
        suite: Whose arms they are.
        arms: From :func:`plan_arms`.
        on_left_out: Told of networks that a wildcard means and that do not.
        on_message: Told of what takes time.

    Raises:
        InputError: A network that the suite names does not.
    """
    if suite.arms:
        for model, stem in dict.fromkeys((arm.model, arm.stem) for arm in arms):
            check_images(model, stem, images, num_classes)
        return list(range(len(arms)))
    fitting = keep_fitting(
        [arm.model for arm in arms],
        suite.models,
        lambda model: check_images(model, suite.stem, images, num_classes),
        what=f"images of {format_input(images)}",
        on_left_out=on_left_out,
        on_message=on_message,
    )
    return [place for place, arm in enumerate(arms) if arm.model in fitting]


def _chosen(suite: Suite) -> list[Arm]:
    """Returns the arms of the chosen networks; a suite without arms has one for each network.

    Raises:
        InputError: A name is unknown, or no arm is of a network that was chosen.
    """
    if not suite.arms:
        models = expand_models(suite.models)
        for name in (name for pair in suite.compare for name in (pair.arm, pair.against)):
            if name not in models:  # a wildcard could mean it, and does not: there is no such network
                raise InputError(
                    f"a question of the suite {suite.name!r} is about {name!r}, which is none of its networks: "
                    f"{', '.join(models)}."
                )
        return [Arm(name=model, model=model) for model in models]
    if not suite.models:
        return suite.arms
    wanted = expand_models(suite.models)
    chosen = [arm for arm in suite.arms if arm.model in wanted]
    if not chosen:
        there = ", ".join(dict.fromkeys(arm.model for arm in suite.arms))
        raise InputError(f"no arm of the suite {suite.name!r} is of {', '.join(wanted)}. Its networks: {there}.")
    return chosen


def _resolve(arm: Arm, suite: Suite) -> PlannedArm:
    """Fills in what an arm leaves to its suite, and the suite to the recipe."""
    entry, stem = model_entry(arm.model), arm.stem or suite.stem
    check_stem(entry, stem)
    recipe = get_recipe(arm.recipe or suite.recipe)
    budget = parse_budget(next(one for one in (arm.budget, suite.budget, recipe.budget) if one is not None))
    if suite.engine.concurrent_seeds > 1 and budget.unit == "s":
        raise InputError(
            f"the budget {budget} is of time, and seeds that train at once take it from each other. "
            "Give another budget, or concurrent_seeds = 1."
        )
    if arm.weights not in (None, *NAMED_WEIGHTS):
        raise InputError(
            f"the arm {arm.name!r} has the weights {arm.weights!r}: an arm takes random or default. Give a file for "
            "the whole suite, with the key 'weights' or --weights."
        )
    return PlannedArm(
        name=arm.name,
        entry=entry,
        stem=stem,
        recipe=recipe,
        budget=budget,
        batch_size=arm.batch_size or suite.batch_size or recipe.batch_size,
        weights=_weights(arm, suite, entry),
    )


def _weights(arm: Arm, suite: Suite, entry: ModelEntry) -> str:
    """Returns what an arm starts from: its own word, else the suite's; a file given for the suite is the default."""
    if not entry.accepts_weights:
        return entry.default_weights
    given_file = suite.weights if suite.weights not in (None, *NAMED_WEIGHTS) else None
    if arm.weights == "default" and given_file:
        return given_file
    return arm.weights or suite.weights or entry.default_weights


def expand_models(names: list[str]) -> list[str]:
    """Returns the networks that a list of names and wildcards means, each once, in the order given.

    A wildcard means networks of the registry, or of a library where it begins with its name (``timm:resnet*``).

    Raises:
        InputError: A name is unknown or a wildcard matches nothing.
    """
    chosen: list[str] = []
    for name in names:
        if any(mark in name for mark in "*?["):
            matches = list_models(name)
            if not matches:
                raise no_match(name, list_models())
            chosen += matches
        else:
            chosen.append(model_entry(name).name)
    return list(dict.fromkeys(chosen))
