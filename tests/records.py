"""Builders of synthetic records: results folders that look like real ones and were never measured."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from resbench.schema import EngineSettings, EpochRecord, Trial
from resbench.store import Store, planned_record

FINGERPRINT = "0123456789abcdef" * 4

FIVE_MODELS = {
    # name: params, MACs, accuracy, training images/s, latency ms
    "d2l_resnet18": (11_184_650, 37_016_576, 0.8512, 82_000.0, 0.61),
    "resnet34": (21_289_802, 74_765_312, 0.8634, 44_000.0, 1.02),
    "resnet50": (23_528_522, 78_712_832, 0.8579, 20_100.0, 1.38),
    "se_resnet50": (26_059_514, 81_232_896, 0.8661, 16_900.0, 2.11),
    "resnet152": (58_164_298, 234_950_656, 0.8702, 8_800.0, 4.35),
}

TWENTY_MODELS = {
    f"{prefix}{index}": (
        4_000_000 + 3_100_000 * index,
        20_000_000 + 9_000_000 * (index % 7) + 2_500_000 * index,
        0.80 + 0.09 * (1 - math.exp(-index / 6)) + 0.004 * (index % 3),
        90_000.0 / (1 + index),
        0.4 + 0.23 * index,
    )
    for index, prefix in enumerate(["torchvision:wide_resnet_101_x", "timm:seresnextaa101d_32x8d.sw_in12k_"] * 10)
}


def make_trial(model: str = "resnet34", seed: int = 0, **changes: Any) -> Trial:
    """Builds a trial; any field of :class:`~resbench.schema.Trial` can be changed."""
    trial = Trial(
        model=model,
        stem="cifar",
        dataset="shapes10",
        dataset_fingerprint=FINGERPRINT,
        num_classes=10,
        input=(3, 32, 32),
        recipe="baseline",
        batch_size=512,
        budget="26ep",
        seed=seed,
        engine=EngineSettings(device="cuda", precision="bf16", compile=True),
    )
    return replace(trial, **changes)


def make_record(trial: Trial, **changes: Any) -> dict[str, Any]:
    """Builds the data of a ``trial`` event that ended ``ok``; any column of ``trials.csv`` can be changed."""
    figures = {
        "source": "synthetic",
        "device_name": "NVIDIA H200",
        "tf32": False,
        "compiled": trial.engine.compile,
        "compile_mode": trial.engine.compile_mode if trial.engine.compile else None,
        "cuda_graph": trial.engine.cuda_graph,
        "lowering": "off",
        "cached_features": False,
        "cpu_threads": 8,
        "status": "ok",
        "phase": "done",
        "stopped_by": "ep",
        "overshoot": 0.0,
        "params": 21_289_802,
        "trainable_params": 21_289_802,
        "macs": 74_765_312,
        "forward_flops": 149_530_624,
        "train_flops_per_image": 444_000_000,
        "peak_memory_allocated_mib": 1500.0,
        "peak_memory_reserved_mib": 1800.0,
        "inference_memory_mib": 300.0,
        "train_images_per_second": 44_000.0,
        "inference_images_per_second": 130_000.0,
        "latency_ms_p50": 1.02,
        "latency_ms_p90": 1.10,
        "step_ms_p50": 11.6,
        "step_ms_p90": 11.9,
        "test_accuracy": 0.8634,
        "best_test_accuracy": 0.8650,
        "train_accuracy": 0.97,
        "test_loss": 0.51,
        "epochs": 26.0,
        "steps": 2548,
        "images_seen": 1_300_000,
        "build_s": 0.8,
        "profile_s": 2.5,
        "compile_s": 14.0,
        "warmup_s": 1.5,
        "data_s": 1.2,
        "step_s": 28.3,
        "eval_s": 3.1,
        "checkpoint_s": 0.4,
        "other_s": 0.2,
        "wall_s": 52.0,
        "git_sha": "4f5e6d7c8b9a",
        "git_dirty": False,
        "resbench": "0.1.0",
        "torch": "2.11.0+cu130",
        "torchvision": "0.26.0",
        "cuda": "13.0",
        "cudnn": "91200",
        "driver": "580.65",
        "python": "3.12.4",
        "host_cpu": "some CPU",
        "started_at": "2030-01-02T03:04:05+00:00",
    }
    return {**planned_record(trial).to_dict(), **figures, **changes}


def make_epochs(trial: Trial, *, accuracy: float, seconds: float, epochs: int = 26) -> list[dict[str, Any]]:
    """Builds the data of a trial's ``epoch`` events: a curve that saturates at ``accuracy``."""
    noise = random.Random(f"{trial.model} {trial.seed}")
    rows = []
    for epoch in range(1, epochs + 1):
        reached = accuracy * (1 - 0.75 * math.exp(-5 * epoch / epochs)) + noise.gauss(0, 0.006) * (epoch < epochs)
        rows.append(
            EpochRecord(
                trial_id=trial.trial_id,
                model=trial.model,
                stem=trial.stem,
                seed=trial.seed,
                epoch=float(epoch),
                steps=98 * epoch,
                images_seen=50_000 * epoch,
                budget_fraction=epoch / epochs,
                learning_rate=0.1,
                train_loss=2.0 / epoch,
                train_accuracy=reached,
                test_loss=2.1 / epoch,
                test_accuracy=reached,
                train_clock_s=seconds * epoch / epochs,
                eval_s=0.1,
                train_flops_spent=1e12 * epoch,
                train_images_per_second=44_000.0,
            ).to_dict()
        )
    return rows


def write_folder(
    folder: Path,
    *,
    models: dict[str, tuple[int, int, float, float, float]] = FIVE_MODELS,
    seeds: int = 1,
    epochs: int = 26,
    trial_changes: dict[str, Any] | None = None,
    record_changes: dict[str, Any] | None = None,
) -> Path:
    """Writes a results folder with one ``ok`` trial for each model and seed."""
    store = Store(folder, create=True)
    trials = [make_trial(model, seed, **(trial_changes or {})) for seed in range(seeds) for model in models]
    store.append("suite", {"suite": {"name": "synthetic"}, "trials": [trial.to_dict() for trial in trials]})
    for trial in trials:
        params, macs, accuracy, speed, latency = models[trial.model]
        noise = random.Random(trial.trial_id)
        accuracy += noise.gauss(0, 0.0015)
        seconds = 50_000 * epochs / speed
        for row in make_epochs(trial, accuracy=accuracy, seconds=seconds, epochs=epochs):
            store.append("epoch", row)
        figures = {
            "params": params,
            "trainable_params": params,
            "macs": macs,
            "test_accuracy": accuracy,
            "best_test_accuracy": accuracy + 0.002,
            "train_images_per_second": speed * (1 + noise.gauss(0, 0.004)),
            "inference_images_per_second": 3.1 * speed,
            "latency_ms_p50": latency,
            "step_ms_p50": 512_000 / speed,
            "peak_memory_allocated_mib": 220 + macs / 62_000 + params / 90_000,
            "data_s": 0.04 * seconds,
            "step_s": 0.96 * seconds,
            "wall_s": seconds + 22.5,
            "epochs": float(epochs),
        }
        store.append("trial", make_record(trial, **{**figures, **(record_changes or {})}))
    return folder
