"""How the view of a running suite writes times and figures."""

from __future__ import annotations

from datetime import timedelta


def clock(seconds: float) -> str:
    """Writes seconds as ``m:ss``, ``h:mm:ss`` or ``N days, h:mm:ss``."""
    text = str(timedelta(seconds=round(seconds)))
    return text.removeprefix("0:").removeprefix("0") if text.startswith("0:0") else text.removeprefix("0:")


def epochs(epoch: float) -> str:
    """Writes how many epochs have passed, with two decimals where they are not whole."""
    return f"{epoch:.0f}" if float(epoch).is_integer() else f"{epoch:.2f}"


def peak(memory_mib: float | None) -> str:
    """Writes a peak, or that there is none."""
    return "no memory figure" if memory_mib is None else f"peak {memory_mib:,.0f} MiB"
