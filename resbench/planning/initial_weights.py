"""What each arm's network starts from: named, checked by name and shape, and fetched before anything is measured."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from functools import partial

from resbench.errors import InputError
from resbench.inputs import NAMED_WEIGHTS
from resbench.planning.arms import PlannedArm
from resbench.registry import create_model, described, model_entry, without_memory
from resbench.suite import Suite
from resbench.untrusted import printable, user_path


def name_weights(
    suite: Suite, arms: Sequence[PlannedArm], on_message: Callable[[str], None]
) -> tuple[list[str], list[str]]:
    """Names the initial weights of every arm, and makes sure that they are here.

    Args:
        suite: Whose arms they are.
        arms: From :func:`~resbench.planning.arms.plan_arms`.
        on_message: Told what takes time, and why default weights cannot be had.

    Returns:
        For each arm ``random``, ``default``, or a file's name with the first digits of its sha256; and what the user
        must know, where some had to fall back.

    Raises:
        InputError: Weights are given to networks that take none, or are not there.
    """
    _check_file(suite, arms)
    known = {weights: _identity(weights) for weights in {arm.weights for arm in arms}}  # a file is read once
    identities = [known[arm.weights] for arm in arms]
    for arm, identity in zip(arms, identities, strict=True):
        if arm.stem != "source" and identity != "random":
            raise InputError(
                f"model {arm.model!r} starts from pretrained weights and they fit the source stem only. "
                "Give --stem source, or --weights random, or leave the model out."
            )
    if "default" not in identities:
        return identities, []
    return _with_default(suite, arms, identities, on_message)


def _is_file(weights: str | None) -> bool:
    return weights not in (None, *NAMED_WEIGHTS)


def _check_file(suite: Suite, arms: Sequence[PlannedArm]) -> None:
    """Checks that a given file is for a network that takes weights, and is there."""
    if not _is_file(suite.weights):
        return
    if not any(_is_file(arm.weights) for arm in arms):
        models = ", ".join(dict.fromkeys(arm.model for arm in arms))
        raise InputError(f"weights {suite.weights!r} were given and none of {models} takes weights.")
    if not user_path(str(suite.weights)).is_file():
        raise InputError(f"the weights file {suite.weights!r} does not exist.")


def check_weights_fit(
    suite: Suite, arms: Sequence[PlannedArm], shape: tuple[int, int, int], num_classes: int
) -> list[str]:
    """Checks that a given file fits each network that starts from it.

    Args:
        suite: Whose arms they are.
        arms: From :func:`~resbench.planning.arms.plan_arms`.
        shape: Channels, height and width of the images.
        num_classes: Width of the logits.

    Returns:
        How its names were made to fit, if they were.

    Raises:
        InputError: Names or shapes differ, or a network's builder refuses the file.
    """
    from resbench.models.parts.pretrained import PrefixWarning

    channels, height, width = shape
    told: list[str] = []
    for model in dict.fromkeys(arm.model for arm in arms if _is_file(arm.weights) and arm.stem == "source"):
        size = {"num_classes": num_classes, "in_channels": channels, "input_size": (height, width)}
        # The file is read, and its names and shapes are held to the network's. Other warnings come again in the trial.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                without_memory(partial(create_model, model, **size, weights=suite.weights))  # type: ignore[arg-type]
            except InputError:
                raise
            except Exception as error:  # of a user's builder
                raise InputError(
                    f"{described(model_entry(model))} cannot start from the weights {suite.weights!r} "
                    f"({' '.join(str(error).split())}). Give a state dict of this network."
                ) from error
        told += [f"{model}: {each.message}" for each in caught if issubclass(each.category, PrefixWarning)]
    return told


def _identity(weights: str) -> str:
    """Names weights without a path: a file is known by its name and what it holds."""
    if not _is_file(weights):
        return weights
    path = user_path(weights)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{printable(path.name)}:{digest[:12]}"


def _with_default(
    suite: Suite, arms: Sequence[PlannedArm], identities: list[str], on_message: Callable[[str], None]
) -> tuple[list[str], list[str]]:
    """Fetches torchvision's weights, or falls back where the suite says to what.

    Raises:
        InputError: They cannot be had and there is no fall-back; the message says where to get them.
    """
    from resbench.models.parts.pretrained import WeightsUnavailableError, fetch_default

    try:
        fetch_default(on_message)
    except WeightsUnavailableError as error:
        if suite.fallback_weights is None:
            raise
        on_message(str(error))
        without = [f"{arm.name!r}" for arm, identity in zip(arms, identities, strict=True) if identity == "default"]
        notice = (
            f"pretrained weights are neither on disk nor downloadable here: {', '.join(without)} START FROM RANDOM "
            "WEIGHTS. Their accuracy says nothing about transfer learning. Give a state dict with --weights FILE."
        )
        replaced = [suite.fallback_weights if identity == "default" else identity for identity in identities]
        return replaced, [notice]
    return identities, []
