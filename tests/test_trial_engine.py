"""A trial's engine: profiled, then restarted and trained; compiled or recorded where that was asked for and works."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_trials import Events, Make, of_kind, phases, planner, registering, run
from tiny_folder import make_tiny_folder
from torch import nn

from resbench import trial as trial_module
from resbench.budget import parse_budget, plan_spending
from resbench.data.datasets import load_dataset
from resbench.data.pipeline import Pipeline, normalisation_of
from resbench.devices import CpuDevice
from resbench.inputs import Inputs
from resbench.measure import profile
from resbench.measure.profile import Subject
from resbench.models.parts import basic_block
from resbench.recipes import get_recipe
from resbench.schema import EngineSettings, Trial
from resbench.training import ledger
from resbench.training.engine import Engine
from resbench.training.ledger import Ledger
from resbench.training.loop import Loop
from resbench.training.optimizer import initialise

pytestmark = pytest.mark.usefixtures("brief_timing")

EAGER = EngineSettings("cpu", "fp32")
GRAPH = EngineSettings("cpu", "fp32", cuda_graph=True)
COMPILED = EngineSettings("cpu", "fp32", compile=True)
NOT_COMPILED = "torch.compile failed (NotImplementedError: no lowering), eager instead"
NOT_RECORDED = "the step cannot be recorded as a CUDA graph (RuntimeError: not while capturing), none used"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("data") / "shades")


@pytest.fixture
def make(folder: Path) -> Make:
    """Plans a trial of the tiny folder."""
    return planner(folder)


def residual_blocks() -> nn.Module:
    first = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(
        *first, basic_block(8, 8, 1), basic_block(8, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2)
    )


def figures(events: Events) -> list[tuple[float, float]]:
    return [(epoch["train_loss"], epoch["test_loss"]) for epoch in of_kind(events, "epoch")]


def trained_without_a_profile(trial: Trial, inputs: Inputs) -> list[tuple[float, float]]:
    """What the same training gives in an engine that has done nothing before."""
    torch.manual_seed(trial.seed)
    subject = Subject(trial.model, trial.stem, trial.input, trial.num_classes, trial.batch_size, trial.engine)
    recipe, dataset, device = get_recipe(trial.recipe), load_dataset(inputs.dataset), CpuDevice()
    pipeline = Pipeline(
        dataset.train,
        dataset.test,
        input_size=trial.input[1:],
        batch_size=trial.batch_size,
        augmentation=recipe.augmentation,
        normalisation=normalisation_of(dataset, recipe.normalisation),
        seed=trial.seed,
    )
    spending = plan_spending(
        parse_budget(trial.budget), batch_size=trial.batch_size, steps_per_epoch=pipeline.steps_per_epoch
    )
    model = subject.create("random")
    initialise(model, recipe.initialisation)
    engine = Engine(model, recipe, trial.engine)
    result = Loop(engine, pipeline, device, recipe, spending, Ledger()).run()
    return [(report.train.mean_loss, report.test.mean_loss) for report in result.epochs]


class TestRestart:
    @pytest.mark.parametrize("settings", [EAGER, GRAPH], ids=["eager", "graph"])
    @pytest.mark.parametrize("model", ["cnn", "blocks"])  # the latter has statistics too
    @pytest.mark.parametrize("recipe", ["common", "resnet50_adam"])  # the latter has an optimizer with other state
    def test_the_network_that_was_profiled_trains_as_a_new_one_would(self, make, model, recipe, settings):
        planned = make(model=model, recipe=recipe, engine=settings, seed=3)
        with registering() as add:
            add("blocks", residual_blocks)
            record, events = run(planned)
            assert record.status == "ok"
            assert figures(events) == trained_without_a_profile(*planned)

    def test_nothing_is_compiled_a_second_time(self, make, monkeypatch):
        compiled: list[str] = []

        def compile_nothing(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
            compiled.append(function.__name__)
            return function

        monkeypatch.setattr(torch, "compile", compile_nothing)
        record, events = run(make(engine=COMPILED))
        assert (record.compiled, record.compile_mode) == (True, "default")
        assert len(compiled) == len(set(compiled)) == 2  # the training step's half, and the forward pass
        assert figures(events) == figures(run(make(engine=replace(EAGER, lowering="off")))[1])

    def test_two_slots_train_as_one(self, make, monkeypatch):
        one = figures(run(make())[1])
        original = Subject.engine_for
        monkeypatch.setattr(Subject, "engine_for", lambda *args, **more: original(*args, **{**more, "slots": 2}))
        assert figures(run(make())[1]) == one


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("no lowering")

    monkeypatch.setattr(torch, "compile", lambda function, **options: fail)


@pytest.fixture
def no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: CpuDevice, work: Callable[[], object]) -> Callable[[], object]:
        raise RuntimeError("not while capturing\nand a long explanation")

    monkeypatch.setattr(CpuDevice, "capture", refuse)


class TestFallback:
    @pytest.mark.usefixtures("no_compiler")
    def test_from_the_compiler_is_told_once_and_stands_in_the_row(self, make):
        record, events = run(make(engine=COMPILED))
        assert (record.status, record.compiled, record.compile_mode) == ("ok", False, None)
        assert record.notes == [NOT_COMPILED]
        assert of_kind(events, "notice") == [{"text": NOT_COMPILED}]
        assert (record.compile_s > 0, record.warmup_s) == (True, 0)
        assert figures(events) == figures(run(make())[1])

    @pytest.mark.usefixtures("no_graphs")
    def test_from_the_graph_is_told_once_and_stands_in_the_row(self, make):
        record, events = run(make(engine=GRAPH))
        assert (record.status, record.cuda_graph) == ("ok", False)
        assert record.notes == [NOT_RECORDED]
        assert of_kind(events, "notice") == [{"text": NOT_RECORDED}]
        assert figures(events) == figures(run(make())[1])

    @pytest.mark.usefixtures("no_compiler", "no_graphs")
    def test_from_everything_is_told_one_by_one(self, make, monkeypatch):
        class Uncompiled(Pipeline):
            def warm_up(self) -> None:
                self.fallback = "torch.compile failed on the input pipeline"

        monkeypatch.setattr(trial_module, "Pipeline", Uncompiled)
        record, events = run(make(engine=EngineSettings("cpu", "fp32", compile=True, cuda_graph=True)))
        assert record.status == "ok"
        assert record.notes == [NOT_COMPILED, NOT_RECORDED, "torch.compile failed on the input pipeline"]
        assert [notice["text"] for notice in of_kind(events, "notice")] == record.notes

    def test_is_not_told_where_there_was_none(self, make):
        record, events = run(make(engine=GRAPH))
        assert (record.cuda_graph, record.notes, of_kind(events, "notice")) == (True, [], [])


class TestRecord:
    def test_has_the_columns_of_its_profile(self, make):
        record, events = run(make(engine=GRAPH))
        (row,) = of_kind(events, "profile")
        assert (row["compiled"], row["compile_mode"], row["cuda_graph"]) == (False, None, True)
        assert (record.compiled, record.compile_mode, record.cuda_graph) == (False, None, True)
        assert phases(events) == ["data", "build", "profile", "build", "warm-up", *["train", "eval"] * 2]

    def test_says_which_mode_compiled(self, make, monkeypatch):
        monkeypatch.setattr(torch, "compile", lambda function, **options: function)
        settings = EngineSettings("cpu", "fp32", compile=True, compile_mode="max-autotune-no-cudagraphs")
        record, events = run(make(engine=settings))
        assert (record.compiled, record.compile_mode) == (True, "max-autotune-no-cudagraphs")
        assert phases(events)[:4] == ["data", "build", "warm-up", "profile"]

    def test_compiling_is_a_part_of_its_own_in_the_ledger(self, make, monkeypatch):
        late = SimpleNamespace(seconds=0.0)
        clock = SimpleNamespace(perf_counter=lambda: time.perf_counter() + late.seconds)
        versions: set[tuple[str, torch.Size]] = set()

        def compile_slowly(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
            def call(images: torch.Tensor, *labels: torch.Tensor) -> Any:
                version = (function.__name__, images.shape)
                late.seconds += 0 if version in versions else 1000
                versions.add(version)
                return function(images, *labels)

            return call

        for module in (ledger, profile):
            monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(torch, "compile", compile_slowly)
        record, _ = run(make(engine=COMPILED, budget="1ep"))
        assert record.compiled is True
        assert len(versions) == 3  # a training step, an evaluation, and the latency of one image
        assert record.compile_s // 1000 == 3
        assert record.wall_s // 1000 == 3
        assert 0 <= record.profile_s < 1000
        assert 0 <= record.other_s < 1000

    def test_recording_is_warming_up_in_the_ledger(self, make, monkeypatch):
        late = SimpleNamespace(seconds=0.0)
        clock = SimpleNamespace(perf_counter=lambda: time.perf_counter() + late.seconds)

        def record_slowly(self: CpuDevice, work: Callable[[], object]) -> Callable[[], object]:
            late.seconds += 1000 if len(recorded) < 2 else 0  # training and evaluation
            recorded.append(work)
            return work

        recorded: list[object] = []
        for module in (ledger, profile):
            monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(CpuDevice, "capture", record_slowly)
        record, _ = run(make(engine=GRAPH, budget="1ep"))
        assert (record.warmup_s // 1000, record.wall_s // 1000) == (2, 2)
        assert 0 <= record.profile_s < 1000
