"""What a suite writes: its results, and checkpoints while its trials train.

The decoded images are in their cache since the suite was planned.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resbench.estimate.cells import Cell

# Of a results folder, generously: the committed ones have less of each.
PAGES_MIB = 2.0  # tables, plots and pages
TRIAL_KIB = 16.0  # a trial's records, its rows and its log
EVALUATION_KIB = 1.5  # an epoch's record and row
IMAGES_PER_BYTE = 6  # test images that a trial got right: a bit each, as base64


@dataclass(frozen=True)
class DiskUse:
    """MiB."""

    results: float
    checkpoints: float
    """At once."""
    free: float

    @property
    def needed(self) -> float:
        """All of it."""
        return self.results + self.checkpoints


def disk_use(cells: Sequence[Cell], folder: Path, *, test_images: int, together: int) -> DiskUse:
    """Returns what trials write and what is free.

    Args:
        cells: What is going to run.
        folder: The results folder; it need not exist.
        test_images: Of the dataset.
        together: How many seeds train at once.

    Raises:
        OSError: The system does not say what is free.
    """
    kib = sum(
        len(cell.trials) * (TRIAL_KIB + cell.evaluations * EVALUATION_KIB + test_images / IMAGES_PER_BYTE / 1024)
        for cell in cells
    )
    # A new checkpoint is on disk before it replaces the one before; both go when the trial has ended.
    checkpoints = [2 * cell.checkpoint_mib * min(together, len(cell.trials)) for cell in cells]
    results = PAGES_MIB + kib / 1024 if cells else 0.0
    return DiskUse(results, max(checkpoints, default=0.0), free_mib(folder))


def free_mib(folder: Path) -> float:
    """Returns what is free where a folder is, or is going to be made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free / 2**20
