"""What is recorded, when it is replayed, and what happens where a network cannot be recorded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_engines import (
    CPU,
    GRAPH,
    SGD,
    RecordingDevice,
    assert_same_end,
    batch,
    ended,
    make_engine,
    new_slots,
    optimizer_tensors,
    same,
    snapshot,
    train,
)

from resbench.devices import CpuDevice
from resbench.training.engine import Engine

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes."),
]


class RunningDevice(RecordingDevice):
    """Takes the work as it records it, which a GPU does not."""

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        work()
        return super().capture(work)


def recorded(slots: int = 1) -> tuple[Engine, RecordingDevice]:
    """An engine that is warm and recorded, and its device. It records training and evaluation slot by slot."""
    device = RecordingDevice()
    engine = make_engine(settings=GRAPH, slots=new_slots(slots), device=device)
    engine.warm_up(*engine.slots[0])
    assert device.recorded == 0
    engine.capture()
    return engine, device


class TestReplay:
    def test_of_steps_on_the_slots(self):
        engine, device = recorded(slots=2)
        assert engine.cuda_graph
        assert engine.fallbacks == []
        assert (device.recorded, device.replayed) == (4, [])
        for images, labels in engine.slots:
            engine.train_step(images, labels)
            engine.eval_step(images, labels)
        assert device.replayed == [0, 1, 2, 3]

    def test_never_of_steps_on_other_tensors(self):
        engine, device = recorded()
        twin, _ = recorded()
        engine.train_step(*batch(3))
        engine.eval_step(*batch(4))
        copied = tuple(tensor.clone() for tensor in engine.slots[0])
        engine.train_step(*copied)
        assert device.replayed == []
        assert engine.read_totals().images == 3 * len(batch()[1])
        assert not same(snapshot(engine.model), snapshot(twin.model))

    def test_reads_what_the_slots_hold_then(self):
        engine, _ = recorded(slots=2)
        plain = make_engine()
        for subject in (engine, plain):
            torch.manual_seed(7)
            train(subject)
        assert_same_end(ended(engine), ended(plain))

    def test_recording_runs_each_kind_of_step_as_it_is_run(self):
        engine = make_engine(settings=GRAPH, slots=new_slots(2), device=RunningDevice())
        modes = []
        engine.model.register_forward_hook(
            lambda module, *passed: modes.append((module.training, torch.is_inference_mode_enabled()))
        )
        engine.capture()
        assert modes == [(True, False), (False, True)] * 2

    @pytest.mark.parametrize("training", [True, False])
    def test_recording_leaves_everything_as_it_was(self, training):
        engine = make_engine(settings=GRAPH, slots=new_slots(2), device=RunningDevice())
        train(engine, 3)
        engine.model.train(training)
        before = snapshot(engine.model), optimizer_tensors(engine), torch.get_rng_state()
        totals, rate = engine.totals.clone(), float(engine.learning_rate)
        engine.capture()
        assert same(before[0], engine.model.state_dict())
        assert same(before[1], optimizer_tensors(engine))
        assert torch.equal(torch.get_rng_state(), before[2])
        assert torch.equal(engine.totals, totals)
        assert float(engine.learning_rate) == rate
        assert engine.model.training == training
        assert all(parameter.grad is None for parameter in engine.model.parameters())

    @pytest.mark.parametrize(("settings", "slots"), [(CPU, 1), (CPU, 2), (GRAPH, 0)])
    def test_is_only_of_what_was_asked_for_and_has_a_place_to_arrive_in(self, settings, slots):
        device = RecordingDevice()
        engine = make_engine(settings=settings, slots=new_slots(slots), device=device)
        engine.warm_up(*batch())
        engine.capture()
        engine.inference(batch()[0])()
        train(engine)
        assert (engine.cuda_graph, device.recorded, engine.fallbacks) == (False, 0, [])


class TestInference:
    def test_is_replayed_where_steps_are(self):
        engine, device = recorded()
        images, _ = batch(5)
        engine.model.eval()
        call = engine.inference(images)
        assert device.recorded == 3
        for _ in range(4):
            call()
        assert device.replayed == [2] * 4

    @pytest.mark.parametrize("settings", [CPU, GRAPH])
    def test_gives_the_logits_of_what_the_images_hold_when_it_is_called(self, settings):
        engine = make_engine(settings=settings, slots=new_slots())
        engine.capture()
        assert engine.cuda_graph == settings.cuda_graph
        engine.model.eval()
        images, _ = batch(5)
        call = engine.inference(images)  # of the twin: a real graph gives nothing back
        images.copy_(batch(6)[0])
        with torch.inference_mode():
            assert torch.equal(call(), engine.forward(batch(6)[0]))

    @pytest.mark.parametrize("settings", [CPU, GRAPH])
    def test_runs_in_inference_mode_and_changes_nothing(self, settings):
        engine = make_engine(settings=settings, slots=new_slots())
        engine.capture()
        engine.model.eval()
        modes = []
        engine.model.register_forward_hook(lambda *passed: modes.append(torch.is_inference_mode_enabled()))
        before = snapshot(engine.model)
        call = engine.inference(batch(5)[0])
        call()
        assert modes
        assert all(modes)
        assert same(before, engine.model.state_dict())


class RefusingDevice(CpuDevice):
    """Breaks off the recording with a number (from 0) in the middle of a step, and records those before it."""

    def __init__(self, error: Exception, at: int) -> None:
        super().__init__()
        self.error, self.at = error, at
        self.engine: Engine | None = None
        self.asked = self.replayed = 0

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        self.asked += 1
        if self.asked > self.at:
            assert self.engine is not None
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(self.engine.optimizer, "step", self.fail)  # there are gradients, statistics have moved
                work()
            raise self.error  # an evaluation takes no such step

        def replay() -> object:
            self.replayed += 1
            return work()

        return replay

    def fail(self) -> None:
        raise self.error


def refused(error: Exception, at: int) -> Engine:
    """An engine that has trained and is about to be refused."""
    device = RefusingDevice(error, at)
    engine = device.engine = make_engine(settings=GRAPH, slots=new_slots(2), device=device)
    torch.manual_seed(7)
    train(engine, 3)
    return engine


class TestFallback:
    ERROR = RuntimeError("operation not permitted when stream is capturing\nand a long explanation")

    @pytest.mark.parametrize("at", range(4))
    def test_leaves_everything_as_it_was_and_says_why_once(self, at):
        engine = refused(self.ERROR, at)
        before, optimizer, generator = snapshot(engine.model), optimizer_tensors(engine), torch.get_rng_state()
        totals, rate = engine.totals.clone(), float(engine.learning_rate)
        engine.capture()
        assert engine.fallbacks == [
            "the step cannot be recorded as a CUDA graph "
            "(RuntimeError: operation not permitted when stream is capturing), none used"
        ]
        assert not engine.cuda_graph
        assert same(before, engine.model.state_dict())
        assert same(optimizer, optimizer_tensors(engine))
        assert all(parameter.grad is None for parameter in engine.model.parameters())
        assert torch.equal(torch.get_rng_state(), generator)
        assert torch.equal(engine.totals, totals)
        assert float(engine.learning_rate) == rate
        assert engine.model.training

    @pytest.mark.parametrize("at", range(4))
    def test_goes_on_without_and_replays_nothing(self, at):
        engine, plain = refused(self.ERROR, at), make_engine(SGD, CPU)
        engine.capture()
        torch.manual_seed(7)
        train(plain, 3)
        for subject in (engine, plain):
            torch.manual_seed(8)
            train(subject, 3, first=3)
        asked = engine.seam.asked
        engine.model.eval()
        engine.inference(batch()[0])()
        assert (engine.seam.replayed, engine.seam.asked) == (0, asked)
        assert_same_end(ended(engine), ended(plain))

    @pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize("at", [0, 3])
    def test_running_out_of_memory_is_not_taken_for_it(self, error, at):
        engine = refused(error, at)
        with pytest.raises(type(error)):
            engine.capture()
        assert engine.fallbacks == []
        assert not engine.cuda_graph
