"""Which cell of one folder is which of another: a join by identity, in time that grows with the number of cells.

Cells that agree in everything find each other first. The rest take, of the same model, what is likest, so that what
is not comparable is refused with the few fields that differ and not as missing on both sides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence

from resbench.compare.cells import LEARNING, SPEED, MeasuredCell, differing

PLANNED = (
    "model", "weights", "stem", "dataset", "dataset_fingerprint", "input", "recipe", "budget", "batch_size",
    "precision", "devices",
)  # fmt: skip
"""What every trial knows of itself, whether it ran or not; what two cells should share longest comes first."""

_LEFT_OUT = (
    ("dataset_fingerprint",), ("precision",), ("batch_size",), ("budget",), ("recipe",), ("stem",), ("input",),
    ("weights",), ("dataset", "dataset_fingerprint"),
)  # fmt: skip
"""What two cells that are otherwise planned alike may differ in, the likeliest change first."""


def pair_cells(
    base: Sequence[MeasuredCell], new: Sequence[MeasuredCell]
) -> tuple[dict[int, MeasuredCell], list[MeasuredCell]]:
    """Finds for each cell of one folder the one of another that it may be compared with, or is likest.

    Args:
        base: The cells of the folder that was.
        new: The cells of the folder that is.

    Returns:
        By index into ``base``: its cell of ``new``; and the cells of ``new`` that are nobody's.
    """
    pairs: dict[int, MeasuredCell] = {}
    taken: set[int] = set()
    for columns in _ways():
        buckets: dict[Hashable, list[int]] = defaultdict(list)
        for index, cell in enumerate(new):
            if index not in taken:
                buckets[_key(cell, columns)].append(index)
        for bucket in buckets.values():
            bucket.reverse()  # the first to be planned is the first to be taken off the end
        for index, cell in enumerate(base):
            if index not in pairs and (bucket := buckets.get(_key(cell, columns), [])):
                if columns in (LEARNING, PLANNED):  # few can share these: the settings that a machine finds
                    bucket.append(bucket.pop(bucket.index(_likest(cell, new, bucket))))
                found = bucket.pop()
                pairs[index] = new[found]
                taken.add(found)
        if len(pairs) == len(base) or len(taken) == len(new):
            break
    return pairs, [cell for index, cell in enumerate(new) if index not in taken]


def _ways() -> Iterator[tuple[str, ...]]:
    """Yields the columns that two cells must share to be a pair, from all of them to the model's name alone."""
    yield (*LEARNING, *SPEED)
    yield LEARNING
    yield PLANNED
    for left_out in _LEFT_OUT:
        yield tuple(column for column in PLANNED if column not in left_out)
    for end in range(len(PLANNED) - 1, 0, -1):
        yield PLANNED[:end]


def _key(cell: MeasuredCell, columns: Sequence[str]) -> Hashable:
    """Returns a cell's values of some columns."""
    return tuple(cell.known[column] for column in columns)


def _likest(cell: MeasuredCell, candidates: Sequence[MeasuredCell], bucket: list[int]) -> int:
    """Returns which of a few cells that were planned alike differs least; the first planned of several."""

    def distance(index: int) -> tuple[int, int, int]:
        other = candidates[index]
        return len(differing(cell, other, LEARNING)), len(differing(cell, other, SPEED)), index

    return min(bucket, key=distance)
