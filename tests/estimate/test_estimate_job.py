"""The measurement of one network, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from made_up import trial
from torch import nn

from resbench import recipes
from resbench.estimate import job
from resbench.estimate.job import measure, measure_job, typical_s
from resbench.estimate.measurement import Measurement
from resbench.registry import _ENTRIES, create_model, list_models, register_model
from resbench.schema import EngineSettings

CONV, HEAD = 2 * 8 * 8 * 8 * 3 * 9, 2 * 8 * 10
"""FLOPs of the frozen network's parts."""
STORED = (3, 12, 12)


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A network with a frozen convolution under a new head."""
    list_models()
    before = dict(_ENTRIES)

    @register_model("tiny_frozen", source="test")
    def build(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
        """Stands for a network."""
        backbone = nn.Conv2d(in_channels, 8, 3, padding=1, bias=False).requires_grad_(False)
        return nn.Sequential(backbone, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))

    yield "tiny_frozen"
    _ENTRIES.clear()
    _ENTRIES.update(before)


def test_a_frozen_backbone_whose_features_are_computed_once_is_told_from_one_that_runs_in_every_step(
    frozen: str,
) -> None:
    once = measure(trial(frozen, recipe="resnet152_features", batch_size=4), STORED)
    assert once.head is not None
    assert (once.head.feature_flops, once.head.step_flops) == (CONV, 2 * HEAD)
    assert once.train_flops_per_image == CONV + 2 * HEAD
    assert min(once.head.features_s, once.head.data_s, once.head.step_s, once.head.eval_s) > 0
    # A checkpoint is the head's: weights, and two moments of each with its step's number.
    assert once.state_mib * 2**20 == pytest.approx(3 * 4 * (8 * 10 + 10), abs=2 * 4)
    assert Measurement.from_dict(asdict(once)) == once

    every_time = (
        trial(frozen, recipe="resnet152_finetune_bn_eval", batch_size=4),  # augments
        trial(
            frozen,
            recipe="resnet152_features",
            batch_size=4,
            engine=EngineSettings("cpu", "fp32", cache_features=False),
        ),
        trial("cnn", recipe="resnet152_features", batch_size=4),
    )
    assert [measure(one, STORED).head for one in every_time] == [None] * 3


def test_where_devices_share_the_batches_a_share_is_measured_and_no_features_are_cached(
    frozen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(job, "_evaluate", lambda engine, batches: seen.extend(len(labels) for _, labels in batches))
    two = EngineSettings("cpu", "fp32", devices=2)
    measured = measure(trial(frozen, recipe="resnet152_features", batch_size=4, engine=two), STORED)
    assert set(seen) == {2}
    assert measured.head is None


def test_images_of_another_size_are_resized_and_normalised_as_the_trial_does(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[torch.Size, float, float]] = []
    make = job._random_pipeline

    def noted(*arguments: Any) -> Any:
        pipeline = make(*arguments)
        images, labels = next(pipeline.evaluation())
        seen.append((images.shape, float(images.mean()), float(images.std())))
        assert 0 <= int(labels.min()) <= int(labels.max()) < 10
        return pipeline

    monkeypatch.setattr(job, "_random_pipeline", noted)
    measure(trial(batch_size=4), STORED)
    ((shape, mean, deviation),) = seen
    assert shape == (4, 3, 8, 8)
    assert abs(mean) < 0.2
    assert 0.3 < deviation < 1.5


def test_an_error_for_want_of_memory_is_told_and_any_other_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    errors: list[Exception] = [torch.OutOfMemoryError("CUDA out of memory"), ValueError("no")]

    def fail(*arguments: Any) -> Measurement:
        raise errors.pop(0)

    monkeypatch.setattr(job, "measure", fail)
    measure_job(trial(), STORED, lambda kind, data: told.append((kind, data)))
    assert told == [("started", {}), ("out_of_memory", {"error": "OutOfMemoryError: CUDA out of memory"})]
    with pytest.raises(ValueError, match="no"):
        measure_job(trial(), STORED, lambda kind, data: None)


@pytest.mark.parametrize(("load", "doubts"), [(0.0, 0), (64.0, 1)])
def test_what_else_kept_the_machine_busy_is_told(load: float, doubts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resbench.measure.telemetry.other_load", lambda before, after: load)
    found = measure(trial(batch_size=2), STORED)
    assert len([reason for reason in found.doubts if "other processes kept" in reason]) == doubts


class Clocked:
    """A device, and calls on it that take so long."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: list[float]) -> None:
        self.now, self.seconds, self.calls = 0.0, seconds, 0
        monkeypatch.setattr(job.time, "perf_counter", lambda: self.now)

    def synchronize(self) -> None: ...

    def __call__(self) -> None:
        self.now += self.seconds[min(self.calls, len(self.seconds) - 1)]
        self.calls += 1


