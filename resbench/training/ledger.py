"""Where a trial's wall time went: parts that add up to the whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

PARTS = ("build", "profile", "compile", "warmup", "data", "step", "eval", "checkpoint")


class Ledger:
    """Adds up seconds by part from its creation on. Parts must not overlap; the rest is ``other``."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._seconds = dict.fromkeys(PARTS, 0.0)

    def add(self, part: str, seconds: float) -> None:
        """Books seconds that were measured elsewhere (by the device's own clock)."""
        self._seconds[part] += seconds

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Books the time that the block takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - began)

    def go_on_from(self, earlier: dict[str, float]) -> None:
        """Counts in what an earlier attempt spent.

        Args:
            earlier: Its :meth:`columns`.
        """
        for part in PARTS:
            self.add(part, earlier[f"{part}_s"])
        self._began -= earlier["wall_s"]

    def __getitem__(self, part: str) -> float:
        """Returns the seconds booked for a part so far."""
        return self._seconds[part]

    def columns(self) -> dict[str, float]:
        """Returns what is booked so far: the ``_s`` columns of a trial's record, which add up to ``wall_s``."""
        wall = time.perf_counter() - self._began
        other = wall - sum(self._seconds.values())
        return {f"{part}_s": seconds for part, seconds in self._seconds.items()} | {
            "other_s": other,
            "wall_s": wall,
        }
