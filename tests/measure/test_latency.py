from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from resbench.devices import CpuDevice
from resbench.measure.latency import (
    MAX_CALLS,
    MIN_CALLS,
    WARM_UP_CALLS,
    Timing,
    measure_latency,
    time_calls,
)
from resbench.recipes import get_recipe
from resbench.schema import EngineSettings
from resbench.training.engine import Engine


class ScriptedDevice(CpuDevice):
    """A device whose clock the measured code itself moves, and which may queue like a GPU."""

    def __init__(self, queue_depth: int = 0) -> None:
        super().__init__()
        self.queue_depth = queue_depth
        self.now = 0.0
        self.marks: list[float] = []
        self.reached = -1

    def mark(self) -> int:
        self.marks.append(self.now)
        return len(self.marks) - 1

    def wait(self, mark: int) -> None:
        assert mark <= len(self.marks) - 1 - self.queue_depth, "waits for a call that was queued just now"
        self.reached = max(self.reached, mark)

    def synchronize(self) -> None:
        self.reached = len(self.marks) - 1

    def elapsed_s(self, start: int, end: int) -> float:
        assert end <= self.reached or not self.queue_depth, "a mark was read before it was reached"
        return self.marks[end] - self.marks[start]


class Calls:
    """Takes the seconds that the script says: warm-up calls first, then one after the other."""

    def __init__(self, device: ScriptedDevice, seconds: list[float], warm_up: float = 50.0) -> None:
        self.device, self.script = device, [warm_up] * WARM_UP_CALLS + seconds
        self.count = 0

    def __call__(self) -> None:
        self.device.now += self.script[min(self.count, len(self.script) - 1)]
        self.count += 1


class TestTimeCalls:
    @pytest.mark.parametrize("queue_depth", [0, 2, 8])
    @pytest.mark.parametrize(
        ("seconds", "calls"),
        [(0.0, MAX_CALLS), (1 / 64, MAX_CALLS), (1 / 8, 16), (1 / 4, 8), (1 / 2, MIN_CALLS), (30.0, MIN_CALLS)],
    )
    def test_number_of_calls(self, seconds, calls, queue_depth):
        device = ScriptedDevice(queue_depth)
        call = Calls(device, [seconds])
        timing = time_calls(call, device, max_seconds=2.0)
        # Those that are queued when the time is seen to be over have been called already.
        expected = min(MAX_CALLS, calls + (queue_depth if calls > MIN_CALLS else 0))
        if calls == MIN_CALLS and queue_depth:
            assert MIN_CALLS <= len(timing.seconds) <= MIN_CALLS + queue_depth + 4
        else:
            assert len(timing.seconds) == expected
        assert call.count == WARM_UP_CALLS + len(timing.seconds)
        assert set(timing.seconds) == {seconds}

    def test_warm_up_calls_are_left_out(self):
        device = ScriptedDevice()
        timing = time_calls(Calls(device, [3.0, 1.0, 2.0, 5.0, 4.0]), device, max_seconds=2.0)
        assert timing.seconds == (3.0, 1.0, 2.0, 5.0, 4.0)

    @pytest.mark.parametrize("queue_depth", [0, 8])
    def test_every_call_has_its_own_time(self, queue_depth):
        device = ScriptedDevice(queue_depth)
        script = [float(call % 7) / 1024 for call in range(MAX_CALLS)]
        assert time_calls(Calls(device, script), device).seconds == tuple(script)

    def test_of_the_processor_counts_every_call(self):
        calls = []
        timing = time_calls(lambda: calls.append(1), CpuDevice())
        assert len(timing.seconds) == MAX_CALLS
        assert len(calls) == WARM_UP_CALLS + MAX_CALLS
        assert min(timing.seconds) > 0


def test_quantiles_and_rate_of_known_times():
    timing = Timing(tuple(call / 1000 for call in (9, 1, 5, 3, 7, 2, 8, 4, 6, 10, 0)))
    assert timing.ms() == pytest.approx(5)
    assert timing.ms(0.9) == pytest.approx(9)
    assert timing.ms(0) == 0
    assert timing.ms(1) == pytest.approx(10)
    assert timing.per_second(64) == pytest.approx(64 / 0.005)


