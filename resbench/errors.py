"""What can go wrong for a user, each with the exit code the command line gives it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class ResbenchError(Exception):
    """An error with one clear message; the command line prints it without a traceback."""

    exit_code = 2


class InputError(ResbenchError):
    """Bad usage or bad input: the message says what was given, what is accepted and what to do."""


class ModelError(ResbenchError):
    """A network is none, or not one from images to logits; the message says whose code is at fault, and where."""

    exit_code = 3


class DuplicateModelError(InputError):
    """A name was registered a second time."""


class RulerError(ResbenchError):
    """The instruments misread quantities that are known, so nothing may be measured with them."""

    exit_code = 3


class ClusterError(ResbenchError):
    """No node of a cluster is left that trials could run on."""

    exit_code = 3


class StorageError(ResbenchError):
    """The records can no longer be written, so nothing more may be measured."""

    exit_code = 3


class NothingMeasuredError(ResbenchError):
    """There is nothing comparable, or nothing was measured."""

    exit_code = 4


def nearest(given: str, accepted: Iterable[str], *, limit: int = 3) -> list[str]:
    """Returns up to ``limit`` of ``accepted`` that look most like ``given``, best first."""
    names = list(accepted)
    close = difflib.get_close_matches(given.lower(), [name.lower() for name in names], n=limit, cutoff=0.5)
    by_lower = {name.lower(): name for name in names}
    return [by_lower[name] for name in close]


def did_you_mean(names: Sequence[str]) -> str:
    """Builds the sentence that offers ``names``, with a space in front; nothing where there are none."""
    return f" Did you mean {' or '.join(names)}?" if names else ""


def unknown(kind: str, given: str, accepted: Iterable[str]) -> InputError:
    """Builds the error for a name that is not one of ``accepted``.

    Args:
        kind: What the name stands for, in a user's words ("model", "recipe").
        given: The name that was given.
        accepted: Every name that would do.
    """
    names = list(accepted)
    hint = did_you_mean(nearest(given, names))
    return InputError(f"unknown {kind} {given!r}.{hint} Accepted: {', '.join(names)}.")


def in_one_line(error: BaseException) -> str:
    """Returns an error's type and the first line of its message, with what to do if an operator has no bfloat16."""
    first = str(error).strip().partition("\n")[0]
    if isinstance(error, RuntimeError) and "BFloat16" in first:  # under autocast, as precision bf16 is
        first += " (an operator of the network has no bf16: give --precision fp32)"
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
