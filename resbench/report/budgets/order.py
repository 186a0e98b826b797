"""Whether the order of the networks is another one in another setting, and how far the seeds allow to say so.

A network stands above another in a setting where its mean test accuracy is the higher one. That alone is no finding:
small gaps turn around from seed to seed. So each gap is judged in its own setting first, and an order counts as
reversed only where both gaps are judged to be there. Two ways lead to that, and they are kept apart:

* **by the seeds**: Welch's tests of the setting's own page, corrected after Holm for all pairs of its table, with
  every planned seed of both networks ended ``ok``;
* **with an assumed deviation**, where a network has one seed and so no spread of its own: Student's t of the gap over
  the standard deviation that :func:`assumed` gives, corrected after Holm for all such gaps of the setting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from resbench.compare.judging import assumed_deviation
from resbench.report.budgets.settings import Setting
from resbench.stats import standard_deviation
from resbench.stats.differences import SAME, holm
from resbench.stats.power import ALPHA
from resbench.stats.ranking import rank

if TYPE_CHECKING:
    from collections.abc import Mapping

FAILED = "not every planned seed ended ok"
"""Why a gap does not count that seeds or an assumption might have separated."""

Evidence = Literal["seeds", "assumed", "none"]
"""Why two networks count as different in a setting: by their seeds, with an assumed deviation, or not at all."""


@dataclass(frozen=True)
class Deviation:
    """How far single runs of a network are taken to deviate where it has one seed."""

    sd: float
    """Standard deviation of the test accuracy over seeds, a fraction."""
    freedom: int | None
    """Degrees of freedom; ``None`` where it is no estimate from these runs."""
    cells: int
    """How many networks, each in one setting, it is pooled over; 0 where it is from elsewhere."""
    source: str
    """Where it is from, in words."""


@dataclass(frozen=True)
class Gap:
    """How two networks differ in one setting."""

    difference: float
    """Mean test accuracy of the first less that of the second, a fraction."""
    evidence: Evidence
    reason: str
    """Why it does not count; empty where it does."""


@dataclass(frozen=True)
class Reversal:
    """Two networks of which each is above the other in one of two settings."""

    first: str
    """Above in the first setting."""
    second: str
    """Above in the other one."""
    gaps: tuple[Gap, Gap]
    """First less second, in either setting."""

    @property
    def evidence(self) -> Evidence:
        """The weaker one of the two gaps'."""
        found = {gap.evidence for gap in self.gaps}
        if "none" in found:
            return "none"
        return "assumed" if "assumed" in found else "seeds"


@dataclass(frozen=True, eq=False)
class Orders:
    """The order of the networks that two settings share."""

    one: Setting
    other: Setting
    networks: list[str]
    """Those that have an accuracy in both and guess in neither."""
    tau: float | None
    """Kendall's tau-b of their mean accuracies: 1 for one order, -1 for opposite ones; ``None`` where there is none."""
    reversals: list[Reversal] = field(default_factory=list)
    kept: int = 0
    """Pairs in the same order in both, with both gaps separated by the seeds."""

    @property
    def pairs(self) -> int:
        """How many pairs of networks it is about."""
        return math.comb(len(self.networks), 2)

    def reversed_by(self, evidence: Evidence) -> list[Reversal]:
        """Returns the pairs that are reversed with so much evidence."""
        return [each for each in self.reversals if each.evidence == evidence]