class Slow(nn.Module):
    """A linear network whose forward pass takes 1 s and whose backward pass takes 3 s of a scripted clock.

    Its first training passes take longer, as they do where something is tuned or allocated.
    """

    def __init__(self, clock: SimpleNamespace | ScriptedDevice) -> None:
        super().__init__()
        self.clock = clock
        self.head = nn.Linear(12, 4)
        self.seen: list[tuple[int, bool, bool]] = []
        self.head.weight.register_hook(self._go_on)

    def _go_on(self, gradient: torch.Tensor) -> None:
        self.clock.now += 3.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        cold = self.training and sum(training for _, training, _ in self.seen) < WARM_UP_CALLS
        self.clock.now += 50.0 if cold else 1.0
        self.seen.append((len(images), self.training, torch.is_inference_mode_enabled()))
        return self.head(images.flatten(1))


class GraphDevice(ScriptedDevice):
    """Records work, and takes an eighth of a second to replay it, whatever it is."""

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        def replay() -> None:
            self.now += 0.125

        return replay


class TestMeasureLatency:
    def measure(self, *, with_step: bool, queue_depth: int = 0, graph: bool = False):
        device = GraphDevice(queue_depth) if graph else ScriptedDevice(queue_depth)
        model = Slow(device)
        batch = torch.randn(8, 3, 2, 2), torch.zeros(8, dtype=torch.int64)
        settings = EngineSettings("cpu", "fp32", cuda_graph=graph)
        engine = Engine(model, get_recipe("common"), settings, slots=[batch], device=device)
        engine.capture()
        weights = model.head.weight.detach().clone()
        latency = measure_latency(engine, device, with_step=with_step)
        assert torch.equal(model.head.weight, weights)  # the learning rate is 0
        return latency, model

    @pytest.mark.parametrize("graph", [False, True])
    @pytest.mark.parametrize("queue_depth", [0, 3])
    def test_forward_and_backward_are_the_two_halves_of_one_pass(self, queue_depth, graph):
        latency, _ = self.measure(with_step=False, queue_depth=queue_depth, graph=graph)
        assert len(latency.forward.seconds) == len(latency.backward.seconds)
        assert len(latency.forward.seconds) >= MIN_CALLS
        assert set(latency.forward.seconds) == {1.0}  # with a graph too: that has no halves
        assert set(latency.backward.seconds) == {3.0}

    def test_a_step_is_both_halves_and_the_update(self):
        latency, _ = self.measure(with_step=True)
        assert latency.step is not None
        assert latency.step.seconds == (4.0,) * MIN_CALLS

    def test_inference_and_steps_are_replayed_where_training_is(self):
        latency, _ = self.measure(with_step=True, graph=True)
        assert latency.step is not None
        for timing in (latency.single, latency.inference, latency.step):
            assert set(timing.seconds) == {0.125}

    def test_steps_are_not_timed_where_training_tells(self):
        latency, _ = self.measure(with_step=False)
        assert latency.step is None

    def test_each_timing_sees_the_batch_and_the_mode_that_it_is_named_for(self):
        _, model = self.measure(with_step=True)
        calls = WARM_UP_CALLS + MIN_CALLS
        single, inference, training = (1, False, True), (8, False, True), (8, True, False)
        assert model.seen == [single] * calls + [inference] * calls + [training] * (2 * calls)

    def test_the_batch_in_the_slot_is_not_touched(self):
        device = ScriptedDevice()
        batch = torch.randn(8, 3, 2, 2), torch.zeros(8, dtype=torch.int64)
        before = [tensor.clone() for tensor in batch]
        engine = Engine(Slow(device), get_recipe("common"), EngineSettings("cpu", "fp32"), slots=[batch])
        measure_latency(engine, device, with_step=True)
        assert all(torch.equal(tensor, kept) for tensor, kept in zip(batch, before, strict=True))
