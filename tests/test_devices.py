from __future__ import annotations

import contextlib
import subprocess
import sys
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from resbench.devices import (
    CpuDevice,
    CudaDevice,
    DeviceState,
    MpsDevice,
    cpu,
    is_out_of_memory,
    open_device,
    resolve_device,
)
from resbench.errors import InputError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretends what the machine has."""

    def pretend(*, cuda: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


class TestResolveDevice:
    @pytest.mark.parametrize(
        ("has", "name"),
        [({"cuda": 1, "mps": True}, "cuda"), ({"mps": True}, "mps"), ({}, "cpu"), ({"cuda": 2}, "cuda")],
    )
    def test_auto_is_the_fastest_there_is(self, machine, has, name):
        machine(**has)
        assert resolve_device("auto") == name

    @pytest.mark.parametrize("name", ["cpu", "mps", "cuda", "cuda:0", "cuda:1"])
    def test_a_device_that_is_there_is_itself(self, machine, name):
        machine(cuda=2, mps=True)
        assert resolve_device(name) == name
        assert torch.device(resolve_device(name)).type == name.partition(":")[0]

    @pytest.mark.parametrize("name", ["tpu", "", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:01", "cpu:0", "cuda:1 "])
    def test_an_unknown_name_lists_those_that_are_accepted(self, machine, name):
        machine(cuda=2)
        with pytest.raises(InputError, match="Accepted: auto, cpu, mps, cuda, cuda:N"):
            resolve_device(name)

    @pytest.mark.parametrize("name", ["cuda", "cuda:0"])
    def test_cuda_where_there_is_none_says_what_to_do(self, machine, name):
        machine()
        with pytest.raises(InputError, match=f"--device {name}: torch sees no CUDA device.*--device cpu or auto"):
            resolve_device(name)

    def test_a_cuda_device_beyond_the_last_says_how_many_there_are(self, machine):
        machine(cuda=2)
        with pytest.raises(InputError, match="there are 2 CUDA devices"):
            resolve_device("cuda:2")

    def test_mps_where_there_is_none_says_what_to_do(self, machine):
        machine()
        with pytest.raises(InputError, match="no MPS device"):
            resolve_device("mps")


class TestCpuDevice:
    def test_is_what_cpu_opens(self):
        device = open_device("cpu")
        assert type(device) is CpuDevice
        assert device.torch_device == torch.device("cpu")
        assert device.queue_depth == 0
        assert device.name

    def test_its_marks_are_the_monotonic_clock(self, monkeypatch):
        monkeypatch.setattr(cpu, "time", SimpleNamespace(perf_counter=iter([10.0, 12.5]).__next__))
        device = CpuDevice()
        start, end = device.mark(), device.mark()
        device.wait(end)
        device.synchronize()
        assert device.elapsed_s(start, end) == 2.5

    def test_counts_no_energy(self):
        assert CpuDevice().energy_j() is None

    def test_tells_the_clock_of_as_many_threads_as_torch_uses(self, monkeypatch):
        monkeypatch.setattr(cpu, "clock_mhz", lambda threads: (1000.0 + threads, 4000.0))
        monkeypatch.setattr(cpu, "temperature_c", lambda: 55.5)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
        expected = DeviceState(clock_mhz=1003.0, max_clock_mhz=4000.0, temperature_c=55.5)
        assert CpuDevice().state() == expected
        assert CpuDevice().compute_processes() is None
        assert MpsDevice().state() == DeviceState()

    def test_captures_work_as_the_work_itself(self):
        calls = []
        replay = CpuDevice().capture(lambda: calls.append(1))
        assert calls == []
        replay()
        replay()
        assert calls == [1, 1]

    def test_runs_aside_and_ahead_in_the_one_order_that_it_has(self):
        done = []

        def batches() -> Iterator[int]:
            for number in range(3):
                done.append(f"made {number}")
                yield number

        device = CpuDevice()
        with device.aside():
            done.append("aside")
        for number in device.run_ahead(batches()):
            done.append(f"read {number}")
        assert done == ["aside", "made 0", "read 0", "made 1", "read 1", "made 2", "read 2"]

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")
    def test_a_window_sees_a_peak_inside_it_and_none_from_before(self):
        # In a process of its own: what earlier tests left in this one is freed and taken again at any time.
        done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
        grown, reserved, apart = done.stdout.split()
        assert reserved == "None"
        assert float(grown) == pytest.approx(32, abs=2)
        assert float(apart) == pytest.approx(0, abs=1)


PEAK = """
import torch
from resbench.devices import CpuDevice, cpu, resident_mib

device = CpuDevice()
before = torch.ones(48 * 2**18)  # 48 MiB
del before
device.start_memory_window()
level = resident_mib()
block = torch.ones(32 * 2**18)
del block
peak = device.memory_peak()
print(peak.allocated_mib - level, peak.reserved_mib, cpu.resident_peak_mib() - peak.allocated_mib)
"""


class Stream:
    """Stands for a CUDA stream or an event in one: notes what is queued on it, and what it waits for."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def wait_stream(self, other: Stream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")

    def record_event(self) -> Stream:
        return Stream(f"an event of {self.name}", self.log)

    def wait_event(self, event: Stream) -> None:
        self.log.append(f"{self.name} waits for {event.name}")


