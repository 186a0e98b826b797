"""How a folder's test accuracies differ from the first folder's, and whether the seeds separate them.

The test is that of every page, Welch's over the seeds of both sides, which are not paired, for the reasons that
:mod:`resbench.compare` gives; Student's where one side has one seed. Nothing is assumed beforehand: ``compare`` does,
because a person who gates a change must be told something. A table makes many tests and names what they separate, so p
is Holm-corrected for their number. One seed a side has no interval and no p.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from resbench.compare.folders import other_seeds
from resbench.compare.judging import SIGNIFICANCE
from resbench.report.side_by_side.gather import ACCURACY, Alike
from resbench.stats import mean


@dataclass(frozen=True)
class Difference:
    """One model's accuracy in a folder less that in the first folder of its table."""

    points: float
    """Percentage points."""
    half_width: float | None
    """Half the width of its 95 % interval, of this difference alone; ``None`` for one seed a side."""
    p: float | None
    p_holm: float | None
    """Corrected for all tests of the table."""
    notes: tuple[str, ...]
    """What makes it less certain than its p."""

    @property
    def separated(self) -> bool:
        """Whether p, corrected, is below 0.05."""
        return self.p_holm is not None and self.p_holm < SIGNIFICANCE


def differences(one: Alike) -> dict[tuple[int, int], Difference]:
    """Compares the accuracies of a set with those of its first folder.

    Args:
        one: Rows whose accuracies may be compared.

    Returns:
        By place of the row and of the folder; those pairs that both measured.
    """
    import numpy as np

    from resbench.stats.differences import holm, moderated_tests, welch_tests

    first, *others = one.folders
    found: dict[tuple[int, int], Difference] = {}
    for place, row in enumerate(one.rows):
        for folder in others:
            base, cell = row.cells.get(first), row.cells.get(folder)
            if base is None or cell is None or not (base.values(ACCURACY) and cell.values(ACCURACY)):
                continue
            sides = base.values(ACCURACY), cell.values(ACCURACY)
            values = [np.array(side) for side in reversed(sides)]
            student = min(map(len, sides)) == 1
            tested = moderated_tests(*values, deviation=0.0, weight=0.0) if student else welch_tests(*values)
            found[place, folder] = Difference(
                (mean(sides[1]) or 0.0) - (mean(sides[0]) or 0.0),
                None if math.isnan(tested.half_width) else float(tested.half_width),
                None if math.isnan(tested.p) else float(tested.p),
                None,  # known when all are
                tuple(other_seeds(base, cell, ACCURACY)),
            )
    corrected = holm(np.array([np.nan if each.p is None else each.p for each in found.values()])).tolist()
    return {
        key: replace(each, p_holm=None if math.isnan(p) else p)
        for (key, each), p in zip(found.items(), corrected, strict=True)
    }
