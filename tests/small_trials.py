"""Trials of a dataset and of networks that take no time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from resbench import registry, trial
from resbench.conduct import Attempt
from resbench.data.datasets import load_dataset
from resbench.data.pipeline import Pipeline
from resbench.devices import CpuDevice, MemoryPeak
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
        planned = Trial(
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
        return dataclasses.replace(planned, **changes), dataclasses.replace(inputs, weights=weights_given)

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


class ScriptedDevice(CpuDevice):
    """A processor whose clock the pipeline and the network move, ``pace`` times as fast; each second takes 1 J."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.pace = 100.0, 1.0

    @classmethod
    def everywhere(cls, monkeypatch: pytest.MonkeyPatch) -> ScriptedDevice:
        """Returns one that all trials run on, which take a quarter of a second to make a batch."""
        device, fill = cls(), Pipeline.training_batch

        def fill_in_time(*arguments: Any) -> Any:
            device.now += 0.25
            return fill(*arguments)

        monkeypatch.setattr(trial, "open_device", lambda name: device)
        monkeypatch.setattr(Pipeline, "training_batch", fill_in_time)
        return device

    def mark(self) -> float:
        return self.now * self.pace

    def energy_j(self) -> float:
        return self.mark()

    def memory_peak(self) -> MemoryPeak:
        return MemoryPeak(100 * self.pace, None)


class Known(nn.Module):
    """Tells bright from dark in training, where passes take 1, 2, 3 and 10 s in turn; tested, it sees bright alone.

    A pass in eval mode takes half a second.
    """

    def __init__(self, device: ScriptedDevice) -> None:
        super().__init__()
        self.device, self.passes = device, 0
        self.idle = nn.Linear(3 * 8 * 8, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = (images.mean((1, 2, 3)) > 0).float()
        if self.training:
            self.device.now += (1, 2, 3, 10)[self.passes % 4]
            self.passes += 1
            logits = torch.stack([bright, 1 - bright], 1)
        else:
            self.device.now += 0.5
            logits = torch.stack([3 - 2 * bright, 0 * bright], 1)  # it is surest of what is dark
        return logits + 0 * self.idle(images.flatten(1))


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
