"""Whole trials on a machine with CUDA: every column filled, every mode recorded, fall-backs told."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from small_trials import Build, Events, Make, of_kind, planner, registering, run
from tiny_folder import CLASSES, make_tiny_folder
from torch import nn

from resbench.measure.profile import Subject
from resbench.planning.settings import resolve_engine
from resbench.precision import apply_precision
from resbench.recipes import get_recipe
from resbench.registry import create_model
from resbench.schema import EngineSettings, TrialRecord
from resbench.suite import EngineOptions
from resbench.training.engine import Engine

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("brief_timing")]

BATCH = 8
CPU_TOLERANCE = 1e-3
"""Relative, on the mean loss of 5 steps in fp32: other kernels, which add up in another order."""
SLOTS_TOLERANCE = 1e-3
"""Relative, on the losses of two epochs in fp32. The batches are the same to the bit; the backward pass of a
convolution may add up in another order from run to run. A batch that was overwritten too early is other images."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("data") / "shades", size=32)


@pytest.fixture
def make(folder: Path) -> Make:
    """Plans a trial of the tiny folder."""
    return planner(folder)


@pytest.fixture
def register() -> Iterator[Callable[[str, Build], None]]:
    """Registers networks for one test."""
    with registering() as add:
        yield add


def assert_ledger_adds_up(record: TrialRecord) -> None:
    parts = [value for name, value in vars(record).items() if name.endswith("_s") and name != "wall_s"]
    assert sum(parts) == pytest.approx(record.wall_s, rel=0.01)


def losses(events: Events) -> list[float]:
    return [loss for epoch in of_kind(events, "epoch") for loss in (epoch["train_loss"], epoch["test_loss"])]


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_trial_fills_every_column_that_only_cuda_has(make, precision, graph):
    record, _ = run(make(model="d2l_resnet18", engine=EngineSettings("cuda", precision, cuda_graph=graph)))
    assert (record.status, record.error, record.notes) == ("ok", None, [])
    assert record.peak_memory_reserved_mib >= record.peak_memory_allocated_mib > record.inference_memory_mib > 0
    assert (record.tf32, record.compiled, record.cuda_graph) == (precision == "tf32", False, graph)
    assert all([record.cuda, record.cudnn, record.driver])
    assert record.warmup_s > 0
    assert_ledger_adds_up(record)


@pytest.mark.slow
def test_a_trial_with_the_defaults_is_compiled_and_recorded(make):
    record, events = run(make(engine=resolve_engine(EngineOptions(device="cuda"))))
    assert (record.status, record.error, record.notes) == ("ok", None, [])
    assert (record.compiled, record.compile_mode, record.cuda_graph) == (True, "default", True)
    assert of_kind(events, "notice") == []
    assert (record.compile_s > 0, record.warmup_s) == (True, 0)
    assert record.steps == 8
    assert_ledger_adds_up(record)


@pytest.mark.parametrize("graph", [False, True])
def test_a_trial_with_two_slots_learns_what_one_with_one_slot_learns(make, monkeypatch, graph):
    settings = EngineSettings("cuda", "fp32", cuda_graph=graph)
    one, events = run(make(engine=settings, seed=3))
    original = Subject.engine_for
    monkeypatch.setattr(Subject, "engine_for", lambda *args, **more: original(*args, **{**more, "slots": 2}))
    two, others = run(make(engine=settings, seed=3))
    assert (one.status, two.status) == ("ok", "ok")
    assert (one.cuda_graph, two.cuda_graph) == (graph, graph)
    assert losses(others) == pytest.approx(losses(events), rel=SLOTS_TOLERANCE)


class ReadingBack(nn.Module):
    """Asks the device for a value in the middle of its forward pass, which a recording does not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(4, len(CLASSES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.body(images)
        if not features.is_meta and features.abs().max().item() < 0:
            features = -features
        return self.head(features.mean((2, 3)))


def test_a_network_that_cannot_be_recorded_is_trained_without_and_that_is_told_once(make, register):
    register("reading_back", ReadingBack)
    record, events = run(make(model="reading_back", engine=EngineSettings("cuda", "fp32", cuda_graph=True)))
    assert (record.status, record.error, record.cuda_graph) == ("ok", None, False)
    (note,) = (note for note in record.notes if "CUDA graph" in note)
    assert note.startswith("the step cannot be recorded as a CUDA graph (")
    assert of_kind(events, "notice") == [{"text": note}]
    assert len(losses(events)) == 4


def test_steps_on_the_gpu_and_on_the_cpu_agree_in_fp32():
    apply_precision("fp32")
    torch.manual_seed(0)
    model = create_model("d2l_resnet18")
    images, labels = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
    means = []
    for device in ("cpu", "cuda"):
        engine = Engine(copy.deepcopy(model), get_recipe("common"), EngineSettings(device, "fp32"))
        engine.set_learning_rate(0.01)
        for _ in range(5):
            engine.train_step(images.to(device), labels.to(device))
        means.append(engine.read_totals().mean_loss)
    assert means[0] == pytest.approx(means[1], rel=CPU_TOLERANCE)
