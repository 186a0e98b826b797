"""From a suite to its planned trials: every name resolved, every mistake found before anything is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from resbench.budget import plan_spending
from resbench.conduct import Conduct
from resbench.data.datasets import Dataset, DatasetUnavailableError
from resbench.errors import InputError
from resbench.inputs import Inputs
from resbench.measure.flops import count_flops
from resbench.measure.profile import Subject
from resbench.planning.arms import PlannedArm, plan_arms, that_take
from resbench.planning.initial_weights import check_weights_fit, name_weights
from resbench.planning.missing import leave_out_missing
from resbench.planning.precision_choice import settle_precision
from resbench.planning.settings import resolve_conduct, resolve_engine
from resbench.planning.several import check_layers, check_share, notices_of
from resbench.plugins import code_of, import_code, specs_of
from resbench.registry import described, faults
from resbench.schema import Trial, format_input
from resbench.suite import Suite, parse_input


@dataclass(frozen=True)
class Plan:
    """A suite, resolved."""

    suite: Suite
    trials: list[Trial]
    inputs: Inputs
    conduct: Conduct
    notices: list[str]
    """What the user must know, such as a dataset that took another's place."""
    arms: dict[str, list[Trial]] = field(default_factory=dict)
    """The trials of each of the suite's arms, by its name; empty where the suite has none."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Networks that the suite names and that are not there since the code that was to register them is at fault; with
    the reason."""
    data: dict[str, int] = field(default_factory=dict)
    """How many training images, test images and classes the dataset has."""

    @property
    def labels(self) -> dict[str, str]:
        """What progress lines call each trial, by its id: with its arm, where the suite has such."""
        arm_of = {trial.trial_id: name for name, trials in self.arms.items() for trial in trials}
        labels = {trial.trial_id: trial.label for trial in self.trials}
        return {key: f"{label} ({arm_of[key]})" if key in arm_of else label for key, label in labels.items()}


