"""Tiers: which models the data separate, and which they do not.

Two models share a tier where, and only where, the data do not separate them. Tiers therefore overlap: a model between
two others may be inseparable from either though they differ, and then it stands in the tier of both. Tiers are letters
and a model's are written side by side, the compact letter display of agriculture (Piepho 2004, "An algorithm for a
letter-based representation of all-pairwise comparisons"): ``a`` and ``b`` differ, ``ab`` differs from neither.

Numbered tiers that do not overlap would have to split such a chain somewhere, and rank models that nothing separates,
or lump it together, and lose a difference that is there.

A second letter takes a test that finds a difference, at 5 % after Holm's correction. Where all models are equal, more
than one tier is therefore printed in at most 5 % of experiments, however many models there are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def tier_letters(separated: NDArray[np.bool_]) -> list[str]:
    """Returns the tiers of each model, such as ``a``, ``ab`` and ``b``.

    No two models of a tier are separated, and every two that are not have a tier in common. In the order of the models
    each opens tiers until it shares one with all that it should, the lowest of them first; who fits and is still
    without a tier in common with one of its members joins.

    Args:
        separated: bool [models, models], symmetric, the best model first.
    """
    import numpy as np

    alike = ~np.asarray(separated, dtype=bool)
    np.fill_diagonal(alike, True)
    letters = [""] * len(alike)
    waiting = alike.copy()  # pairs without a tier in common
    tiers = 0
    for first in range(len(alike)):
        while waiting[first].any():
            members = sorted({first, int(np.flatnonzero(waiting[first])[-1])})
            for other in range(len(alike)):
                if other not in members and alike[other, members].all() and waiting[other, members].any():
                    members.append(other)
            waiting[np.ix_(members, members)] = False
            for member in members:
                letters[member] += _letter(tiers)
            tiers += 1
    return letters


def share_tier(one: str, other: str) -> bool:
    """Says whether two models share a tier: whether the data do not separate them.

    Args:
        one: The tiers of a model, as :func:`tier_letters` writes them.
        other: Those of another.
    """
    return not _split(one).isdisjoint(_split(other))


def _split(letters: str) -> set[str]:
    """Returns the tiers of a model one by one."""
    return set(re.findall(r"[a-z]\d*", letters))


def _letter(place: int) -> str:
    """Names a tier: ``a`` to ``z``, then ``a1`` to ``z1`` and so on."""
    round_, letter = divmod(place, 26)
    return f"{chr(ord('a') + letter)}{round_ or ''}"
