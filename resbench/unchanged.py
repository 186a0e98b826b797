"""A run that goes on in a results folder plans what was planned there: otherwise it is another experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resbench.errors import InputError
from resbench.planning.plan import Plan
from resbench.store import Standing

_MOST_SHOWN = 60
"""Characters of a value that a message shows."""


def check_unchanged(plan: Plan, standing: Standing, folder: Path) -> None:
    """Checks that a plan is the one that the folder's records hold, or that with further arms, such as a control.

    Raises:
        InputError: It is not; the message names what changed, with both values.
    """
    if standing.suite is None:
        return
    before = standing.suite["trials"]
    known_arms = {arm["name"] for arm in standing.suite.get("arms") or ()}
    further = {name: trials for name, trials in plan.arms.items() if known_arms and name not in known_arms}
    later = {trial.trial_id for trials in further.values() for trial in trials}
    now = [trial.to_dict() for trial in plan.trials if trial.trial_id not in later]
    if {trial["trial_id"] for trial in before} == {trial["trial_id"] for trial in now}:
        return
    changes = _changes(before, now)
    raise InputError(
        f"the results folder {str(folder)!r} holds another suite: {'; '.join(changes)}. One folder is one experiment, "
        "planned before it ran: give another one with --out, or the suite as it was."
    )


def _changes(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    """Names the fields of the trials that differ, with all their values before and now."""
    left, right = ([_flat(trial) for trial in trials] for trials in (before, now))
    names = [name for name in dict.fromkeys(name for trial in (*left, *right) for name in trial) if name != "trial_id"]
    changes = []
    for name in names:
        was, is_now = (dict.fromkeys(str(trial.get(name)) for trial in trials) for trials in (left, right))
        if set(was) != set(is_now):
            changes.append(f"{name} was {_listed(was)} and is {_listed(is_now)}")
    return changes or [f"it had {len(before)} trials in other combinations and has {len(now)}"]


def _flat(trial: dict[str, Any]) -> dict[str, Any]:
    """Returns a trial's fields with those of its engine beside them."""
    return {**{name: value for name, value in trial.items() if name != "engine"}, **trial["engine"]}


def _listed(values: dict[str, None]) -> str:
    """Joins values, cut where they are too many."""
    text = ", ".join(values)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"
