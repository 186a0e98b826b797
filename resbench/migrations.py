"""Older records, read as today's: one function a schema version, each from that version to the next.

``records.jsonl`` is never rewritten. An event is upgraded as it is read, and stays on disk as it was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from resbench.schema import SCHEMA_VERSION

Event = dict[str, Any]


def _from_1(event: Event) -> Event:
    """Version 2 added outcomes in full, verdicts and the version of the measuring code."""
    if event["event"] != "trial":
        return event
    return {
        **event,
        "micro_batch_size": event.get("batch_size"),
        "exit_code": None,
        "signal": None,
        "resumed": 0,
        "verdict": None,
        "verdict_reasons": [],
        "measuring_version": 1,
    }


def _from_2(event: Event) -> Event:
    """Version 3 added cached features, which nothing had before, and arms."""
    return {**event, "cached_features": False} if event["event"] == "trial" else event


def _from_3(event: Event) -> Event:
    """Version 4 added networks of the user's own code, several devices a trial, and nodes of a cluster."""
    return {**event, "code": None, "devices": 1, "node": None} if event["event"] == "trial" else event


def _from_4(event: Event) -> Event:
    """Version 5 added lowered convolutions, which nothing had before."""
    return {**event, "lowering": "off"} if event["event"] in ("trial", "profile") else event


_UPGRADES: dict[int, Callable[[Event], Event]] = {1: _from_1, 2: _from_2, 3: _from_3, 4: _from_4}


def upgrade(event: Event) -> Event:
    """Returns an event as this version would have written it.

    Args:
        event: As it was read, of :data:`~resbench.schema.SCHEMA_VERSION` or older.

    Raises:
        ValueError: There never was such a version.
    """
    version = int(event["schema_version"])
    if version == SCHEMA_VERSION:
        return event
    for older in range(version, SCHEMA_VERSION):
        if older not in _UPGRADES:
            raise ValueError(f"there is no schema version {older}")
        event = _UPGRADES[older](event)
    return {**event, "schema_version": SCHEMA_VERSION}