@pytest.mark.parametrize(
    ("seconds", "calls", "typical"),
    [
        ([1.0, 0.01], 11, 0.01),  # the first is a warm-up
        ([1.0, 0.1], 6, 0.1),  # half a second is enough
        ([1.5, 1.0, 2.0], 3, 1.5),
        ([5.0, 4.0], 2, 4.0),
        ([5.0, 6.0], 2, 5.0),
        ([9.0], 1, 9.0),
    ],
)
def test_as_many_calls_are_made_as_the_first_one_leaves_time_for(
    seconds: list[float], calls: int, typical: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    device: Any = Clocked(monkeypatch, seconds)
    assert typical_s(device, device) == pytest.approx(typical)
    assert device.calls in {calls, calls + 1}  # tenths do not add up to a half


def test_after_a_single_slow_step_the_optimizers_state_is_added_to_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[float] = []
    optimizer_mib = job._optimizer_mib

    def noted(engine: Any) -> float:
        kept.append(optimizer_mib(engine))
        return 1000.0

    monkeypatch.setattr(job, "_optimizer_mib", noted)
    one = trial(recipe="resnet50_adam", batch_size=4)
    small = measure(one, STORED)
    assert small.peak_mib is not None
    assert small.peak_mib < 1000
    monkeypatch.setattr(job, "TOO_SLOW_S", 0.0)
    slow = measure(one, STORED)
    assert slow.peak_mib is not None
    assert slow.peak_mib > 900
    params = sum(parameter.numel() for parameter in create_model("cnn", input_size=(8, 8)).parameters())
    assert kept[-1] == pytest.approx(2 * 4 * params / 2**20, rel=1e-3)  # Adam's two moments


def test_recipes_of_the_project_are_all_measured_by_their_own_pipeline() -> None:
    for name in recipes.RECIPES:
        found = measure(replace(trial(batch_size=2), recipe=name, input=(3, 8, 8)), STORED)
        assert found.data_s > 0, name


@pytest.mark.gpu
def test_on_a_gpu_the_memory_is_the_allocators_and_the_device_says_how_much_it_has() -> None:
    found = measure(trial("resnet34", batch_size=8, engine=EngineSettings("cuda", "bf16", compile=True)), STORED)
    assert found.device_mib == pytest.approx(torch.cuda.get_device_properties(0).total_memory / 2**20)
    assert found.peak_mib is not None
    assert found.taken_mib is not None
    assert found.state_mib < found.peak_mib <= found.taken_mib < found.device_mib


def test_a_builder_that_reads_numbers_is_measured_and_counted(frozen: str) -> None:
    @register_model("reading", source="test")
    def build(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
        """Stands for a network; the fixture forgets it."""
        width = int(torch.linspace(4, 8, 3)[-1])
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, width), nn.Linear(width, num_classes))

    found = measure(trial("reading", batch_size=4), STORED)
    assert found.train_flops_per_image == 2 * (2 * 3 * 8 + 3 * 8 * 10)
    assert found.count_s > 0
