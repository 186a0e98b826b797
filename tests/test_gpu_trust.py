"""What a trial leaves where CUDA runs out of memory, is cut short, or diverges: with graphs too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from small_trials import Build, Make, of_kind, planner, registering, run
from test_trial_trust import killed_after
from tiny_folder import make_tiny_folder
from torch import nn

from resbench.conduct import Attempt
from resbench.devices import CudaDevice
from resbench.schema import EngineSettings, Hits

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("brief_timing")]

GRAPH = EngineSettings("cuda", "fp32", cuda_graph=True)
TOLERANCE = 1e-3
"""Relative, on losses of ``cnn`` in fp32: the backward pass of a convolution may add up in another order from run to
run. A network with batch norm would multiply that within an epoch, until nothing could be told from it."""


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return planner(make_tiny_folder(tmp_path_factory.mktemp("trust") / "shades", size=32))


@pytest.fixture
def register() -> Iterator[Callable[[str, Build], None]]:
    with registering() as add:
        yield add


@pytest.mark.parametrize("graph", [False, True])
def test_a_trial_goes_on_from_its_checkpoint(make, graph, tmp_path: Path):
    planned = make(model="cnn", budget="3ep", engine=EngineSettings("cuda", "fp32", cuda_graph=graph))
    _, whole = run(planned)
    attempt = Attempt(checkpoint=tmp_path / "x.pt", checkpoint_every_s=0.0)
    killed_after(planned, attempt, 1)
    record, events = run(planned, attempt)
    assert (record.status, record.resumed, record.cuda_graph) == ("ok", 1, graph)
    left = of_kind(whole, "epoch")[1:]
    for one, other in zip(of_kind(events, "epoch"), left, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=TOLERANCE)
        assert one["learning_rate"] == other["learning_rate"]


def test_hits_are_as_many_as_the_accuracy_says_where_evaluation_is_replayed(make):
    record, events = run(make(engine=GRAPH))
    (event,) = of_kind(events, "hits")
    assert Hits.from_dict(event).unpack().mean() == record.test_accuracy


def test_a_batch_in_parts_is_recorded_as_a_graph_and_learns_what_a_whole_one_does(make):
    whole, _ = run(make(engine=GRAPH))
    parts, _ = run(make(engine=GRAPH), Attempt(micro_batch_size=3))
    assert (parts.status, parts.cuda_graph, parts.micro_batch_size) == ("ok", True, 3)
    assert parts.test_loss == pytest.approx(whole.test_loss, rel=1e-2)


def test_memory_that_runs_out_is_oom_and_not_a_crash(make, register, capsys):
    class Huge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            room = torch.cuda.get_device_properties(0).total_memory
            return torch.empty(2 * room, dtype=torch.uint8, device=images.device)[:2].float() * self.weight

    register("huge", Huge)
    record, _ = run(make(model="huge", engine=EngineSettings("cuda", "fp32")))
    assert record.status == "oom"
    assert "out of memory" in record.error
    assert "Traceback" in capsys.readouterr().err


def test_numbers_arrive_behind_what_is_queued_without_a_wait():
    device = CudaDevice(0)
    values = torch.zeros(4, dtype=torch.float64, device="cuda")
    device.peek(values)  # the first one takes pinned memory, for which a driver may wait
    device.synchronize()
    torch.cuda._sleep(200_000_000)
    values += 7
    arrived = device.peek(values)
    assert arrived() is None  # a tenth of a second of sleep is before it
    device.synchronize()
    assert arrived() == [7.0] * 4


def test_the_step_that_diverged_is_named_where_steps_are_queued(make, register):
    class Breaking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)
            self.register_buffer("left", torch.tensor(3.0))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = self.linear(images.mean((2, 3)))
            if self.training:
                with torch.no_grad():
                    self.left -= 1
                logits = logits + torch.where(self.left < 0, torch.nan, 0.0)
            return logits

    register("breaking", Breaking)
    record, _ = run(make(model="breaking", budget="3ep", engine=EngineSettings("cuda", "fp32"), recipe="d2l"))
    assert (record.status, record.phase, record.steps) == ("diverged", "train", 4)
    assert record.error == "DivergedError: the training loss was not finite at step 4"
