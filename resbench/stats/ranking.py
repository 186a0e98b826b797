"""What the accuracies of one group of models allow to be said: pairs, tiers, and the smallest gap to be found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from resbench.stats.differences import Tests, holm, welch_tests
from resbench.stats.power import ALPHA, gaps_of_tests
from resbench.stats.tiers import tier_letters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_PAIRED = 50
"""Models of a group up to which all pairs are compared. Of more, each is compared with the most accurate alone."""
BELOW = f"below tier a: of more than {MOST_PAIRED} models each is compared with the best alone"
"""Why a model has no tier that is separated from the best of so many."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """The models of a group, by their places in it, and what separates them."""

    first: NDArray[np.intp]
    """int [pairs]: of each pair the model with the higher mean; where not all are paired, the best one."""
    second: NDArray[np.intp]
    """int [pairs]: the other."""
    tests: Tests
    """Of first less second, fractions [pairs]."""
    p_holm: NDArray[np.float64]
    """float [pairs]: corrected for all tests of the group."""
    number_of_tests: int
    """What p was corrected for."""
    tiers: list[str | None]
    """A model's letters; ``None`` where it has no tier."""
    reasons: list[str | None]
    """Why a model has no tier; ``None`` where it has one."""

    @property
    def separated(self) -> NDArray[np.bool_]:
        """Bool [pairs]: whether the data tell the two apart."""
        separated: NDArray[np.bool_] = self.p_holm < ALPHA  # NaN is not
        return separated

    def gaps(self, model: int) -> tuple[float, float] | None:
        """Returns the smallest gaps between a model and another that their seeds find with a power of about 80 %.

        Each pair has its own, by the spread of both; these are the medians.

        Returns:
            Fractions: of a test made alone, and of the first of all tests under Holm's correction. ``None`` where no
            pair of the model has two seeds and a spread.
        """
        import numpy as np

        known = ~np.isnan(self.tests.error) & ((self.first == model) | (self.second == model))
        if not known.any():
            return None
        known_tests = self.tests.error[known], self.tests.freedom[known], self.tests.n[known]
        alone, corrected = (
            float(np.median(gaps_of_tests(*known_tests, alpha=alpha)))
            for alpha in (ALPHA, ALPHA / self.number_of_tests)
        )
        return alone, corrected


def rank(accuracies: NDArray[np.float64], planned: Sequence[int]) -> Ranking:
    """Compares the models of a group with each other.

    A model has a tier where every planned seed ended ``ok`` and there are at least two. One that fails some seeds would
    otherwise gain twice: by a mean over those that went well, and by a test so weak that nothing is separated from it.

    Args:
        accuracies: float [models, seeds]: a column a seed, NaN where it did not end ``ok``.
        planned: How many seeds of each model were planned.
    """
    import numpy as np

    present = ~np.isnan(accuracies)
    n = present.sum(axis=1)
    means = np.where(present, accuracies, 0).sum(axis=1) / np.maximum(n, 1)
    measured = [model for model in np.argsort(-means, kind="stable").tolist() if n[model]]
    reasons = [_without_tier(int(ok), of) for ok, of in zip(n, planned, strict=True)]
    judged = [model for model in measured if reasons[model] is None]
    if len(judged) == 1:
        reasons[judged.pop()] = "there is no other model with two seeds"

    everything = len(measured) <= MOST_PAIRED
    best = (judged or measured or [0])[0]
    with_best = [(best, other) for other in measured if other != best]
    pairs = list(combinations(measured, 2)) if everything else with_best
    first, second = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    tests = welch_tests(accuracies[first], accuracies[second])
    # To find the best, all were compared with all: the correction is for that, whichever pairs are kept.
    number = int((~np.isnan(tests.p)).sum()) if everything else math.comb(int((n >= 2).sum()), 2)
    tiers: list[str | None] = [None] * len(accuracies)
    ranking = Ranking(first, second, tests, holm(tests.p, tests=number), number, tiers, reasons)

    separated = np.zeros((len(accuracies), len(accuracies)), dtype=bool)
    separated[first, second] = separated[second, first] = ranking.separated
    if not everything:
        for model in [model for model in judged if separated[best, model]]:
            judged.remove(model)
            reasons[model] = BELOW
    for model, letters in zip(judged, tier_letters(separated[np.ix_(judged, judged)]), strict=True):
        tiers[model] = letters
    return ranking


def pair_reason(n: int, p: float) -> str | None:
    """Says why a pair has no p; ``None`` where it has one.

    Args:
        n: The seeds of the one with fewer.
        p: Of their test, NaN for none.
    """
    if not math.isnan(p):
        return None
    if n < 2:
        return "one seed: no interval and no p" if n else "no seed ended ok"
    return "both are the same under every seed: no spread to test with"


def _without_tier(ok: int, planned: int) -> str | None:
    """Says why the seeds of a model give it no tier; ``None`` where they may."""
    if ok < planned:
        return f"{ok} of {planned} planned seeds ended ok"
    return None if ok > 1 else "one seed: no interval and no tier"
