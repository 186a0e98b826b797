"""How a value looks in a table, a sentence or on an axis: the one place where numbers become text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from resbench.untrusted import printable

MISSING = "-"
"""Stands where a figure was not measured."""

_MARKUP = re.compile(r"([\\`*\[\]|~])")
_OUTER_UNDERSCORE = re.compile(r"(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")


def present(value: Any) -> bool:
    """Says whether a table's cell holds a value: not ``None``, NaN or ``pandas.NA``."""
    import pandas as pd

    return not pd.isna(value)


def significant(value: float | None, digits: int = 4) -> str:
    """Writes a number with ``digits`` significant digits and thousands separators: ``82,340``, ``37.02``.

    Args:
        value: Any number, or a missing value.
        digits: How many digits count; zeros at the end stay, so that columns read alike.
    """
    if not present(value):
        return MISSING
    number = float(value)  # type: ignore[arg-type]
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    exponent = math.floor(math.log10(abs(number)))
    rounded = round(number, digits - 1 - exponent)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}"


def with_deviation(value: float | None, deviation: float | None = None, digits: int = 4) -> str:
    """Writes a mean and its standard deviation: ``7.3 ± 1.2``, ``3,356 ± 41``; :func:`significant` without one.

    Two digits of the deviation decide how many the mean has, at most four; ``digits`` if it is 0.
    """
    if not present(value) or not present(deviation):
        return significant(value, digits)
    number, spread = float(value), float(deviation)  # type: ignore[arg-type]
    decimals = digits - 1 - _exponent(number)
    if spread:
        decimals = max(min(3 - _exponent(number), 1 - _exponent(spread)), -_exponent(number))
    shown = max(decimals, 0)
    return f"{round(number, decimals):,.{shown}f} ± {round(spread, decimals):,.{shown}f}"


def _exponent(number: float) -> int:
    """Returns the power of ten of a number's first digit; 0 for 0."""
    return int(f"{number:e}".partition("e")[2])


def percent(fraction: float | None) -> str:
    """Writes a fraction (0..1) as percent with two decimals and without the sign: ``95.55``."""
    return f"{100 * float(fraction):.2f}" if present(fraction) else MISSING  # type: ignore[arg-type]


def probability(value: float | None) -> str:
    """Writes a probability in whole percent: ``37 %``, ``<1 %``, ``>99 %``."""
    if not present(value):
        return MISSING
    share = 100 * float(value)  # type: ignore[arg-type]
    if share < 1:
        return "<1 %"
    return ">99 %" if share > 99 else f"{share:.0f} %"


def duration(seconds: float | None) -> str:
    """Writes a time as people say it: ``0.84 s``, ``51.2 s``, ``3 min 12 s``, ``1 h 02 min``."""
    if not present(seconds):
        return MISSING
    value = float(seconds)  # type: ignore[arg-type]
    if value < 59.95:
        return f"{significant(value, 3) if value >= 0.1 else f'{value:.2f}'} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    whole = round(value / 60)
    return f"{whole // 60:,} h {whole % 60:02d} min"


def duration_with(seconds: float | None, deviation: float | None = None) -> str:
    """Writes a mean time and its standard deviation in the smallest unit of the mean: ``4 min 05 s ± 12 s``."""
    if not present(seconds) or not present(deviation):
        return duration(seconds)
    text, spread = duration(seconds), float(deviation)  # type: ignore[arg-type]
    if text.endswith("min"):
        return f"{text} ± {spread / 60:,.0f} min"
    if "min" in text:
        return f"{text} ± {spread:,.0f} s"
    return f"{with_deviation(seconds, spread, 3)} s"


def escape(text: str) -> str:
    """Makes text from a user or a file safe inside Markdown, table cells included, on one line."""
    text = printable(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _OUTER_UNDERSCORE.sub(r"\\_", _MARKUP.sub(r"\\\1", text))


def shorten(text: str, width: int) -> str:
    """Cuts the middle out of a text that is longer than ``width`` characters: both ends tell names apart."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


def count(number: int, noun: str) -> str:
    """Writes a number and its noun: ``1 seed``, ``3 seeds``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def names(labels: Sequence[str], limit: int = 5) -> str:
    """Lists names, the first few of many: ``a, b and c``."""
    shown = list(labels[:limit])
    if len(labels) > limit:
        return f"{', '.join(shown)} and {len(labels) - limit:,} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
