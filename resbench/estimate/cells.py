"""The cells of a plan: trials that differ in nothing but their seed, and what each of them is going to cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from resbench.errors import InputError
from resbench.estimate.arithmetic import Data, kept_mib, trial_times
from resbench.estimate.measuring import Outcome
from resbench.planning.plan import Plan
from resbench.recipes import get_recipe
from resbench.schema import Trial

ESTIMATED = ("measured", "scaled", "recorded")
"""Bases of a cell whose times are known."""


@dataclass(frozen=True)
class Cell:
    """What one of its trials costs; None where that is not known."""

    name: str
    """Its arm's, or its network's."""
    trials: tuple[Trial, ...]
    """Those that are going to run."""
    basis: str
    """``measured``, ``scaled``, ``recorded`` (by trials of it that ended), ``out of memory`` or ``failed``."""
    reason: str = ""
    """Of the last two, in one line."""
    recorded: int = 0
    """How many trials of it were recorded, where that is the basis."""
    step_s: float | None = None
    train_s: float | None = None
    eval_s: float | None = None
    wall_s: float | None = None
    """From when its process is there, as the records have it."""
    start_s: float = 0.0
    """Until its process is there."""
    evaluations: int = 1
    peak_mib: float | None = None
    """What training takes, as the records have it."""
    need_mib: float | None = None
    """What it takes of the device, the dataset's images included; not what libraries take of a host."""
    checkpoint_mib: float = 0.0
    """0 where its training ends before the first one is due, or nothing is known of it."""
    features_once: bool = False
    doubts: tuple[str, ...] = ()
    """Why its times may be too long, where they were measured."""

    @property
    def estimated(self) -> bool:
        """Whether its times are known."""
        return self.basis in ESTIMATED


def cells_of(trials: Sequence[Trial]) -> dict[Trial, list[Trial]]:
    """Groups trials that differ in nothing but their seed; each cell under its trial with seed 0."""
    cells: dict[Trial, list[Trial]] = {}
    for trial in trials:
        cells.setdefault(replace(trial, seed=0), []).append(trial)
    return cells


def cell_names(plan: Plan) -> dict[str, str]:
    """Returns what the cell of each trial is called, by the trial's id."""
    models = {trial.trial_id: trial.model for trial in plan.trials}
    return models | {trial.trial_id: name for name, trials in plan.arms.items() for trial in trials}


def recorded_cell(
    name: str, trials: Sequence[Trial], rows: Sequence[Mapping[str, Any]], data: Data, *, checkpoint_every_s: float
) -> Cell:
    """Returns a cell by its trials that ended well.

    Args:
        name: Its name.
        trials: That are going to run.
        rows: ``trial`` events of the others, with a ``wall_s`` each.
        data: Of the dataset.
        checkpoint_every_s: Of the run.
    """

    def mean(*columns: str) -> float | None:
        known = [row for row in rows if all(row.get(column) is not None for column in columns)]
        return fmean(sum(row[column] for column in columns) for row in known) if known else None

    step_ms, params, trainable = mean("step_ms_p50"), mean("params"), mean("trainable_params")
    train_s, eval_s, evaluations = mean("data_s", "step_s"), mean("eval_s"), mean("epochs")
    peak = mean("peak_memory_allocated_mib")
    taken = mean("peak_memory_reserved_mib") or peak
    recipe = get_recipe(trials[0].recipe)
    has_checkpoint = (train_s or 0.0) + (eval_s or 0.0) > checkpoint_every_s
    kept = kept_mib(recipe, params=round(params or 0), trainable=round(trainable or 0))
    held = data.held_mib(recipe.augmentation.crop_padding)
    return Cell(
        name,
        tuple(trials),
        "recorded",
        recorded=len(rows),
        step_s=None if step_ms is None else step_ms / 1000,
        train_s=train_s,
        eval_s=eval_s,
        wall_s=mean("wall_s"),
        evaluations=max(1, math.ceil(evaluations or 1)),
        peak_mib=peak,
        need_mib=None if taken is None else taken + held,
        checkpoint_mib=kept if has_checkpoint else 0.0,
    )


def estimated_cell(
    name: str, trials: Sequence[Trial], outcome: Outcome, data: Data, *, checkpoint_every_s: float
) -> Cell:
    """Returns a cell by what its network was measured to take.

    Args:
        name: Its name.
        trials: That are going to run.
        outcome: Of measuring its network.
        data: Of the dataset.
        checkpoint_every_s: Of the run.
    """
    cell, measured = Cell(name, tuple(trials), outcome.basis, outcome.reason), outcome.measured
    if measured is None:
        return cell
    try:
        times = trial_times(trials[0], measured, data)
    except InputError as error:
        return replace(cell, basis="failed", reason=str(error))
    held = data.held_mib(get_recipe(trials[0].recipe).augmentation.crop_padding)
    has_checkpoint = times.train_s + times.eval_s > checkpoint_every_s
    return replace(
        cell,
        step_s=times.step_s,
        train_s=times.train_s,
        eval_s=times.eval_s,
        wall_s=times.wall_s,
        start_s=measured.start_s,
        evaluations=times.evaluations,
        peak_mib=measured.peak_mib,
        need_mib=None if measured.taken_mib is None else measured.taken_mib + held,
        checkpoint_mib=measured.state_mib if has_checkpoint else 0.0,
        features_once=measured.head is not None,
        doubts=tuple(measured.doubts),
    )
