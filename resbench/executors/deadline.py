"""When a run has to stop, and which trials may still be begun: for jobs that a scheduler ends after so long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from resbench.errors import InputError
from resbench.schema import Trial
from resbench.units import parse_duration


class OutOfTime(KeyboardInterrupt):
    """The time that a run was given is over, or too short for what waits; the message is the flag that gave it."""


class Deadline:
    """The end of a command's time, whatever it runs until then.

    A trial that would not be over by then is not begun. How long it takes is known from others of its cell, which
    differ in the seed alone, or else from an estimate; one of which nothing is known is taken to last as long as the
    longest so far. The first trial is begun in any case: what is interrupted goes on from its checkpoint, so the same
    command comes to an end however little time it is given.

    Args:
        seconds: How much time there is from now on.
        words: The limit as the user wrote it, such as ``9min``.
        now: Tells the time in seconds.
    """

    def __init__(self, seconds: float, words: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self.words, self.now = words, now
        self.at = now() + seconds
        """On the clock that ``now`` tells."""
        self._begun = False
        self._expected: dict[str, float] = {}
        self._taken: dict[Trial, float] = {}

    @property
    def left_s(self) -> float:
        """How much time is left; negative when it is over."""
        return self.at - self.now()

    def expect(self, walls: Mapping[str, float]) -> None:
        """Takes in an estimate.

        Args:
            walls: Seconds that trials are going to take, by id.
        """
        self._expected.update(walls)

    def lets_begin(self, trial: Trial) -> bool:
        """Says whether a trial may be begun; one that may is taken to be."""
        left_s = self.left_s
        if left_s <= 0:
            return False
        if self._begun and self._wall_s(trial) > left_s:
            return False
        self._begun = True
        return True

    def learn(self, trial: Trial, seconds: float) -> None:
        """Takes in how long a trial took, from before its process was there to its end."""
        cell = _cell(trial)
        self._taken[cell] = max(seconds, self._taken.get(cell, 0.0))

    def check(self) -> None:
        """Checks that there is time left.

        Raises:
            OutOfTime: There is none.
        """
        if self.left_s <= 0:
            raise self.error()

    def error(self) -> OutOfTime:
        """Returns what stops a run."""
        return OutOfTime(f"--stop-after {self.words}")

    def _wall_s(self, trial: Trial) -> float:
        """Returns how long a trial is going to take, as far as that can be told."""
        known = (self._taken.get(_cell(trial)), self._expected.get(trial.trial_id))
        return next((wall for wall in known if wall is not None), max(self._taken.values(), default=0.0))


def deadline_after(text: str) -> Deadline:
    """Begins the time that a command is given.

    Args:
        text: Such as ``9min``.

    Raises:
        InputError: It is no time, or none at all.
    """
    seconds = parse_duration(text, "the time to stop after")
    if seconds <= 0:
        raise InputError(f"the time to stop after is {text!r}: nothing could be run. Give such as 90s, 30min or 2h.")
    return Deadline(seconds, text)


def _cell(trial: Trial) -> Trial:
    """Returns what all seeds of a trial share."""
    return replace(trial, seed=0)
