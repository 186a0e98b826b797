"""What two runs of one suite must have in common: everything but times and what was measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from resbench.store import Results, load_results

MEASURED = (
    *("_s", "_ms", "_p50", "_p90", "_per_second", "_mib", "_at", "_mhz", "_c", "_w", "_j", "_load"),
    *("mfu", "verdict", "verdict_reasons", "resumed"),
)
"""Ends of the names of columns that may differ from run to run."""
_ELSEWHERE = "was lost on"
"""In a note of a row: an attempt at its trial ended with a node of a cluster."""


def differences(clean: Path, other: Path, *, elsewhere: bool = False) -> list[str]:
    """Returns what differs between two results folders of one suite; nothing where they are the same.

    Args:
        clean: Of a run that nothing disturbed.
        other: Of one that was disturbed, and went on.
        elsewhere: Whether the other ran on a cluster, whose rows name their node and what was lost with one.
    """
    left, right = load_results(clean), load_results(other)
    trials = right.trials
    if elsewhere:
        trials = trials.assign(node=left.trials["node"], notes=trials["notes"].map(_without_losses))
    found = [
        *_of_frames("trials", left.trials, trials, ["trial_id"]),
        *_of_frames("epochs", left.epochs, right.epochs, ["trial_id", "epoch"]),
    ]
    if _hits(left) != _hits(right):
        found.append("hits: other test images were right")
    return found


def _of_frames(name: str, left: pd.DataFrame, right: pd.DataFrame, key: list[str]) -> list[str]:
    """Compares two tables row by row."""
    if left[key].to_numpy().tolist() != right[key].to_numpy().tolist():
        return [f"{name}: {len(left)} rows and {len(right)}, or in another order"]
    found = []
    for column in left.columns:
        if column.endswith(MEASURED):
            continue
        pairs = zip(left[column], right[column], strict=True)
        different = sum(not _equal(one, two) for one, two in pairs)
        if different:
            found.append(f"{name}.{column}: {different} of {len(left)} rows differ")
    return found


def _without_losses(notes: Any) -> Any:
    """Returns a row's notes less those of attempts that were lost."""
    if pd.isna(notes):
        return notes
    return "; ".join(note for note in str(notes).split("; ") if _ELSEWHERE not in note)


def _equal(one: Any, two: Any) -> bool:
    """Compares two cells to the bit; two empty ones are equal."""
    if pd.isna(one) or pd.isna(two):
        return bool(pd.isna(one) and pd.isna(two))
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=0.0, abs_tol=0.0)
    return bool(one == two)


def _hits(results: Results) -> dict[str, bytes]:
    return {trial_id: hits.packed for trial_id, hits in results.hits.items()}
