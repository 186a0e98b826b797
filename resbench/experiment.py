"""What a suite may say beyond its models: arms that differ in more than the network, and what its source said."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Words = Annotated[str, Field(min_length=1, max_length=2000)]
Name = Annotated[str, Field(min_length=1, max_length=60)]


class Claim(BaseModel):
    """A figure that a source reports, to be held beside ours: a ``[[source.claims]]`` table."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    arm: str
    """Which arm it is about."""
    column: str
    """Of ``trials.csv``, such as ``test_accuracy`` (a fraction) or ``params``."""
    value: float
    epochs: int | None = Field(default=None, ge=1)
    """After so many epochs, where that decides."""
    dataset: str | None = None
    """On this dataset, where that decides."""


class SourceTable(BaseModel):
    """The ``[source]`` table: where an experiment comes from, and what was said there."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    title: Words
    said: list[Words] = Field(min_length=1)
    """Plain sentences: what the source does and reports."""
    claims: list[Claim] = []


class Arm(BaseModel):
    """An ``[[arms]]`` table: one network as it is trained here. What it leaves out is the suite's."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    name: Name
    model: str
    """A registry name; no wildcard."""
    stem: str | None = None
    recipe: str | None = None
    budget: str | None = None
    batch_size: int | None = Field(default=None, ge=1)
    weights: str | None = None
    """``random`` or ``default``; a file is given for the whole suite."""


ARM_FIELDS = ("stem", "recipe", "budget", "batch_size", "weights")
"""What an arm may say in the place of its suite."""


class Comparison(BaseModel):
    """A ``[[compare]]`` table: which arm is held against which, and what that is to answer.

    Where a suite has no arms, its networks are meant.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    question: Words
    arm: str
    against: str


def is_meant(name: str, models: list[str]) -> bool:
    """Says whether a network is one of those that names and wildcards may mean."""
    return any(name == model or fnmatchcase(name, model) for model in models)


def still_asked(pairs: Any, before: Any, models: Any) -> Any:
    """Leaves out the questions about networks of a suite that were not chosen.

    Args:
        pairs: The suite's ``[[compare]]`` tables, as they are in its file: nothing has been checked.
        before: The networks that the suite names itself.
        models: Those that take their place.

    Returns:
        The tables that are left. What was no question about the suite's own networks stays, for it is to be refused.
    """
    lists = [value for value in (before, models) if isinstance(value, list)]
    if len(lists) < 2 or not isinstance(pairs, list):
        return pairs
    own, chosen = ([model for model in models if isinstance(model, str)] for models in lists)

    def is_left_out(pair: Any) -> bool:
        names: list[Any] = [pair.get("arm"), pair.get("against")] if isinstance(pair, dict) else [None]
        were_meant = all(isinstance(name, str) and is_meant(name, own) for name in names)
        return were_meant and not all(is_meant(name, chosen) for name in names)

    return [pair for pair in pairs if not is_left_out(pair)]
