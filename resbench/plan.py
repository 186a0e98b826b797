"""From a suite to its planned trials: every name resolved, every mistake found before anything is measured."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from resbench.budget import Budget, parse_budget, plan_spending
from resbench.conduct import Conduct
from resbench.data.datasets import Dataset, DatasetUnavailableError, load_dataset
from resbench.devices import resolve_device
from resbench.errors import InputError, unknown
from resbench.measure.flops import count_training_flops
from resbench.measure.profile import Subject
from resbench.precision import resolve_precision
from resbench.recipes import Recipe, get_recipe
from resbench.registry import check_stem, create_model, list_models, model_entry
from resbench.schema import EngineSettings, Trial, format_input
from resbench.suite import EngineOptions, RunOptions, Suite, parse_input
from resbench.trial import Inputs
from resbench.units import parse_duration, parse_memory
from resbench.untrusted import printable, user_path

COMPILE_MODES = {
    "off": None,
    "on": "default",
    "max-autotune": "max-autotune-no-cudagraphs",
    "reduce-overhead": "reduce-overhead",
}
"""What ``compile`` may say, and the mode of ``torch.compile`` that it means; ``auto`` is one of the first two."""
SWITCH = ("auto", "on", "off")
WHERE_MEMORY_ENDS = ("record", "accumulate")
"""What ``oom`` may say."""
MEMORY_FORMATS = ("channels_last", "contiguous")


@dataclass(frozen=True)
class Plan:
    """A suite, resolved."""

    suite: Suite
    trials: list[Trial]
    inputs: Inputs
    conduct: Conduct
    notices: list[str]
    """What the user must know, such as a dataset that took another's place."""


