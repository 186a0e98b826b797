"""What the trials of a plan that are still to run are going to cost: time, memory, disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resbench.budget import parse_budget, plan_spending
from resbench.devices import MIB
from resbench.errors import ResbenchError
from resbench.estimate.arithmetic import Data
from resbench.estimate.cells import Cell, cell_names, cells_of, estimated_cell, recorded_cell
from resbench.estimate.disk import DiskUse, disk_use
from resbench.estimate.measuring import Outcome, measure_networks, network_of
from resbench.executors.child import available_memory_mib
from resbench.executors.interrupts import interruptible
from resbench.inputs import Inputs
from resbench.locks import device_locks
from resbench.noise import REPEATS, steps_to_repeat
from resbench.planning.plan import Plan
from resbench.schema import Trial
from resbench.store import RECORDS, Store

SHORT_STEPS, SHORT_S = 20, 20.0
"""A suite none of whose trials takes more of either is run at once: an estimate would cost more than it is worth."""
RULER_S = 5.0
"""What testing the instruments takes, about."""


class NoEstimateError(ResbenchError):
    """Why there is no estimate; the suite can be run all the same."""


@dataclass(frozen=True)
class Estimate:
    """What the trials that are still to run cost."""

    cells: list[Cell]
    calibration_s: float
    """The instruments tested and the noise floor measured; 0 where that is not asked for."""
    room_mib: float | None
    """The device's memory, or what the host has to give; None where nobody knows."""
    together: int
    """Seeds that train at once."""
    disk: DiskUse
    resumed: int = 0
    """Trials that go on from a checkpoint; they are counted whole."""

    @property
    def expected_s(self) -> dict[str, float]:
        """The wall time of each trial from when its process is there, by id, as far as it is known."""
        known = ((cell, cell.wall_s) for cell in self.cells)
        return {trial.trial_id: wall_s for cell, wall_s in known if wall_s is not None for trial in cell.trials}

    @property
    def whole_s(self) -> dict[str, float]:
        """As ``expected_s``, from before the process is there."""
        start_s = {trial.trial_id: cell.start_s for cell in self.cells for trial in cell.trials}
        return {trial_id: wall_s + start_s[trial_id] for trial_id, wall_s in self.expected_s.items()}

    @property
    def total_s(self) -> float:
        """The wall time of all of them one after another, those aside of which it is not known."""
        walls = (len(cell.trials) * (cell.wall_s + cell.start_s) for cell in self.cells if cell.wall_s is not None)
        return sum(walls) + self.calibration_s


def is_short(trials: Sequence[Trial], data: Callable[[], Data]) -> bool:
    """Says whether no trial takes more than ``SHORT_STEPS`` steps or ``SHORT_S`` seconds; FLOPs always count as more.

    Args:
        trials: What is going to run.
        data: Reads what must be known of the dataset; called where a budget is in epochs.
    """
    return all(_is_short(trial, data) for trial in {replace(trial, seed=0) for trial in trials})


def _is_short(trial: Trial, data: Callable[[], Data]) -> bool:
    """Says so of one trial."""
    budget = parse_budget(trial.budget)
    if budget.unit == "flop":
        return False
    if budget.unit == "s":
        return budget.amount <= SHORT_S
    per_epoch = data().steps_per_epoch(trial.batch_size) if budget.unit == "ep" else 1
    steps = plan_spending(budget, batch_size=trial.batch_size, steps_per_epoch=per_epoch).total_steps
    return steps is not None and steps <= SHORT_STEPS


def read_data(inputs: Inputs) -> Data:
    """Reads a dataset as every trial does, and notes how long that takes.

    Raises:
        InputError: It cannot be read any more.
    """
    began = time.perf_counter()
    dataset = inputs.load(lambda text: None)
    load_s = time.perf_counter() - began
    train, test = dataset.train, dataset.test
    return Data(len(train), len(test), dataset.image_shape, train.images.nbytes / MIB, test.images.nbytes / MIB, load_s)


