"""Ordinary networks go through a trial, a profile and an audit with the figures that can be had of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from counted_networks import (
    CLASSES,
    MACS,
    VALUES,
    Network,
    by_a_vector,
    cdist_head,
    deformable,
    elementwise_head,
    learned_queries,
)
from small_trials import Build, Make, of_kind, planner, registering, run
from tiny_folder import make_tiny_folder
from torch import nn

from resbench import registry
from resbench.audit.case import Case
from resbench.audit.catalogue import CHECKS, run_check
from resbench.devices import CpuDevice
from resbench.errors import InputError
from resbench.measure import flops
from resbench.measure.profile import Subject, run_profile
from resbench.planning.plan import Plan, plan_suite
from resbench.schema import EngineSettings
from resbench.suite import make_suite

pytestmark = pytest.mark.usefixtures("brief_timing")

NO_MACS = "no multiply-add that a counter knows: 0 MACs"
NETWORKS = pytest.mark.parametrize("build", MACS, ids=lambda build: build.__name__)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("data") / "shades")


@pytest.fixture
def make(folder: Path) -> Make:
    return planner(folder)


@pytest.fixture
def register() -> Iterator[Callable[[str, Build], None]]:
    with registering() as add:
        yield add


def subject(batch_size: int = 4) -> Subject:
    return Subject("mine", "source", (3, 8, 8), CLASSES, batch_size, EngineSettings("cpu", "fp32"))


def plan(folder: Path, *models: str) -> Plan:
    """Plans with a budget of FLOPs."""
    data = {"name": "test", "dataset": f"folder:{folder}", "budget": "1e9flop", "batch_size": 8, "models": [*models]}
    return plan_suite(make_suite(data, device="cpu"))


@NETWORKS
def test_a_trial_of_it_trains_and_has_its_macs_by_hand(make, register, build):
    register("mine", build)
    record, events = run(make(model="mine", budget="2steps"))
    assert (record.status, record.error) == ("ok", None)
    assert (record.macs, record.forward_flops) == (MACS[build], 2 * MACS[build])
    assert record.params == sum(parameter.numel() for parameter in build().parameters())
    for column in ("latency_ms_p50", "forward_ms", "backward_ms", "peak_memory_allocated_mib", "train_flops_spent"):
        assert getattr(record, column) is not None
    assert (NO_MACS in record.notes) == (MACS[build] == 0)
    assert ("MACs leave out cdist, which no counter knows" in record.notes) == (build is cdist_head)
    assert len(of_kind(events, "epoch")) == 1


def test_an_operator_without_bf16_is_told_with_what_runs_it(make, register):
    register("mine", deformable)
    record, _ = run(make(model="mine", budget="2steps", engine=EngineSettings("cpu", "bf16")))
    assert record.status == "crashed"
    assert "BFloat16 (an operator of the network has no bf16: give --precision fp32)" in record.error


@pytest.mark.parametrize("build", [learned_queries, elementwise_head, deformable], ids=lambda build: build.__name__)
def test_its_profile_has_every_figure(register, build):
    register("mine", build)
    told: list[tuple[str, dict[str, Any]]] = []
    run_profile(subject(), lambda kind, data: told.append((kind, data)))
    (row,) = of_kind(told, "profile")
    assert row["macs"] == MACS[build]
    for column in ("latency_ms_p50", "train_images_per_second", "train_flops_per_image", "inference_memory_mib"):
        assert row[column] is not None
    notices = [data["text"] for data in of_kind(told, "notice")]
    assert (f"mine: {NO_MACS}" in notices) == (MACS[build] == 0)


@NETWORKS
def test_the_audit_counts_it_and_warns_of_what_is_missing(register, build):
    register("mine", build)
    case = Case(subject())
    found = {check.name: run_check(check, case) for check in CHECKS if "FLOPs" in check.name}
    assert set(found) == {"FLOPs counters", "backward FLOPs"}
    assert not [outcome for outcome in found.values() if outcome.verdict == "fail"]
    counters = found["FLOPs counters"]
    if MACS[build]:
        assert f"{MACS[build]:,} MACs an image" in counters.detail
    else:
        assert counters.verdict == "warn"
        assert NO_MACS in counters.detail
    assert ("cdist" in counters.detail) == (build is cdist_head)


def test_where_no_counter_works_the_columns_are_empty_and_the_trial_trains(make, register, monkeypatch):
    def fail(*arguments: object, **more: object) -> None:
        raise RuntimeError("counted nothing")

    monkeypatch.setattr(flops, "_count", fail)
    record, events = run(make(budget="2steps"))
    assert record.status == "ok"
    counted = (record.macs, record.forward_flops, record.train_flops_per_image, record.train_flops_spent, record.mfu)
    assert counted == (None, None, None, None, None)
    assert [epoch["train_flops_spent"] for epoch in of_kind(events, "epoch")] == [None]
    assert record.notes == ["MACs could not be counted (RuntimeError: counted nothing)"]
    assert record.macs_fvcore is not None
    assert record.params > 0


def test_training_flops_alone_may_be_missing(make, register, monkeypatch):
    count = flops._count

    def fail(*arguments: object, train: bool, **more: object) -> object:
        if train:
            raise RuntimeError("no backward pass")
        return count(*arguments, train=train, **more)

    monkeypatch.setattr(flops, "_count", fail)
    record, _ = run(make(budget="2steps"))
    assert (record.status, record.train_flops_per_image) == ("ok", None)
    assert record.macs > 0
    assert record.notes == ["training FLOPs could not be counted (RuntimeError: no backward pass)"]


@pytest.mark.parametrize("method", ["start_memory_window", "memory_peak"])
def test_memory_that_cannot_be_measured_ends_no_trial(make, monkeypatch, method):
    def fail(self: CpuDevice) -> None:
        raise OSError("no such file")

    monkeypatch.setattr(CpuDevice, method, fail)
    record, _ = run(make(budget="2steps"))
    assert (record.status, record.peak_memory_allocated_mib, record.inference_memory_mib) == ("ok", None, None)
    assert record.notes == ["memory could not be measured (OSError: no such file)"]
    assert record.latency_ms_p50 > 0


def test_memory_that_runs_out_while_it_is_measured_is_out_of_memory(make, monkeypatch):
    def fail(self: CpuDevice) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(CpuDevice, "memory_peak", fail)
    assert run(make(budget="2steps"))[0].status == "oom"


def test_a_network_that_takes_no_single_image_has_no_latency_of_one(make, register):
    def forward(self: Network, images: torch.Tensor) -> torch.Tensor:
        if len(images) == 1 and not self.training:
            raise ValueError("one image")
        return self.head(images.flatten(1))

    register("mine", lambda: Network(forward, head=nn.Linear(VALUES, CLASSES)))
    record, _ = run(make(model="mine", budget="2steps"))
    assert (record.status, record.latency_ms_p50, record.macs) == ("ok", None, None)
    assert record.inference_images_per_second > 0
    assert record.forward_ms > 0
    assert "one image could not be timed (ValueError: one image)" in record.notes


@pytest.mark.parametrize("build", [elementwise_head, cdist_head], ids=lambda build: build.__name__)
def test_a_budget_of_flops_for_a_network_without_any_is_refused_by_name(folder, register, build):
    register("mine", build)
    with pytest.raises(InputError, match=r"'mine'.*no multiply-add that a counter knows.*Give a budget of epochs"):
        plan(folder, "cnn", "mine")
    assert plan(folder, "cnn").trials


def test_a_budget_of_flops_that_cannot_be_counted_is_refused_by_name(folder, register, monkeypatch):
    def fail(*arguments: object, **more: object) -> None:
        raise RuntimeError("counted nothing")

    monkeypatch.setattr(flops, "_count", fail)
    with pytest.raises(InputError, match=r"'cnn' cannot be counted \(RuntimeError: counted nothing\)"):
        plan(folder, "cnn")


def test_a_network_of_mine_that_fails_stops_no_plan_with_a_budget_of_flops(folder, register):
    def forward(self: Network, images: torch.Tensor) -> torch.Tensor:
        raise ValueError("my own fault")

    register("mine", lambda: Network(forward, head=nn.Linear(VALUES, CLASSES)))
    assert registry.model_entry("mine").origin is not None
    assert len(plan(folder, "cnn", "mine").trials) == 2


def test_a_trial_with_a_budget_of_flops_spends_those_of_a_product_by_a_vector(make, register):
    register("mine", by_a_vector)
    step = 8 * 2 * 2 * VALUES  # images, FLOPs a MAC, forward and the vector's gradient
    record, _ = run(make(model="mine", budget=f"{3 * step}flop"))
    assert (record.status, record.steps, record.train_flops_spent) == ("ok", 3, 3 * step)
