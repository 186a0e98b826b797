"""What a suite may say beyond its models: arms that differ in more than the network, and what its source said."""

from __future__ import annotations

from typing import Annotated, ClassVar

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
    """A ``[[compare]]`` table: which arm is held against which, and what that is to answer."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    question: Words
    arm: str
    against: str