class TestCudaDevice:
    """The order in which its streams wait for each other, without a GPU."""

    @pytest.fixture
    def log(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What is queued, and on which stream."""
        log: list[str] = []
        self.current = [Stream("main", log)]

        @contextlib.contextmanager
        def stream(entered: Stream) -> Iterator[None]:
            self.current.append(entered)
            try:
                yield
            finally:
                self.current.pop()

        monkeypatch.setattr(torch.cuda, "current_stream", lambda *device: self.current[-1])
        monkeypatch.setattr(torch.cuda, "Stream", lambda *device: Stream("side", log))
        monkeypatch.setattr(torch.cuda, "stream", stream)
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
        return log

    def queue(self, what: str) -> None:
        stream = self.current[-1]
        stream.log.append(f"{what} on {stream.name}")

    def test_work_aside_comes_between_what_is_queued_before_it_and_after_it(self, log):
        with CudaDevice(0).aside():
            self.queue("work")
        assert log == ["side waits for main", "work on side", "main waits for side"]

    def test_what_comes_after_waits_for_work_aside_that_failed(self, log):
        def fail() -> None:
            self.queue("half of it")
            raise RuntimeError("the other half")

        with pytest.raises(RuntimeError, match="the other half"), CudaDevice(0).aside():
            fail()
        assert log == ["side waits for main", "half of it on side", "main waits for side"]

    def test_a_batch_is_made_beside_the_step_before_it_and_after_the_last_reader_of_its_slot(self, log):
        def batches() -> Iterator[int]:
            for number in range(3):
                self.queue(f"batch {number}")
                yield number

        for number in CudaDevice(0).run_ahead(batches()):
            self.queue(f"step {number}")
        made = "main waits for an event of side"
        assert log == [
            *("side waits for main", "batch 0 on side"),
            *("side waits for main", "batch 1 on side", made, "step 0 on main"),
            # Batch 2 has the slot of batch 0, so it waits for step 0 and not for step 1, which is queued after it.
            *("side waits for main", "batch 2 on side", made, "step 1 on main"),
            *("side waits for main", made, "step 2 on main"),
        ]

    def test_no_batches_ahead_are_none(self, log):
        assert list(CudaDevice(0).run_ahead(iter(()))) == []
        assert log == ["side waits for main"]


class TestCapture:
    """What surrounds a recording, without a GPU."""

    class Generator:
        """Stands for torch's default generator, which waits for the end of a recording."""

        def __init__(self, *, waits: bool) -> None:
            self.waits = waits

        def clone_state(self) -> TestCapture.Generator:
            return TestCapture.Generator(waits=False)

        def graphsafe_set_state(self, other: TestCapture.Generator) -> None:
            self.waits = other.waits

    @pytest.fixture
    def cuda(self, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
        """A torch.cuda that records nothing. To end a recording that was broken off fails, as it does in torch."""
        state = SimpleNamespace(stream="main", pools=[], generator=self.Generator(waits=False), spoiled=True, ended=[])

        @contextlib.contextmanager
        def graph(recorded: Any, *, pool: int, capture_error_mode: str) -> Iterator[None]:
            state.pools.append(pool)
            state.stream, state.generator.waits = "recording", True
            try:
                yield
            except Exception:
                if state.spoiled:
                    raise RuntimeError("operation failed due to a previous error during capture") from None
                raise
            state.stream, state.generator.waits = "main", False

        names = {
            "set_device": lambda device: None,
            "current_stream": lambda: state.stream,
            "set_stream": lambda stream: setattr(state, "stream", stream),
            "CUDAGraph": lambda: SimpleNamespace(replay=lambda: "replayed"),
            "graph_pool_handle": iter(range(9)).__next__,
            "graph": graph,
            "default_generators": (None, state.generator),
        }
        for name, value in names.items():
            monkeypatch.setattr(torch.cuda, name, value)

        def end(index: int, pool: int) -> None:
            state.ended.append((index, pool))
            if not state.spoiled:
                raise RuntimeError("not currently recording to mempool_id")

        monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end)
        return state

    def test_returns_the_replay_and_shares_one_pool(self, cuda):
        device, work = CudaDevice(1), []
        replays = [device.capture(lambda: work.append(1)) for _ in range(3)]
        assert [replay() for replay in replays] == ["replayed"] * 3
        assert len(work) == 3
        assert cuda.pools == [0, 0, 0]

    @pytest.mark.parametrize("spoiled", [True, False])
    @pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), ValueError("the network's own")])
    def test_that_fails_raises_what_broke_it_and_leaves_torch_as_it_was(self, cuda, error, spoiled):
        class Left:
            """What the work had made."""

        made: list[weakref.ref[Left]] = []

        def fail() -> None:
            left = Left()
            made.append(weakref.ref(left))
            raise error

        cuda.spoiled = spoiled
        device = CudaDevice(1)
        with pytest.raises(type(error)) as raised:
            device.capture(fail)
        assert raised.value is error
        error.__traceback__ = None
        del raised
        assert made[0]() is None  # without a collection: gradients that it waits for would hold the stream
        assert cuda.ended == [(1, 0)]
        assert (cuda.stream, cuda.generator.waits) == ("main", False)
        device.capture(lambda: None)
        assert cuda.pools == [0, 1]  # into another pool: torch takes the first one for in use


class TestOutOfMemory:
    def test_of_the_processor_is_recognised(self):
        with pytest.raises(RuntimeError) as raised:
            torch.empty(10**15)
        assert is_out_of_memory(raised.value)

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
            MemoryError(),
            RuntimeError("MPS backend out of memory (MPS allocated: 9.07 GB)"),
        ],
    )
    def test_of_others_is_recognised(self, error):
        assert is_out_of_memory(error)

    @pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError("out of memory")])
    def test_other_errors_are_not_taken_for_it(self, error):
        assert not is_out_of_memory(error)
