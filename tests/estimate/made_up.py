"""Measurements and plans that nobody made, for arithmetic that can be done by hand."""

from __future__ import annotations

from typing import Any

from resbench.conduct import Conduct
from resbench.estimate.arithmetic import Data
from resbench.estimate.cells import Cell
from resbench.estimate.disk import DiskUse
from resbench.estimate.estimate import Estimate
from resbench.estimate.measurement import HeadMeasurement, Measurement
from resbench.inputs import Inputs
from resbench.planning.plan import Plan
from resbench.schema import EngineSettings, Trial
from resbench.suite import make_suite

DATA = Data(train_images=1000, test_images=250, shape=(3, 8, 8), train_mib=40.0, test_mib=10.0, load_s=0.5)
"""Ten steps an epoch and three evaluation batches, at BATCH images each."""
BATCH = 100


def trial(model: str = "cnn", seed: int = 0, **changes: Any) -> Trial:
    values = {
        "stem": "source",
        "dataset": "tiny",
        "dataset_fingerprint": "0" * 64,
        "num_classes": 10,
        "input": (3, 8, 8),
        "recipe": "common",
        "batch_size": BATCH,
        "budget": "3ep",
        "engine": EngineSettings("cpu", "fp32"),
    }
    return Trial(model=model, seed=seed, **{**values, **changes})


def measurement(**changes: Any) -> Measurement:
    """A step of 0.25 s with its batch; powers of two, so that sums are exact."""
    values: dict[str, Any] = {
        "setup_s": 1.0,
        "build_s": 0.125,
        "count_s": 0.5,
        "single_s": 0.0625,
        "step_s": 0.1875,
        "data_s": 0.0625,
        "eval_s": 0.125,
        "train_flops_per_image": 1_000_000,
        "peak_mib": 300.0,
        "taken_mib": 320.0,
        "state_mib": 64.0,
        "start_s": 2.0,
    }
    return Measurement(**{**values, **changes})


HEAD = HeadMeasurement(
    features_s=0.25, data_s=0.015625, step_s=0.015625, eval_s=0.0078125, feature_flops=1000, step_flops=10
)


def plan(trials: list[Trial], *, arms: dict[str, list[Trial]] | None = None, run: Any = None, **conduct: Any) -> Plan:
    suite = make_suite({"name": "tiny", "models": ["cnn"], "run": run or {}})
    return Plan(suite, trials, Inputs("nowhere"), Conduct(**{"calibrate": False, **conduct}), [], arms or {})


def cell(name: str = "cnn", seeds: int = 1, basis: str = "measured", **changes: Any) -> Cell:
    trials = tuple(trial(name, seed) for seed in range(seeds))
    known = {"step_s": 0.25, "train_s": 7.5, "eval_s": 1.0, "wall_s": 12.0, "start_s": 2.0}
    sizes = {"peak_mib": 300.0, "need_mib": 420.0}
    return Cell(name, trials, basis, **{**known, **sizes, **changes})


def unknown_cell(name: str, basis: str, reason: str, **changes: Any) -> Cell:
    return Cell(name, (trial(name),), basis, reason, **changes)


def estimate(*cells: Cell, **changes: Any) -> Estimate:
    values: dict[str, Any] = {
        "calibration_s": 0.0,
        "room_mib": 8192.0,
        "together": 1,
        "disk": DiskUse(results=2.1, checkpoints=0.0, free=50_000.0),
    }
    return Estimate(list(cells), **{**values, **changes})
