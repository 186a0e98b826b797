"""A synthetic results folder of any number of trials, written event by event through the real store."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

from resbench.recipes import RECIPES
from resbench.schema import PROFILED, EngineSettings, EpochRecord, ProfileRecord, Trial, format_input
from resbench.store import Store, planned_record

MODELS = ("d2l_resnet18", "resnet34", "resnet50", "se_resnet50", "resnet152")
SEEDS = 50
EPOCHS = 2

_GRID = tuple(product(("5ep", "26ep", "10min", "5e15flop"), RECIPES))
_STEPS_AN_EPOCH = 390
_BATCH_SIZE = 128
_STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def stored_trials(size: int) -> list[Trial]:
    """Returns the trials of a folder: suites of five networks and 50 seeds, of two kinds that take turns.

    * A *grid*: the same five networks under another recipe and budget each time, so the tables multiply.
    * A *sweep*: five more depths and widths of one family under one recipe and budget, so one table grows longer.

    Args:
        size: How many; 10,000 are 200 cells of 50 seeds, in 20 tables of five rows and one of a hundred.
    """
    trials: list[Trial] = []
    suite = 0
    while len(trials) < size:
        turn, is_sweep = divmod(suite, 2)
        if is_sweep:
            stem, budget, recipe = "cifar", "26ep", "common"
            models = tuple(f"wrn_{10 + 6 * turn}_{width}" for width in (1, 2, 4, 8, 10))
        else:
            stem, (budget, recipe), models = "source", _GRID[turn % len(_GRID)], MODELS
        trials += [_trial(model, stem, budget, recipe, seed) for seed in range(SEEDS) for model in models]
        suite += 1
    return trials[:size]


def diverged(index: int) -> bool:
    """Says whether the trial at this place of the folder diverged: every hundredth, so something is left to resume."""
    return index % 100 == 99


def write_folder(folder: Path, trials: list[Trial]) -> None:
    """Writes what the trials left: one ``suite`` event with all of them, a profile, two epochs and a record a trial.

    The store waits for the disk after each event; here it does not, for the writing is not what is measured.
    """
    store = Store(folder, create=True)
    with mock.patch("os.fsync"):
        store.append("suite", {"suite": {"name": "growth"}, "trials": [trial.to_dict() for trial in trials]})
        for index, trial in enumerate(trials):
            for event, data in trial_events(trial, index):
                store.append(event, data)


def trial_events(trial: Trial, index: int) -> list[tuple[str, dict[str, Any]]]:
    """Returns the events of one trial, with figures that follow from its network and its seed."""
    trial_id, noise = trial.trial_id, random.Random(index)
    size = zlib.crc32(trial.model.encode()) % 100 / 100  # 0..1: larger networks are slower and more accurate
    accuracy = 0.80 + 0.15 * size + noise.gauss(0, 0.004)
    seconds = (20 + 200 * size) * (1 + noise.gauss(0, 0.01))
    ok = not diverged(index)
    profile = _profile(trial, trial_id, size, noise)
    epochs = [_epoch(trial, trial_id, number, accuracy, seconds) for number in range(1, EPOCHS + 1)]
    record = replace(
        planned_record(trial, source="synthetic"),
        **{name: getattr(profile, name) for name in PROFILED},
        device_name="a processor",
        tf32=False,
        cpu_threads=2,
        status="ok" if ok else "diverged",
        phase="done" if ok else "train",
        error=None if ok else f"the training loss is nan after {_STEPS_AN_EPOCH} steps",
        stopped_by="ep" if ok else None,
        overshoot=0.0 if ok else None,
        train_images_per_second=EPOCHS * 50_000 / seconds,
        step_ms_p50=1e3 * seconds / (EPOCHS * _STEPS_AN_EPOCH),
        step_ms_p90=1.1e3 * seconds / (EPOCHS * _STEPS_AN_EPOCH),
        test_accuracy=accuracy if ok else None,
        best_test_accuracy=accuracy + 0.002 if ok else None,
        train_accuracy=accuracy + 0.01,
        test_loss=0.4 if ok else None,
        epochs=float(EPOCHS),
        steps=EPOCHS * _STEPS_AN_EPOCH,
        images_seen=EPOCHS * _STEPS_AN_EPOCH * _BATCH_SIZE,
        train_flops_spent=1e15 * (1 + size),
        build_s=0.8,
        profile_s=6.5,
        compile_s=0.0,
        warmup_s=0.4,
        data_s=0.02 * seconds,
        step_s=0.98 * seconds,
        eval_s=0.05 * seconds,
        checkpoint_s=0.0,
        other_s=1.1,
        wall_s=8.8 + 1.05 * seconds,
        git_sha="4f5e6d7c8b9a4f5e6d7c8b9a4f5e6d7c8b9a4f5e",
        git_dirty=False,
        resbench="0.1.0",
        torch="2.11.0",
        torchvision="0.26.0",
        python="3.12.4",
        host_cpu="a processor",
        started_at=(_STARTED + timedelta(minutes=index)).isoformat(),
    )
    return [
        ("profile", profile.to_dict()),
        *(("epoch", epoch.to_dict()) for epoch in epochs),
        ("trial", record.to_dict()),
    ]


def _trial(model: str, stem: str, budget: str, recipe: str, seed: int) -> Trial:
    return Trial(
        model=model,
        stem=stem,
        dataset="synthetic",
        dataset_fingerprint="0123456789abcdef" * 4,
        num_classes=10,
        input=(3, 32, 32),
        recipe=recipe,
        batch_size=_BATCH_SIZE,
        budget=budget,
        seed=seed,
        engine=EngineSettings(device="cpu", precision="fp32"),
    )


def _profile(trial: Trial, trial_id: str, size: float, noise: random.Random) -> ProfileRecord:
    params, macs = round(1e7 * (1 + 5 * size)), round(4e7 * (1 + 6 * size))
    return ProfileRecord(
        model=trial.model,
        source="synthetic",
        stem=trial.stem,
        input=format_input(trial.input),
        num_classes=trial.num_classes,
        batch_size=trial.batch_size,
        device_name="a processor",
        precision="fp32",
        memory_format="channels_last",
        compiled=False,
        compile_mode=None,
        cuda_graph=False,
        lowering="auto",
        params=params,
        trainable_params=params,
        macs=macs,
        macs_fvcore=macs,
        forward_flops=2 * macs,
        train_flops_per_image=6 * macs,
        activations=round(1e5 * (1 + size)),
        latency_ms_p50=(2 + 15 * size) * (1 + noise.gauss(0, 0.02)),
        latency_ms_p90=(2.2 + 16 * size) * (1 + noise.gauss(0, 0.02)),
        inference_ms_p50=40 * (1 + 5 * size),
        inference_ms_p90=42 * (1 + 5 * size),
        inference_images_per_second=3_200 / (1 + 5 * size) * (1 + noise.gauss(0, 0.02)),
        forward_ms=47 * (1 + 5 * size),
        backward_ms=120 * (1 + 5 * size),
        train_images_per_second=None,
        inference_memory_mib=60 * (1 + size),
        peak_memory_allocated_mib=240 * (1 + 4 * size) + noise.gauss(0, 3),
        peak_memory_reserved_mib=None,
        trial_id=trial_id,
    )


def _epoch(trial: Trial, trial_id: str, number: int, accuracy: float, seconds: float) -> EpochRecord:
    done = number / EPOCHS
    return EpochRecord(
        trial_id=trial_id,
        model=trial.model,
        stem=trial.stem,
        seed=trial.seed,
        epoch=float(number),
        steps=number * _STEPS_AN_EPOCH,
        images_seen=number * _STEPS_AN_EPOCH * _BATCH_SIZE,
        budget_fraction=done,
        learning_rate=0.1 * (1 - done),
        train_loss=2.0 / number,
        train_accuracy=accuracy * done,
        test_loss=2.1 / number,
        test_accuracy=accuracy * (0.7 + 0.3 * done),
        train_clock_s=seconds * done,
        eval_s=0.02 * seconds,
        train_flops_spent=1e15 * done,
        train_images_per_second=EPOCHS * 50_000 / seconds,
    )
