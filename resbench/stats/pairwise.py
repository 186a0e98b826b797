"""The rows of ``pairwise.csv``: two models that may be compared each, and how their test accuracies differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from resbench.stats.cells import SHARED, split_cells
from resbench.stats.images import image_interval
from resbench.stats.ranking import pair_reason
from resbench.stats.summary import cell_rows, ranked_groups, rounded

if TYPE_CHECKING:
    import pandas as pd

    from resbench.schema import Hits

PAIR = (
    "group",
    "model",
    "weights",
    "other",
    "other_weights",
    "n",
    "difference",
    "difference_se",
    "difference_ci95",
    "p",
    "tests",
    "p_holm",
    "separated",
    "reason",
    "images",
    "images_low",
    "images_high",
)
"""Columns of ``pairwise.csv`` before those of ``SHARED``. Differences are model less other, fractions."""


def pairwise(trials: pd.DataFrame, hits: Mapping[str, Hits]) -> pd.DataFrame:
    """Returns one row a pair of models that may be compared, the one with the higher mean first.

    Args:
        trials: The columns of ``trials.csv``.
        hits: By trial id, which test images it got right.

    Returns:
        The columns of ``PAIR`` and ``SHARED``:

        * ``group``: as ``summary.csv`` numbers the sets of models that may be compared
        * ``n``: the seeds that ended ``ok``, of the model with fewer; ``difference`` is that of the means,
          ``difference_se`` its standard error, ``difference_ci95`` half the width of its t-interval
        * ``p``: two-sided, of Welch's t-test alone; ``p_holm`` is corrected for the group's number of ``tests``
        * ``separated``: whether ``p_holm`` is below 0.05; ``reason`` says why there is no p
        * ``images_low`` and ``images_high``: the interval of the difference over test images drawn anew, of which there
          are ``images``, seed by seed over those that both have; empty where one of them has no hits, or not as many
          as the others
    """
    import pandas as pd

    trials, places = split_cells(trials)
    rows = cell_rows(trials, places, (*SHARED, "model", "weights"))
    ids = trials["trial_id"].tolist()
    pairs = []
    for number, group in enumerate(ranked_groups(trials, places, rows), start=1):
        ranking, tests = group.ranking, group.ranking.tests
        separated = ranking.separated
        for place, (first, second) in enumerate(zip(ranking.first.tolist(), ranking.second.tolist(), strict=True)):
            model, other = (rows[group.cells[index]] for index in (first, second))
            sides = [
                {seed: hits.get(ids[row]) for seed, row in group.seeds[index].items()} for index in (first, second)
            ]
            images, low, high = _over_images(*sides)
            pairs.append(
                {
                    **{name: other[name] if model[name] is None else model[name] for name in SHARED},
                    "group": number,
                    "model": model["model"],
                    "weights": model["weights"],
                    "other": other["model"],
                    "other_weights": other["weights"],
                    "n": int(tests.n[place]),
                    "difference": rounded(float(tests.difference[place])),
                    "difference_se": rounded(float(tests.error[place])),
                    "difference_ci95": rounded(float(tests.half_width[place])),
                    "p": rounded(float(tests.p[place])),
                    "tests": ranking.number_of_tests,
                    "p_holm": rounded(float(ranking.p_holm[place])),
                    "separated": bool(separated[place]),
                    "reason": pair_reason(int(tests.n[place]), float(tests.p[place])) or math.nan,
                    "images": images,
                    "images_low": rounded(low),
                    "images_high": rounded(high),
                }
            )
    frame = pd.DataFrame(pairs, columns=[*PAIR, *SHARED])
    numbers = [name for name in PAIR if name.startswith(("difference", "p", "images_"))]
    return frame.astype({**dict.fromkeys(numbers, float), "images": "Int64"})


def _over_images(
    first: Mapping[int, Hits | None], second: Mapping[int, Hits | None]
) -> tuple[int | None, float, float]:
    """Returns the number of test images and the interval over them, where every common seed knows its hits.

    Args:
        first: By seed, what a model got right.
        second: What the other did.
    """
    import numpy as np

    seeds = [seed for seed in first if seed in second]
    known = [(one, other) for seed in seeds if (one := first[seed]) and (other := second[seed])]
    lengths = {side.images for pair in known for side in pair}
    if not seeds or len(known) < len(seeds) or len(lengths) != 1 or 0 in lengths:
        return None, math.nan, math.nan
    low, high = image_interval(*(np.stack([pair[side].unpack() for pair in known]) for side in (0, 1)))
    return lengths.pop(), low, high
