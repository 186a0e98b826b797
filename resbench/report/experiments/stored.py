"""``collection.json``: which suites a collection is of, and what their sources said, as its runner wrote it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from resbench.errors import InputError
from resbench.experiment import Arm, Comparison, SourceTable
from resbench.schema import TrialRecord
from resbench.suite import check_folder_name

COLLECTION = "collection.json"

_FIGURES = frozenset(
    column.name for column in fields(TrialRecord) if str(column.type).removesuffix(" | None") in {"int", "float"}
)
"""Columns of ``trials.csv`` that a claim can be about."""


class Experiment(BaseModel):
    """One suite of a collection: its own words, and what they are about."""

    model_config = ConfigDict(extra="ignore")

    description: str = ""
    source: SourceTable | None = None
    arms: list[Arm] = []
    compare: list[Comparison] = []

    @model_validator(mode="after")
    def _figures_are_numbers(self) -> Experiment:
        """Refuses a claim about what no trial has as a number."""
        for claim in self.source.claims if self.source else ():
            if claim.column not in _FIGURES:
                raise ValueError(f"a claim is about {claim.column!r}, which is no number of trials.csv")
        return self


class Collection(BaseModel):
    """All suites that were to be run, in their order."""

    model_config = ConfigDict(extra="ignore")

    name: str
    description: str = ""
    suites: list[str] = Field(min_length=1)
    experiments: dict[str, Experiment]
    missing: dict[str, str] = {}
    """Why a suite was not run, by its name."""

    @field_validator("suites")
    @classmethod
    def _name_folders(cls, suites: list[str]) -> list[str]:
        """Refuses names that would lead out of the collection's folder, and one that stands twice."""
        for name in suites:
            try:
                check_folder_name(name)
            except ValueError as error:
                raise ValueError(f"the suite {name!r} cannot name a folder") from error
        if len(set(suites)) < len(suites):
            raise ValueError("a suite stands twice in it")
        return suites

    @model_validator(mode="after")
    def _knows_every_suite(self) -> Collection:
        """Refuses a suite that nothing is said of."""
        unknown = [name for name in self.suites if name not in self.experiments]
        if unknown:
            raise ValueError(f"the suite {unknown[0]!r} is missing under 'experiments'")
        return self


def read_collection(folder: Path) -> Collection:
    """Reads what a folder of results folders is a collection of.

    Args:
        folder: It holds a ``collection.json``, and a results folder named after each suite that was run.

    Raises:
        InputError: There is no such file, or it is not one that resbench wrote.
    """
    path = folder / COLLECTION
    advice = "`resbench bench` writes it for a collection of suites"
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}. {advice}.") from error
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or brackets beyond Python's limit
        raise InputError(f"{str(path)!r} is not valid JSON ({error}): {advice} anew.") from error
    try:
        return Collection.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(dict.fromkeys(_faults(error.errors())))
        raise InputError(f"{str(path)!r} is no collection of resbench: {faults}. {advice} anew.") from error


def _faults(errors: Iterable[Any]) -> Iterable[str]:
    """Says in a user's words what pydantic found."""
    for fault in errors:
        place = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        yield f"{place!r}: {message[0].lower()}{message[1:]}" if place else message
