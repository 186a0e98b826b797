"""Amounts as people write them: ``90s``, ``30min``, ``2h``; ``800MiB``, ``8GiB``."""

from __future__ import annotations

import math
import re

from resbench.errors import InputError

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_MIB = {"mib": 1.0, "gib": 1024.0}


def parse_duration(text: str, what: str) -> float:
    """Reads a time such as ``90s``, ``30min`` or ``2h`` and returns seconds.

    Args:
        text: A number that is not negative, and its unit.
        what: What it is for, in a user's words.

    Raises:
        InputError: It is not such a time.
    """
    return _parse(text, what, _SECONDS, "90s, 30min or 2h")


def parse_memory(text: str, what: str) -> int:
    """Reads an amount of memory such as ``800MiB`` or ``8GiB`` and returns MiB, rounded down.

    Raises:
        InputError: It is not such an amount, or less than one MiB.
    """
    amount = int(_parse(text, what, _MIB, "800MiB or 8GiB"))
    if amount < 1:
        raise InputError(f"{what} {text!r} is less than 1MiB. Give such as 800MiB or 8GiB.")
    return amount


def _parse(text: str, what: str, units: dict[str, float], examples: str) -> float:
    """Reads a number and one of the units."""
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]+)\s*", text.lower())
    factor = units.get(match[2]) if match else None
    if match is None or factor is None or not math.isfinite(amount := float(match[1]) * factor):
        raise InputError(f"cannot read {what} {text!r}. Give a number and a unit, such as {examples}.")
    return amount