def pooled(settings: Iterable[Setting]) -> Deviation | None:
    """Returns the standard deviation over seeds, pooled over all networks that have seeds: sqrt(mean of variances).

    Each variance weighs as much as its degrees of freedom. Networks near chance are left out: they do not deviate
    as others do.

    Returns:
        ``None`` where no network has two seeds, or none of them varies.
    """
    lists = [setting.accuracies(label) for setting in settings for label in setting.ordered]
    several = [values for values in lists if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    squares = sum((len(values) - 1) * (standard_deviation(values) or 0.0) ** 2 for values in several)
    sd = math.sqrt(squares / freedom) if freedom else 0.0
    if sd <= SAME:
        return None
    return Deviation(sd, freedom, len(several), "pooled over what has seeds here")


def assumed(settings: Sequence[Setting], setting: Setting) -> Deviation:
    """Returns how far runs of a setting are taken to deviate where they have one seed.

    That is the deviation pooled over all settings where any network has seeds, and that of ``resbench compare``
    otherwise (:func:`~resbench.compare.judging.assumed_deviation`), by the fewest epochs of the setting.
    """
    found = pooled(settings)
    if found is not None:
        return found
    epochs = [value for label in setting.ordered for value in setting.group.ok(label, "epochs")]
    points, whose = assumed_deviation(min(epochs, default=None))
    return Deviation(points / 100, None, 0, whose)


def judge(setting: Setting, deviation: Deviation) -> dict[tuple[str, str], Gap]:
    """Judges the gap of every two networks of a setting that do not guess.

    Args:
        setting: Whose networks they are.
        deviation: From :func:`assumed`.

    Returns:
        The gaps by their two networks, in the order of the table.
    """
    import numpy as np

    labels = setting.group.labels
    ranking = rank(setting.group.by_seed(labels, "test_accuracy"), [row["planned"] for row in setting.group.rows])
    p_of = {
        frozenset((labels[first], labels[second])): (float(p), int(n))
        for first, second, p, n in zip(ranking.first, ranking.second, ranking.p_holm, ranking.tests.n, strict=True)
    }
    pairs = list(combinations(setting.ordered, 2))
    alone = [
        pair
        for pair in pairs
        if all(map(setting.is_whole, pair)) and min(len(setting.accuracies(label)) for label in pair) == 1
    ]
    corrected = holm(np.array([_assumed_p(setting, pair, deviation) for pair in alone]))
    by_assumption = dict(zip(alone, corrected.tolist(), strict=True))
    return {pair: _gap(setting, pair, p_of.get(frozenset(pair)), by_assumption.get(pair)) for pair in pairs}


def _gap(setting: Setting, pair: tuple[str, str], tested: tuple[float, int] | None, by_assumption: float | None) -> Gap:
    """Says how two networks differ, and why it counts or does not."""
    one, other = ((setting.mean(label) or 0.0) for label in pair)
    difference = one - other
    if not all(map(setting.is_whole, pair)):
        return Gap(difference, "none", FAILED)
    if by_assumption is not None:
        is_there = by_assumption < ALPHA
        return Gap(difference, "assumed" if is_there else "none", "" if is_there else "within the assumed deviation")
    p, seeds = tested or (math.nan, 0)
    if math.isnan(p):
        why = "no test was made" if seeds == 0 else "the same difference in every seed"
        return Gap(difference, "none", why)
    return Gap(difference, "seeds" if p < ALPHA else "none", "" if p < ALPHA else "not separated by the seeds")


def _assumed_p(setting: Setting, pair: tuple[str, str], deviation: Deviation) -> float:
    """Returns the two-sided p of a gap under a deviation that both networks are taken to have."""
    from scipy.special import ndtr, stdtr

    one, other = (setting.accuracies(label) for label in pair)
    error = deviation.sd * math.sqrt(1 / len(one) + 1 / len(other))
    t = abs(sum(one) / len(one) - sum(other) / len(other)) / error
    return 2 * float(ndtr(-t) if deviation.freedom is None else stdtr(deviation.freedom, -t))


def compare_orders(settings: Sequence[Setting]) -> list[Orders]:
    """Compares the order of the networks in every two settings.

    Args:
        settings: Of one collection.
    """
    gaps = {id(setting): judge(setting, assumed(settings, setting)) for setting in settings}
    return [
        _compare(one, other, gaps[id(one)], gaps[id(other)])
        for one, other in combinations(settings, 2)
    ]  # fmt: skip


def _compare(
    one: Setting, other: Setting, gaps: Mapping[tuple[str, str], Gap], others: Mapping[tuple[str, str], Gap]
) -> Orders:
    """Compares the order of the networks in two settings."""
    shared = [label for label in one.ordered if label in other.ordered]
    reversals, kept = [], 0
    for pair in combinations(shared, 2):
        gap, its = gaps[pair], _turned(others, pair)
        if gap.difference * its.difference < 0:
            first, second = pair if gap.difference > 0 else pair[::-1]
            sign = 1 if gap.difference > 0 else -1
            both = tuple(Gap(sign * each.difference, each.evidence, each.reason) for each in (gap, its))
            reversals.append(Reversal(first, second, (both[0], both[1])))
        elif gap.difference * its.difference > 0 and gap.evidence == its.evidence == "seeds":
            kept += 1
    return Orders(one, other, shared, _tau(one, other, shared), reversals, kept)


def _turned(gaps: Mapping[tuple[str, str], Gap], pair: tuple[str, str]) -> Gap:
    """Returns the gap of two networks, whichever of them the setting has first."""
    if pair in gaps:
        return gaps[pair]
    found = gaps[pair[::-1]]
    return Gap(-found.difference, found.evidence, found.reason)


def _tau(one: Setting, other: Setting, shared: Sequence[str]) -> float | None:
    """Returns Kendall's tau-b of the mean accuracies; ``None`` for fewer than two networks, or where all are alike."""
    if len(shared) < 2:
        return None
    from scipy.stats import kendalltau

    means = [[setting.mean(label) or 0.0 for label in shared] for setting in (one, other)]
    if any(len(set(values)) == 1 for values in means):
        return None
    return float(kendalltau(*means).statistic)