def plan_suite(
    suite: Suite, *, data_dir: Path | None = None, on_message: Callable[[str], None] = lambda message: None
) -> Plan:
    """Resolves a suite on this machine and loads its dataset once, so that bad data is found here.

    Args:
        suite: What to run.
        data_dir: Where downloaded datasets are, or go.
        on_message: Told what takes time.

    Raises:
        InputError: Any name, number or file of the suite is wrong.
    """
    models = expand_models(suite.models)
    for model in models:
        check_stem(model_entry(model), suite.stem)
    recipe = get_recipe(suite.recipe)
    budget = parse_budget(suite.budget or recipe.budget)
    if suite.engine.concurrent_seeds > 1 and budget.unit == "s":
        raise InputError(
            f"the budget {budget} is of time, and seeds that train at once take it from each other. "
            "Give another budget, or concurrent_seeds = 1."
        )
    engine = resolve_engine(suite.engine)
    conduct = resolve_conduct(suite.run, concurrent_seeds=suite.engine.concurrent_seeds)
    shape = parse_input(suite.input) if suite.input else None
    _check_weights(suite, models)

    inputs, dataset, notices = _load(suite, data_dir, shape, on_message)
    batch_size = suite.batch_size or recipe.batch_size
    weights = {model: _weights_identity(model, suite.weights) for model in models}  # reads the file: not for each seed
    trials = [
        Trial(
            model=model,
            stem=suite.stem,
            dataset=dataset.name,
            dataset_fingerprint=dataset.fingerprint,
            num_classes=dataset.num_classes,
            input=shape or dataset.image_shape,
            recipe=recipe.name,
            batch_size=batch_size,
            budget=str(budget),
            seed=seed,
            engine=engine,
            weights=weights[model],
        )
        for turn, seed in enumerate(suite.seed_list)
        for model in _rotated(models, turn)
    ]
    _check_fit(dataset, shape, batch_size, recipe)
    _check_budget(budget, trials, len(dataset.train) // batch_size)
    return Plan(suite, trials, inputs, conduct, notices)


def expand_models(names: list[str]) -> list[str]:
    """Returns the registry names that a list of names and wildcards means, each once, in the order given.

    Raises:
        InputError: A name is unknown or a wildcard matches nothing.
    """
    chosen: list[str] = []
    for name in names:
        if any(mark in name for mark in "*?["):
            matches = list_models(name)
            if not matches:
                raise unknown("model pattern", name, list_models())
            chosen += matches
        else:
            chosen.append(model_entry(name).name)
    return list(dict.fromkeys(chosen))


def resolve_engine(options: EngineOptions) -> EngineSettings:
    """Turns every ``auto`` into what this machine has.

    Raises:
        InputError: A setting is unknown, or this machine does not have it.
    """
    if options.compile not in ("auto", *COMPILE_MODES):
        raise unknown("compile mode", options.compile, ("auto", *COMPILE_MODES))
    if options.cuda_graph not in SWITCH:
        raise unknown("cuda_graph setting", options.cuda_graph, SWITCH)
    if options.memory_format not in MEMORY_FORMATS:
        raise unknown("memory format", options.memory_format, MEMORY_FORMATS)
    device = resolve_device(options.device)
    precision = resolve_precision(options.precision, device)
    on_cuda = device.startswith("cuda")
    mode = COMPILE_MODES[("on" if on_cuda else "off") if options.compile == "auto" else options.compile]
    if options.cuda_graph == "on" and not on_cuda:
        raise InputError(f"cuda_graph is on and the device is {device}: only CUDA has graphs. Leave it at auto.")
    if options.cuda_graph == "on" and mode == "reduce-overhead":
        raise InputError(
            "cuda_graph is on and compile is reduce-overhead, which records graphs of its own. Give one of them: "
            "compile = 'on' with cuda_graph, or compile = 'reduce-overhead' without."
        )
    graph = options.cuda_graph != "off" and on_cuda and mode != "reduce-overhead"
    return EngineSettings(
        device,
        precision,
        compile=mode is not None,
        memory_format=options.memory_format,
        cuda_graph=graph,
        compile_mode=mode or "default",
    )


def resolve_conduct(options: RunOptions, *, concurrent_seeds: int = 1) -> Conduct:
    """Reads the amounts of a ``[run]`` table.

    Raises:
        InputError: One of them is wrong.
    """
    if options.oom not in WHERE_MEMORY_ENDS:
        raise unknown("oom setting", options.oom, WHERE_MEMORY_ENDS)
    timeout, limit = options.trial_timeout, options.memory_limit
    return Conduct(
        trial_timeout_s=None if timeout is None else parse_duration(timeout, "the trial timeout"),
        checkpoint_every_s=parse_duration(options.checkpoint_every, "the time between checkpoints"),
        accumulate=options.oom == "accumulate",
        memory_limit_mib=None if limit is None else parse_memory(limit, "the memory limit"),
        concurrent_seeds=concurrent_seeds,
        calibrate=options.calibrate,
    )


def _load(
    suite: Suite,
    data_dir: Path | None,
    shape: tuple[int, int, int] | None,
    on_message: Callable[[str], None],
) -> tuple[Inputs, Dataset, list[str]]:
    """Loads the suite's dataset, or the one it falls back to."""
    resize = shape[1:] if shape else None
    spec, notices = suite.dataset, []
    try:
        dataset = load_dataset(spec, data_dir=data_dir, resize=resize, progress=on_message)
    except DatasetUnavailableError as error:
        if suite.fallback_dataset is None:
            raise
        spec = suite.fallback_dataset
        on_message(str(error))
        notices.append(
            f"{suite.dataset} is neither on disk nor downloadable here: THIS RUN USES {spec} INSTEAD. "
            f"Its accuracies say nothing about {suite.dataset}."
        )
        dataset = load_dataset(spec, data_dir=data_dir, resize=resize, progress=on_message)
    return Inputs(spec, data_dir, resize, suite.weights), dataset, notices


def _check_fit(dataset: Dataset, shape: tuple[int, int, int] | None, batch_size: int, recipe: Recipe) -> None:
    """Checks that the dataset fits the input, the batch size and the recipe.

    Raises:
        InputError: It does not.
    """
    channels, height, width = dataset.image_shape
    if shape and shape[0] != channels:
        raise InputError(
            f"the input {format_input(shape)} has {shape[0]} channels and the images of {dataset.name} have "
            f"{channels}. Give {channels}x{shape[1]}x{shape[2]}."
        )
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
    if recipe.augmentation.colour_jitter and channels != 3:
        raise InputError(f"recipe {recipe.name!r} changes colours and {dataset.name} has {channels} channel(s).")


def _check_budget(budget: Budget, trials: list[Trial], steps_per_epoch: int) -> None:
    """Checks that the budget buys every trial a step; FLOPs are counted only where they are the budget's unit.

    Raises:
        InputError: It buys one of them none.
    """
    for trial in {trial.model: trial for trial in trials}.values():
        flops = None
        if budget.unit == "flop":
            subject = Subject(trial.model, trial.stem, trial.input, trial.num_classes, trial.batch_size, trial.engine)
            with torch.device("meta"):
                flops = count_training_flops(subject.build(), trial.input)
        plan_spending(
            budget,
            batch_size=trial.batch_size,
            steps_per_epoch=steps_per_epoch,
            train_flops_per_image=flops,
        )


def _check_weights(suite: Suite, models: list[str]) -> None:
    """Checks that given weights are for models that take them, fit the stem and, where they are a file, are there.

    Raises:
        InputError: They are not.
    """
    given_file = suite.weights not in {None, "random", "default"}
    if given_file and not any(model_entry(model).accepts_weights for model in models):
        raise InputError(f"weights {suite.weights!r} were given and none of {', '.join(models)} takes weights.")
    if given_file and not user_path(str(suite.weights)).is_file():
        raise InputError(f"the weights file {suite.weights!r} does not exist.")
    for model in models:
        if suite.stem != "source" and _weights_identity(model, suite.weights) != "random":
            raise InputError(
                f"model {model!r} starts from pretrained weights and they fit the source stem only. "
                "Give --stem source, or --weights random, or leave the model out."
            )
    for model in models:
        if given_file and model_entry(model).accepts_weights:
            with torch.device("meta"):  # the file is read, and its names and shapes are held to the network's
                create_model(model, stem=suite.stem, weights=suite.weights)


def _weights_identity(model: str, weights: str | None) -> str:
    """Names a model's initial weights without a path: a file is known by its name and what it holds."""
    entry = model_entry(model)
    if weights is None or not entry.accepts_weights:
        return entry.default_weights
    if weights in {"random", "default"}:
        return weights
    path = user_path(weights)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{printable(path.name)}:{digest[:12]}"


def _rotated(models: list[str], turn: int) -> list[str]:
    """Returns the models with a later one first each turn, so that none always runs on the coolest machine."""
    shift = turn % len(models)
    return models[shift:] + models[:shift]
