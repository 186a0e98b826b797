"""What is refused of several devices before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trials import registering
from tiny_folder import make_tiny_folder
from torch import nn

from resbench.errors import InputError
from resbench.planning import settings as planning
from resbench.planning.plan import Plan, plan_suite
from resbench.planning.settings import resolve_engine
from resbench.recipes import RECIPES
from resbench.suite import EngineOptions, make_suite

MakePlan = Callable[..., Plan]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("several") / "tiny")


@pytest.fixture
def plan(folder: Path) -> MakePlan:
    def make(**changes: Any) -> Plan:
        data = {"name": "test", "models": ["cnn"], "dataset": f"folder:{folder}", "budget": "2ep", "batch_size": 8}
        return plan_suite(make_suite(data, **{"device": "cpu", **changes}))

    return make


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, as far as planning asks."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index=0: f"GPU {index}")
    monkeypatch.setattr(planning, "resolve_precision", lambda precision, device: "bf16")


def test_processes_on_one_processor_are_planned_with_a_warning(plan: MakePlan) -> None:
    planned = plan(devices=2)
    (trial,) = planned.trials
    assert (trial.engine.devices, trial.engine.device) == (2, "cpu")
    assert trial.trial_id != plan().trials[0].trial_id
    assert [notice for notice in planned.notices if "2 processes share this processor" in notice]
    assert plan().notices == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"devices": 3}, "8 images a batch cannot be shared out evenly among 3 devices.*such as 6 or 9"),
        ({"devices": 16}, "among 16 devices.*such as 16,"),
        ({"devices": 2, "concurrent_seeds": 2}, "devices is 2 and concurrent_seeds is 2.*Give one of them"),
        ({"devices": 2, "cuda_graph": "on"}, "cuda_graph is on and devices is 2: gradients are exchanged while"),
        ({"devices": 2, "recipe": "common_sync_bn"}, "'common_sync_bn' synchronises batch norm.*on GPUs only"),
        ({"devices": 0}, "greater than or equal to 1"),
    ],
    ids=str,
)
def test_what_cannot_be_shared_is_refused(plan: MakePlan, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan(**changes)


@pytest.mark.usefixtures("two_gpus")
class TestGpus:
    def test_cuda_means_the_first_ones_and_no_graph(self) -> None:
        engine = resolve_engine(EngineOptions(device="auto", devices=2))
        assert (engine.device, engine.devices, engine.cuda_graph, engine.compile) == ("cuda", 2, False, True)
        assert resolve_engine(EngineOptions(device="cuda")).cuda_graph

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"device": "cuda", "devices": 4}, "torch sees 2 CUDA devices here: GPU 0, GPU 1.*Give --devices 2"),
            ({"device": "cuda:1", "devices": 2}, "is cuda:1, which is one: give --device cuda, .* cuda:0 to cuda:1"),
            ({"device": "cuda", "devices": 2, "cuda_graph": "on"}, "Leave cuda_graph at auto"),
        ],
        ids=str,
    )
    def test_what_is_not_there_is_refused(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(InputError, match=said):
            resolve_engine(EngineOptions(**options))

    def test_batch_norm_that_does_more_cannot_be_synchronised(self, plan: MakePlan) -> None:
        class WithActivation(nn.BatchNorm2d):
            """Does more."""

        changes = {"device": "cuda", "devices": 2, "recipe": "common_sync_bn"}
        with registering() as add:
            add("normalised", lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
            add("activated", lambda: nn.Sequential(nn.Conv2d(3, 4, 1), WithActivation(4)))
            (trial,) = plan(models=["normalised"], **changes).trials
            assert (trial.engine.devices, trial.recipe) == (2, "common_sync_bn")
            with pytest.raises(InputError, match="1 is a WithActivation, which torch would replace"):
                plan(models=["activated"], **changes)


def test_one_mps_device_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(planning, "resolve_precision", lambda precision, device: "fp32")
    with pytest.raises(InputError, match="devices is 2 and the device is mps, of which there is one"):
        resolve_engine(EngineOptions(device="mps", devices=2))


def test_the_synchronised_recipe_is_the_common_one_but_for_batch_norm(plan: MakePlan) -> None:
    common, synchronised = RECIPES["common"], RECIPES["common_sync_bn"]
    assert synchronised == replace(common, name="common_sync_bn", source=synchronised.source, sync_batch_norm=True)
    assert not any(recipe.sync_batch_norm for name, recipe in RECIPES.items() if name != "common_sync_bn")
    assert plan(recipe="common_sync_bn").trials[0].recipe == "common_sync_bn"  # one device has the whole batch
