"""Trials of a dataset and of networks that take no time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import nn

from resbench import registry
from resbench.conduct import Attempt
from resbench.data.datasets import load_dataset
from resbench.inputs import Inputs
from resbench.registry import register_model
from resbench.schema import EngineSettings, Trial, TrialRecord
from resbench.trial import run_trial

BATCH = 8
Make = Callable[..., tuple[Trial, Inputs]]
Build = Callable[[], nn.Module]
Events = list[tuple[str, dict[str, Any]]]


def planner(folder: Path) -> Make:
    """Returns what plans a trial of a tiny folder."""
    inputs = Inputs(f"folder:{folder}")
    dataset = load_dataset(inputs.dataset)

    def plan(*, weights_given: str | None = None, **changes: Any) -> tuple[Trial, Inputs]:
        trial = Trial(
            model="cnn",
            stem="source",
            dataset=dataset.name,
            dataset_fingerprint=dataset.fingerprint,
            num_classes=dataset.num_classes,
            input=dataset.image_shape,
            recipe="common",
            batch_size=BATCH,
            budget="2ep",
            seed=0,
            engine=EngineSettings("cpu", "fp32"),
        )
        return dataclasses.replace(trial, **changes), dataclasses.replace(inputs, weights=weights_given)

    return plan


@contextlib.contextmanager
def registering() -> Iterator[Callable[[str, Build], None]]:
    """Gives what registers a network until the block ends."""

    def add(name: str, build: Build) -> None:
        @register_model(name, source="test")
        def builder(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
            """Stands for a network."""
            return build()

    registry.list_models()  # the project's own enter the registry first
    before = dict(registry._ENTRIES)
    try:
        yield add
    finally:
        registry._ENTRIES.clear()
        registry._ENTRIES.update(before)


def run(planned: tuple[Trial, Inputs], attempt: Attempt | None = None) -> tuple[TrialRecord, Events]:
    """Runs a trial; returns its record and what it emitted."""
    events: Events = []
    record = run_trial(*planned, lambda kind, data: events.append((kind, data)), attempt)
    json.dumps([record.to_dict(), events], allow_nan=False)  # all of it can be written
    return record, events


def of_kind(events: Events, kind: str) -> list[dict[str, Any]]:
    return [data for other, data in events if other == kind]


def phases(events: Events) -> list[str]:
    return [data["phase"] for data in of_kind(events, "phase")]
