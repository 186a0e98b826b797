"""How long a running suite still takes: from trials that have ended, from how a running one goes, and from a prior."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from resbench.schema import Trial


@dataclass
class _Course:
    """How one trial goes; times are of the clock."""

    began_s: float
    trains_since: tuple[float, float] | None = None
    """When progress was first told, and which fraction of the budget was spent then."""
    told_s: float = 0.0
    """When it was told last."""
    left_s: float | None = None
    """Of wall time, as it was told last."""
    ended: bool = False

    def progress(self, now: float, fraction: float, train_clock_left_s: float) -> None:
        """Stretches what is left on the train clock by what else has taken time since the training began."""
        if self.trains_since is None:
            self.trains_since = now, fraction
        began, first = self.trains_since
        spent = train_clock_left_s * (fraction - first) / (1 - fraction) if fraction < 1 else 0.0
        overhead = max(1.0, (now - began) / spent) if spent > 0 else 1.0
        self.told_s, self.left_s = now, train_clock_left_s * overhead


@dataclass
class _Alike:
    """Trials that differ in nothing but their seed: they take equally long, and may run together."""

    trial_ids: list[str] = field(default_factory=list)
    walls_s: list[float] = field(default_factory=list)
    """Of those that ended well."""


class TimeLeft:
    """Follows a suite's messages: it is called with each.

    What is left of a training is its own ``seconds_left``, of the train clock, times the wall time per second of train
    clock so far: evaluations and checkpoints are in it. What a trial takes from its beginning to its end is the mean
    of those like it that ended well, or else what was expected. Between trials a process starts: that time counts too.

    Args:
        trials: Those that are going to run.
        expected_s: The wall time that each is expected to take, by ``trial_id``, as far as that is known.
        together: How many seeds of a network train at once.
        side_by_side: Whether any trials run at once, on a cluster's nodes; how many those are, shows.
        now: Tells the time in seconds.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        *,
        expected_s: Mapping[str, float] | None = None,
        together: int = 1,
        side_by_side: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now, self._together = now, together
        self._expected_s = dict(expected_s or {})
        self._alike: dict[Trial, _Alike] = {}
        self._of = {trial.trial_id: self._alike.setdefault(replace(trial, seed=0), _Alike()) for trial in trials}
        for trial_id, alike in self._of.items():
            alike.trial_ids.append(trial_id)
        self._courses: dict[str, _Course] = {}
        self._side_by_side, self._running, self._at_once = side_by_side, 0, 1
        self._idle_since: float | None = None
        self._gaps_s: list[float] = []

    def __call__(self, trial: Trial, kind: str, data: dict[str, Any]) -> None:
        """Follows one message of a trial."""
        now = self._now()
        course = self._courses.get(trial.trial_id) or self._begin(trial.trial_id, now)
        if kind == "training":
            course.trains_since = course.left_s = None
        elif kind == "progress":
            course.progress(now, data["fraction"], data["seconds_left"])
        elif kind == "trial":
            course.ended = True
            self._running -= 1
            if data["status"] == "ok" and not data.get("resumed"):  # one that went on took less than a whole one
                self._of[trial.trial_id].walls_s.append(now - course.began_s)
            if not self._running:
                self._idle_since = now

    def _begin(self, trial_id: str, now: float) -> _Course:
        """Notes that a trial begins, and how long nothing ran before it."""
        if self._idle_since is not None:
            self._gaps_s.append(now - self._idle_since)
            self._idle_since = None
        self._courses[trial_id] = _Course(now)
        self._running += 1
        self._at_once = max(self._at_once, self._running)
        return self._courses[trial_id]

    def of_trial(self, trial_id: str) -> float | None:
        """Returns the wall seconds that a trial still takes.

        Returns:
            ``None`` where nothing tells it, what was expected has passed before its training began, or it has ended.
        """
        course, whole = self._courses.get(trial_id), self._whole_s(trial_id)
        if course is None:
            return whole
        if course.ended:
            return None
        if course.left_s is not None:
            return max(0.0, course.left_s - (self._now() - course.told_s))
        left = None if whole is None else whole - (self._now() - course.began_s)
        return left if left is not None and left > 0 else None

    def of_suite(self) -> float | None:
        """Returns the wall seconds that all trials together still take, ``None`` where one of them is not known.

        Side by side they take at least as long as the longest that runs, and at least their share of all.
        """
        gap = fmean(self._gaps_s) if self._gaps_s else 0.0
        total = longest = 0.0
        for alike in self._alike.values():
            running, groups = self._ahead(alike)
            lefts = [left for left in map(self.of_trial, running) if left is not None]
            waiting = [self._whole_s(one) for one in alike.trial_ids if one not in self._courses] if groups else []
            wholes = [whole for whole in waiting if whole is not None]
            if bool(lefts) < bool(running) or len(wholes) < len(waiting):
                return None
            longest = max((longest, *lefts))
            total += sum(lefts) if self._side_by_side else max(lefts, default=0.0)
            total += groups * (max(wholes, default=0.0) + gap)
        return max(longest, total / self._at_once) if self._side_by_side else total

    def _whole_s(self, trial_id: str) -> float | None:
        """Returns the wall seconds from a trial's beginning to its end."""
        walls = self._of[trial_id].walls_s
        return fmean(walls) if walls else self._expected_s.get(trial_id)

    def _ahead(self, alike: _Alike) -> tuple[list[str], int]:
        """Returns which of some trials run, and how many groups of them, run together, have not begun."""
        courses = [(one, self._courses[one]) for one in alike.trial_ids if one in self._courses]
        groups = math.ceil(len(alike.trial_ids) / self._together)
        return [one for one, course in courses if not course.ended], groups - math.ceil(len(courses) / self._together)