def estimate_costs(
    plan: Plan,
    waiting: Sequence[Trial],
    folder: Path,
    *,
    data: Callable[[], Data],
    say: Callable[[str], None] = lambda text: None,
) -> Estimate:
    """Estimates what trials cost, from records of their cells or from a few steps of each network.

    Args:
        plan: Whose trials they are.
        waiting: Those that are still to run.
        folder: Where results go; nothing is written there, and it need not exist.
        data: Reads what must be known of the dataset, see :func:`read_data`.
        say: Told what takes time.

    Raises:
        NoEstimateError: Another process uses the device, or this one cannot start any.
        InputError: The folder's records cannot be read, or the dataset.
        KeyboardInterrupt: The user pressed Ctrl-C; the process that measured has been ended.
    """
    cells, names = cells_of(waiting), cell_names(plan)
    rows = _recorded(plan, folder)
    unknown = [cell for cell in cells if cell not in rows]
    outcomes: dict[Trial, Outcome] = {}
    if unknown:
        engine = unknown[0].engine
        try:
            with interruptible(), device_locks(engine.device, engine.devices, on_wait=_refuse_to_wait):
                number = len(set(map(network_of, unknown)))
                say(f"estimating: a few training steps of {number} {'network' if number == 1 else 'networks'}")
                outcomes = measure_networks(unknown, data().shape, plan.conduct)
        except OSError as error:
            raise NoEstimateError(f"no estimate: nothing can be measured ({error})") from error
    found = []
    for cell, trials in cells.items():
        name, every_s = names[trials[0].trial_id], plan.conduct.checkpoint_every_s
        if cell in rows:
            found.append(recorded_cell(name, trials, rows[cell], data(), checkpoint_every_s=every_s))
        else:
            outcome = outcomes[network_of(cell)]
            found.append(estimated_cell(name, trials, outcome, data(), checkpoint_every_s=every_s))
    together = plan.conduct.concurrent_seeds
    checkpoints = folder / "checkpoints"
    return Estimate(
        cells=found,
        calibration_s=_calibration_s(found) if plan.conduct.calibrate and found else 0.0,
        room_mib=_room_mib(plan, outcomes),
        together=together,
        disk=disk_use(found, folder, test_images=data().test_images, together=together),
        resumed=sum((checkpoints / f"{trial.trial_id}.pt").exists() for trial in waiting),
    )


def _refuse_to_wait(waiting: str) -> None:
    """Refuses to wait for a device.

    Raises:
        NoEstimateError: Always.
    """
    raise NoEstimateError(f"no estimate: it would mean {waiting}")


def _recorded(plan: Plan, folder: Path) -> dict[Trial, list[dict[str, Any]]]:
    """Returns the rows of trials that ended well in the folder and say how long they took, by their cell."""
    if not (folder / RECORDS).is_file():
        return {}
    planned = {trial.trial_id: replace(trial, seed=0) for trial in plan.trials}
    last = {event["trial_id"]: event for event in Store(folder).checked() if event["event"] == "trial"}
    rows: dict[Trial, list[dict[str, Any]]] = {}
    for trial_id, row in last.items():
        if trial_id in planned and row["status"] == "ok" and row.get("wall_s") is not None:
            rows.setdefault(planned[trial_id], []).append(row)
    return rows


def _calibration_s(cells: Sequence[Cell]) -> float:
    """Returns what is measured besides the trials: the ruler, and a trial's speed again."""
    first = next((cell for cell in cells if cell.wall_s is not None), None)
    if first is None or first.wall_s is None or first.train_s is None or first.step_s is None:
        return RULER_S
    steps = steps_to_repeat({"step_ms_p50": 1000 * first.step_s, "steps": round(first.train_s / first.step_s)})
    once = (first.eval_s or 0.0) / first.evaluations
    prepared = first.wall_s - first.train_s - (first.eval_s or 0.0)
    return RULER_S + first.start_s + REPEATS * (first.start_s + prepared + steps * first.step_s + once)


def _room_mib(plan: Plan, outcomes: dict[Trial, Outcome]) -> float | None:
    """Returns how much memory the trials' device has."""
    measured = (outcome.measured for outcome in outcomes.values() if outcome.measured)
    of_device = next((one.device_mib for one in measured if one.device_mib is not None), None)
    if of_device is not None or plan.trials[0].engine.device != "cpu":
        return of_device
    limit = plan.conduct.memory_limit_mib
    return available_memory_mib() if limit is None else limit
