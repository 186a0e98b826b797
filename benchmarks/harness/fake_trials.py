"""Trials that compute nothing: what is left of their time is what running trials costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from resbench.recorder import Emit
from resbench.schema import EngineSettings, Trial
from resbench.store import planned_record


def fake_trials(count: int, fingerprint: str = "0" * 64) -> list[Trial]:
    """Plans trials of one network that differ in their seeds."""
    engine = EngineSettings(device="cpu", precision="fp32")
    trial = Trial("cnn", "source", "nothing", fingerprint, 10, (3, 8, 8), "common", 8, "1ep", 0, engine)
    return [replace(trial, seed=seed) for seed in range(count)]


def empty_trial(trial: Trial, inputs: Any, attempt: Any, emit: Emit) -> None:
    """Stands in for a trial in its process: imports what a trial does, and says that it ended well."""
    import resbench.trial  # noqa: F401

    emit("phase", {"phase": "train"})
    record = planned_record(trial, source="benchmarks/harness")
    record.status, record.phase, record.micro_batch_size = "ok", "done", trial.batch_size
    emit("trial", record.to_dict())


def chatter(count: int, emit: Emit) -> None:
    """Says something as fast as it can."""
    for number in range(count):
        emit("progress", {"fraction": number / count, "images_per_second": 1.0, "seconds_left": 1.0, "memory_mib": 1.0})
