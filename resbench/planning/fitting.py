"""Which networks can be run as asked: what is asked for by name must, what a wildcard means is left out where not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch

from resbench.errors import InputError, in_one_line
from resbench.libraries import split_name
from resbench.registry import create_model, without_memory
from resbench.schema import format_input

SHOWN = 5
"""Networks that are named of those left out."""
MANY = 30
"""Networks whose check takes so long that it is told of."""


def keep_fitting(
    models: Sequence[str],
    named: Collection[str],
    check: Callable[[str], None],
    *,
    what: str,
    on_left_out: Callable[[str], None],
    on_message: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """Returns the networks that pass a check.

    Args:
        models: Networks' names.
        named: What was asked for: names, and wildcards. Networks that are not among it came by a wildcard.
        check: Raises `InputError` where a network cannot be run as asked.
        what: What they are checked for, such as "the stem 'cifar'".
        on_left_out: Told of those that a wildcard means and that do not pass, and why not.
        on_message: Told before a check of many.

    Raises:
        InputError: One that was asked for by its name does not pass, or none does.
    """
    fitting: list[str] = []
    refused: dict[str, InputError] = {}
    if len(models) >= MANY:
        on_message(f"checking {len(models):,} networks for {what}")
    for model in models:
        try:
            check(model)
        except InputError as error:
            if model in named:
                raise
            refused[model] = error
        else:
            fitting.append(model)
    if not refused:
        return fitting
    first = next(iter(refused))
    if not fitting:
        others = (
            f" The other {len(refused) - 1:,} that the wildcard means do not fit either." if len(refused) > 1 else ""
        )
        raise InputError(f"{refused[first]}{others}") from refused[first]
    on_left_out(
        f"{len(refused):,} of the {len(models):,} networks do not go with {what} and are left out: "
        f"{some_of(list(refused), limit=SHOWN)}. The first: {refused[first]}"
    )
    return fitting


def some_of(names: Sequence[str], *, limit: int) -> str:
    """Writes the first names of many, and how many more there are."""
    more = len(names) - limit
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:limit])} and {more:,} more"


def check_images(model: str, stem: str, shape: tuple[int, int, int], num_classes: int) -> None:
    """Checks that a library's network takes images of a shape, on the meta device unless it needs real tensors.

    The registry's own take all that they can be built for.

    Args:
        model: Its name.
        stem: One that it comes with.
        shape: Channels, height and width of the images.
        num_classes: Width of the logits.

    Raises:
        InputError: It does not take them, or gives something else than logits.
    """
    if not split_name(model)[0]:
        return
    channels, height, width = shape

    def pass_once() -> object:
        network = create_model(
            model, num_classes=num_classes, in_channels=channels, stem=stem, input_size=(height, width)
        )
        try:
            with torch.no_grad():
                return network.train()(torch.zeros(2, *shape))
        except Exception as error:  # whatever a library's code may raise
            raise InputError(
                f"model {model!r} does not take images of {format_input(shape)} with the stem {stem!r} "
                f"({in_one_line(error)}). Give larger ones, such as --input 3x224x224, or leave the model out."
            ) from error

    logits = without_memory(pass_once)
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, num_classes):
        what = "x".join(map(str, logits.shape)) if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
        raise InputError(
            f"model {model!r} is no classifier: of 2 images it makes {what} in the place of logits, 2x{num_classes}. "
            "Leave it out."
        )