def plan_suite(
    suite: Suite,
    *,
    data_dir: Path | None = None,
    on_message: Callable[[str], None] = lambda message: None,
    missing: dict[str, DatasetUnavailableError] | None = None,
) -> Plan:
    """Resolves a suite on this machine and loads its dataset once, so that bad data is found here.

    Args:
        suite: What to run.
        data_dir: Where downloaded datasets are, or go.
        on_message: Told what takes time.
        missing: Datasets that could not be had a moment ago, by their spec: they are not asked for again, and what
            cannot be had now is added.

    Raises:
        InputError: Any name, number or file of the suite is wrong.
    """
    import_code(suite.imports)
    suite, left_out = leave_out_missing(suite)
    unfit: list[str] = []
    arms = plan_arms(suite, on_left_out=unfit.append, on_message=on_message)
    _check_different(arms)
    engine = resolve_engine(suite.engine)
    conduct = resolve_conduct(suite.run, concurrent_seeds=suite.engine.concurrent_seeds)
    shape = _parse_shape(suite.input) if suite.input is not None else None
    for arm in arms:
        check_share(arm, engine)
    weights, notices = name_weights(suite, arms, on_message)
    if notices:
        arms, weights, dropped = _without_repeats(arms, weights)
        notices += dropped

    inputs, dataset, replaced = _load(suite, arms, data_dir, shape, on_message, {} if missing is None else missing)
    num_classes = _width(suite, dataset)
    images = shape or dataset.image_shape
    notices += check_weights_fit(suite, arms, images, num_classes)
    fitting = that_take(images, num_classes, suite, arms, on_left_out=unfit.append, on_message=on_message)
    arms, weights = [arms[place] for place in fitting], [weights[place] for place in fitting]
    subjects = [Subject(arm.model, arm.stem, images, num_classes, arm.batch_size, engine) for arm in arms]
    engine = settle_precision(engine, subjects, on_message)

    def trial(arm: PlannedArm, start: str, seed: int) -> Trial:
        return Trial(
            model=arm.model,
            stem=arm.stem,
            dataset=dataset.name,
            dataset_fingerprint=dataset.fingerprint,
            num_classes=num_classes,
            input=shape or dataset.image_shape,
            recipe=arm.recipe.name,
            batch_size=arm.batch_size,
            budget=str(arm.budget),
            seed=seed,
            engine=engine,
            weights=start,
            code=code_of(arm.entry),
        )

    seeds = suite.seed_list
    of_arms = [[trial(arm, start, seed) for seed in seeds] for arm, start in zip(arms, weights, strict=True)]
    trials = [of_arms[arm][turn] for turn in range(len(seeds)) for arm in _rotated(len(arms), turn)]
    for arm, (first, *_) in zip(arms, of_arms, strict=True):
        _check_fit(dataset, arm)
        _check_budget(arm, first, len(dataset.train) // arm.batch_size)
        check_layers(arm, first)
    named = {arm.name: planned for arm, planned in zip(arms, of_arms, strict=True)} if suite.arms else {}
    told = [*map(str, faults()), *(f"{name} is left out: {why}" for name, why in left_out.items()), *replaced]
    told += [f"{dataset.name}: {remark}" for remark in dataset.remarks]
    data = {"train_images": len(dataset.train), "test_images": len(dataset.test), "classes": dataset.num_classes}
    return Plan(suite, trials, inputs, conduct, [*told, *notices, *unfit, *notices_of(engine)], named, left_out, data)


def _parse_shape(text: str) -> tuple[int, int, int]:
    """Reads the shape of the images that networks see.

    Raises:
        InputError: It is none, or has channels that images have not.
    """
    channels, height, width = parse_input(text)
    if channels not in (1, 3):
        raise InputError(
            f"the input {text!r} has {channels} channels and images have 1 (gray) or 3. "
            f"Give {format_input((3, height, width))}."
        )
    return channels, height, width


def _load(
    suite: Suite,
    arms: Sequence[PlannedArm],
    data_dir: Path | None,
    shape: tuple[int, int, int] | None,
    on_message: Callable[[str], None],
    missing: dict[str, DatasetUnavailableError],
) -> tuple[Inputs, Dataset, list[str]]:
    """Loads the suite's dataset, or the one it falls back to."""

    def inputs(spec: str) -> Inputs:
        return Inputs(
            spec,
            data_dir,
            resize=_decoded_size(shape, arms),
            weights=suite.weights,
            channels=shape[0] if shape else None,
            train_images=suite.train_images,
            test_images=suite.test_images,
            imports=specs_of(arm.entry for arm in arms),
        )

    chosen, notices = inputs(suite.dataset), []
    try:
        if suite.dataset in missing:
            raise missing[suite.dataset]
        dataset = chosen.load(on_message)
    except DatasetUnavailableError as error:
        is_news = suite.dataset not in missing
        missing[suite.dataset] = error
        if suite.fallback_dataset is None:
            raise
        if is_news:
            on_message(str(error))
        notices.append(
            f"{suite.dataset} is neither on disk nor downloadable here: THIS RUN USES {suite.fallback_dataset} "
            f"INSTEAD. Its accuracies say nothing about {suite.dataset}."
        )
        chosen = inputs(suite.fallback_dataset)
        dataset = chosen.load(on_message)
    return chosen, dataset, notices


def _decoded_size(shape: tuple[int, int, int] | None, arms: Sequence[PlannedArm]) -> tuple[int, int] | None:
    """Returns the height and width that images of mixed sizes are decoded to: the largest that a recipe crops from."""
    if shape is None:
        return None
    ratio = max(arm.recipe.augmentation.resize_ratio for arm in arms)
    return round(shape[1] * max(1.0, ratio)), round(shape[2] * max(1.0, ratio))


def _width(suite: Suite, dataset: Dataset) -> int:
    """Returns the width of the logits.

    Raises:
        InputError: The suite gives one that the dataset's classes do not fit into.
    """
    if suite.num_classes is not None and suite.num_classes < dataset.num_classes:
        raise InputError(
            f"num_classes is {suite.num_classes} and {dataset.name} has {dataset.num_classes} classes: give at least "
            "as many, or leave it out."
        )
    return suite.num_classes or dataset.num_classes


def _check_fit(dataset: Dataset, arm: PlannedArm) -> None:
    """Checks that the dataset fits an arm's batch size and recipe.

    Raises:
        InputError: It does not.
    """
    _, height, width = dataset.image_shape
    recipe, batch_size = arm.recipe, arm.batch_size
    if batch_size > len(dataset.train):
        raise InputError(
            f"the batch size {batch_size} is larger than the training set of {dataset.name} "
            f"({len(dataset.train)} images): no full batch. Give a smaller batch_size (--batch-size)."
        )
    if recipe.augmentation.crop_padding >= min(height, width):
        raise InputError(
            f"recipe {recipe.name!r} reflects {recipe.augmentation.crop_padding} pixels and the images of "
            f"{dataset.name} are only {height}x{width}."
        )


def _check_budget(arm: PlannedArm, trial: Trial, steps_per_epoch: int) -> None:
    """Checks that an arm's budget buys a step; FLOPs are counted only where they are the budget's unit.

    Raises:
        InputError: It buys none, or counts FLOPs and none of the network's can be counted.
    """
    training = None
    if arm.budget.unit == "flop":
        subject = Subject(trial.model, trial.stem, trial.input, trial.num_classes, trial.batch_size, trial.engine)
        flops = count_flops(subject.build, trial.input)
        training = flops.training
        if not (flops.forward and training):
            if arm.entry.origin and not _runs(subject):
                return  # a user's network can fail in any way: its trial says how, and the others run
            why = flops.failure or "it has no multiply-add that a counter knows"
            raise InputError(
                f"the budget {arm.budget} counts FLOPs, and those of {described(arm.entry)} cannot be counted ({why}). "
                "Give a budget of epochs (ep), steps, images (img) or seconds (s), or leave the model out."
            )
    plan_spending(
        arm.budget, batch_size=trial.batch_size, steps_per_epoch=steps_per_epoch, train_flops_per_image=training
    )


def _runs(subject: Subject) -> bool:
    """Returns whether a network runs forward and backward on the processor."""
    try:
        with torch.random.fork_rng(devices=[]):
            subject.build()(torch.zeros(2, *subject.input)).sum().backward()
    except Exception:
        return False
    return True


def _check_different(arms: Sequence[PlannedArm]) -> None:
    """Checks that no two arms are the same trials.

    Raises:
        InputError: Two are.
    """
    seen: list[PlannedArm] = []
    for arm in arms:
        other = next((other for other in seen if replace(other, name=arm.name) == arm), None)
        if other is not None:
            raise InputError(f"the arms {other.name!r} and {arm.name!r} are the same: remove one, or say what differs.")
        seen.append(arm)


def _without_repeats(
    arms: Sequence[PlannedArm], weights: Sequence[str]
) -> tuple[list[PlannedArm], list[str], list[str]]:
    """Leaves out arms that are another one's equal since both start from random weights; says which."""
    fixed = [replace(arm, weights=start) for arm, start in zip(arms, weights, strict=True)]
    kept: list[PlannedArm] = []
    notices = []
    # An arm that was to start from random weights stays, one that fell back to them goes.
    asked = sorted(range(len(arms)), key=lambda place: arms[place].weights != fixed[place].weights)
    for place in asked:
        arm = fixed[place]
        same = next((other for other in kept if replace(other, name=arm.name) == arm), None)
        if same is None:
            kept.append(arm)
        else:
            notices.append(f"arm {arm.name!r} is left out: from random weights it is the same as {same.name!r}.")
    places = [place for place in range(len(arms)) if fixed[place] in kept]
    return [arms[place] for place in places], [weights[place] for place in places], notices


def _rotated(arms: int, turn: int) -> list[int]:
    """Returns the places of the arms, a later one first each turn, so that none always runs on the coolest machine."""
    shift = turn % arms
    return [*range(shift, arms), *range(shift)]
