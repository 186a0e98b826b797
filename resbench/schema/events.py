"""What a stored event must hold before anything is made of it: a results folder may come from anyone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from reprlib import repr as short_repr
from typing import Any

from resbench.schema.hits import Hits
from resbench.schema.rows import EpochRecord, ProfileRecord, TrialRecord
from resbench.schema.trial import EngineSettings, Trial

_LARGEST = 1e100
"""More than any quantity here; the square of it is still a number."""

_IS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: type(value) is int and -(2**63) <= value < 2**63,
    "float": lambda value: type(value) in (int, float) and abs(value) <= _LARGEST,
    "list[str]": lambda value: isinstance(value, list) and all(isinstance(entry, str) for entry in value),
}
"""Whether a JSON value is one of a column's type; a number fits the frames that it is put into."""


def _types(record: type) -> dict[str, str]:
    """Returns the type of each column, by name."""
    return {column.name: str(column.type).removesuffix(" | None") for column in fields(record)}


def _required(column: Field[Any]) -> bool:
    """Says whether every trial's record has this column: its identity."""
    return column.default is MISSING and column.default_factory is MISSING


_COLUMNS = {"trial": _types(TrialRecord), "epoch": _types(EpochRecord), "profile": _types(ProfileRecord)}
_IDENTITY = (*(column.name for column in fields(TrialRecord) if _required(column)), "weights")
_NEEDED = {
    "trial": ("trial_id", "status"),
    "epoch": ("trial_id", "steps"),
    "profile": (),
    "training": ("trial_id", "steps"),
    "hits": ("trial_id",),
}
_PLAN = {"trial_id": "str", **{name: kind for name, kind in _types(Trial).items() if kind in _IS}}
_PLANNED = ("trial_id", *(column.name for column in fields(Trial) if column.name in _PLAN and _required(column)))
_ENGINE = _types(EngineSettings)


def check_event(event: dict[str, Any], statuses: tuple[str, ...], *, whole: bool = True) -> None:
    """Checks that an event can be put into tables; a kind that is not known is left alone.

    Args:
        event: As it was read, upgraded to this schema.
        statuses: How a trial can end.
        whole: Whether a trial's record must say which trial it is in full, as its row in a table does; a run that goes
            on needs to know how it ended, no more.

    Raises:
        ValueError: Something is missing or is of another type; the message names it.
    """
    kind = event["event"]
    if kind in _NEEDED:
        _check(event, _COLUMNS.get(kind, {"trial_id": "str", "steps": "int"}), needed=_NEEDED[kind])
    if kind == "trial":
        _check(event, {}, needed=_IDENTITY if whole else ())
        if event["status"] not in statuses:
            raise ValueError(f"status is {short_repr(event['status'])}")
    elif kind == "hits":
        _check_hits(event)
    elif kind == "start":
        _check_plan(event.get("trial"))
        _check(event, {"started_at": "str"}, needed=("started_at",))
    elif kind == "suite":
        _check_suite(event)


def _check(data: Any, kinds: dict[str, str], *, needed: tuple[str, ...] = ()) -> None:
    """Checks the values that are there; those that are needed must be."""
    if not isinstance(data, dict):
        raise ValueError(f"{short_repr(data)} stands where names and values belong")
    for name in needed:
        if data.get(name) is None:
            raise ValueError(f"{name} is missing")
    for name, kind in kinds.items():
        value = data.get(name)
        if value is not None and not _IS[kind](value):
            raise ValueError(f"{name} is {short_repr(value)}")


def _check_plan(data: Any) -> None:
    """Checks a planned trial."""
    _check(data, _PLAN, needed=_PLANNED)
    sides = data.get("input")
    if not isinstance(sides, list) or len(sides) != 3 or not all(_IS["int"](side) for side in sides):
        raise ValueError(f"input is {short_repr(sides)}")
    _check(data.get("engine"), _ENGINE)
    try:
        Trial.from_dict(data)
    except (TypeError, ValueError) as error:  # a name too many, or too few
        raise ValueError(f"the trial cannot be read: {error}") from error


def _check_hits(event: dict[str, Any]) -> None:
    """Checks the bits of the test images."""
    try:
        Hits.from_dict(event)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the hits cannot be read: {error}") from error


def _check_suite(event: dict[str, Any]) -> None:
    """Checks what a run was going to do."""
    trials, notices, suite = event.get("trials"), event.get("notices", []), event.get("suite")
    if not isinstance(trials, list):
        raise ValueError(f"trials is {short_repr(trials)}")
    for data in trials:
        _check_plan(data)
    if not _IS["list[str]"](notices):
        raise ValueError(f"notices is {short_repr(notices)}")
    if suite is not None:
        _check(suite, {"name": "str"}, needed=("name",))
    arms = event.get("arms", [])
    if not isinstance(arms, list):
        raise ValueError(f"arms is {short_repr(arms)}")
    for arm in arms:
        _check(arm, {"name": "str", "trial_ids": "list[str]"}, needed=("name", "trial_ids"))
