from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from resbench.devices import CpuDevice, MemoryPeak
from resbench.measure import memory as memory_module
from resbench.measure.memory import MemoryUse, measure_memory, memory_level
from resbench.recipes import get_recipe
from resbench.schema import EngineSettings
from resbench.training.engine import Engine

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")

BLOCK_MIB = 64
SCRIPT = """
import json, os, sys
import torch
from torch import nn
from resbench.devices import open_device
from resbench.measure.memory import measure_memory, memory_level
from resbench.recipes import get_recipe
from resbench.registry import create_model
from resbench.schema import EngineSettings
from resbench.training.engine import Engine

class Allocating(nn.Module):
    def __init__(self, mib):
        super().__init__()
        self.head = nn.Linear(3 * 32 * 32, 10)
        self.numbers = mib * 2**20 // 4

    def forward(self, images):
        block = torch.ones(self.numbers)
        return self.head(images.flatten(1)) * block[0]

class Keeping(Allocating):
    def __init__(self, mib):
        super().__init__(0)
        self.kept = nn.Parameter(torch.ones(mib * 2**20 // 4))

    def forward(self, images):
        return self.head(images.flatten(1)) + self.kept.sum()

def build(what):
    kind, _, mib = what.partition(":")
    if mib:
        return {"allocating": Allocating, "keeping": Keeping}[kind](int(mib))
    return create_model(what)

def measure(what):
    device = open_device("cpu")
    level = memory_level(device)
    images, labels = torch.zeros(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64)
    settings = EngineSettings("cpu", "fp32")
    engine = Engine(build(what), get_recipe("common"), settings, slots=[(images, labels)])
    use = measure_memory(engine, device, level_mib=level)
    figures = [use.inference_mib, use.training_allocated_mib, use.training_reserved_mib]
    print(json.dumps([what, *figures]), flush=True)

for what in sys.argv[1:]:  # each in a process that has measured nothing: a fork
    child = os.fork()
    if child == 0:
        measure(what)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, what
"""
ALLOCATING, KEEPING, NETWORK = f"allocating:{BLOCK_MIB}", f"keeping:{BLOCK_MIB}", "d2l_resnet18"


@pytest.fixture(scope="module")
def measured() -> dict[str, tuple[float, float]]:
    """Memory of inference and of training in MiB, measured in fresh processes."""
    command = [sys.executable, "-c", SCRIPT, ALLOCATING, KEEPING, NETWORK]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        what, inference, training, reserved = json.loads(line)
        assert reserved is None
        found[what] = (inference, training)
    return found


@linux_only
def test_a_known_allocation_of_the_forward_pass_is_seen_in_both_passes(measured: dict[str, tuple[float, float]]):
    inference, training = measured[ALLOCATING]
    assert inference == pytest.approx(BLOCK_MIB, rel=0.05)
    assert training == pytest.approx(BLOCK_MIB, rel=0.05)


@linux_only
def test_training_holds_weights_gradients_and_momentum(measured: dict[str, tuple[float, float]]):
    inference, training = measured[KEEPING]
    assert inference == pytest.approx(BLOCK_MIB, rel=0.05)
    assert training == pytest.approx(3 * BLOCK_MIB, rel=0.05)


@linux_only
def test_inference_of_a_network_takes_its_weights_and_less_than_training(measured: dict[str, tuple[float, float]]):
    inference, training = measured[NETWORK]
    weights = 11_184_650 * 4 / 2**20
    assert weights < inference < training
    assert training > 3 * weights


class ScriptedDevice(CpuDevice):
    """Gives peaks by script and notes what was asked of it."""

    def __init__(self, peaks: list[MemoryPeak]) -> None:
        super().__init__()
        self.peaks, self.calls = peaks, list[str]()

    def start_memory_window(self) -> None:
        self.calls.append("window")

    def memory_peak(self) -> MemoryPeak:
        self.calls.append("peak")
        return self.peaks.pop(0)


def noting_engine(note: Callable[[str], None]) -> Engine:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    model.register_forward_hook(lambda module, inputs, output: note("train" if module.training else "eval"))
    batch = torch.randn(8, 3, 2, 2), torch.zeros(8, dtype=torch.int64)
    return Engine(model, get_recipe("common"), EngineSettings("cpu", "fp32"), slots=[batch])


def test_each_pass_has_a_window_of_its_own_and_is_counted_from_the_level():
    device = ScriptedDevice([MemoryPeak(110.0, None), MemoryPeak(150.0, 256.0)])
    engine = noting_engine(device.calls.append)
    assert measure_memory(engine, device, level_mib=100.0) == MemoryUse(10.0, 50.0, 256.0)
    assert device.calls == ["window", "eval", "peak", "window", "train", "train", "peak"]


def test_the_optimizer_state_of_a_warm_up_is_none_of_inference():
    device = ScriptedDevice([MemoryPeak(110.0, None), MemoryPeak(150.0, 256.0)])
    engine = noting_engine(lambda mode: None)
    assert engine.optimizer_bytes == 0
    engine.warm_up(*engine.slots[0])
    momentum = sum(parameter.nbytes for parameter in engine.model.parameters())
    assert engine.optimizer_bytes == momentum > 0
    use = measure_memory(engine, device, level_mib=100.0)
    assert use == MemoryUse(10.0 - momentum / 2**20, 50.0, 256.0)


def test_measuring_memory_changes_no_weight():
    device = ScriptedDevice([MemoryPeak(0.0, None), MemoryPeak(0.0, None)])
    engine = noting_engine(lambda mode: None)
    before = engine.model[1].weight.detach().clone()
    measure_memory(engine, device, level_mib=0.0)
    assert torch.equal(engine.model[1].weight, before)


def test_only_inference_is_measured_where_a_network_cannot_be_trained():
    device = ScriptedDevice([MemoryPeak(110.0, None)])
    engine = noting_engine(device.calls.append)
    assert measure_memory(engine, device, level_mib=100.0, train=False) == MemoryUse(10.0, None, None)
    assert device.calls == ["window", "eval", "peak"]


def test_the_level_of_the_processor_is_this_process_resident_set(monkeypatch):
    monkeypatch.setattr(memory_module, "resident_mib", lambda: 123.0)
    assert memory_level(CpuDevice()) == 123.0


def test_an_allocator_counts_from_zero():
    assert memory_level(ScriptedDevice([])) == 0.0


def test_reading_the_level_draws_nothing():
    state = torch.get_rng_state()
    memory_level(CpuDevice())
    assert torch.equal(torch.get_rng_state(), state)
