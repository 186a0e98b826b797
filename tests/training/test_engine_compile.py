"""``torch.compile`` in a step: what happens where it fails, and that it computes what eager code does."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from collections.abc import Callable

import pytest
import torch
from small_engines import (
    COMPILED,
    CPU,
    GRAPH,
    SGD,
    assert_same_end,
    batch,
    ended,
    losses_of_a_short_run,
    make_engine,
    network,
    residual_engine,
    same,
    snapshot,
    train,
)
from torch import nn

from resbench.training.engine import Engine

COMPILED_TOLERANCE = 1e-5
"""Relative, on every loss of 50 steps in fp32. Compiled code adds up in another order, which is worth some 1e-7 a
step here; nothing in a step is left out, replaced or rounded further."""


class TestFallback:
    @pytest.fixture(autouse=True)
    def _failing_compiler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail_after_a_call(function: Callable[..., object], **options: object) -> Callable[..., object]:
            def call(*arguments: torch.Tensor) -> object:
                function(*arguments)  # batch-norm statistics and dropout's draws have moved
                raise NotImplementedError("no lowering for this operator\nand a long explanation")

            return call

        monkeypatch.setattr(torch, "compile", fail_after_a_call)

    def test_runs_eager_and_says_why_once(self):
        engine = make_engine(settings=COMPILED)
        assert engine.compiled
        engine.warm_up(*batch())
        engine.warm_up(*batch())
        assert not engine.compiled
        assert engine.fallbacks == [
            "torch.compile failed (NotImplementedError: no lowering for this operator), eager instead"
        ]

    @pytest.mark.parametrize("graph", [False, True])
    def test_ends_as_a_run_that_was_eager_from_the_start(self, graph):
        ends = []
        for settings in (CPU, COMPILED):
            engine = make_engine(settings=dataclasses.replace(settings, cuda_graph=graph), slots=[batch(98)])
            torch.manual_seed(7)
            before, generator = snapshot(engine.model), torch.get_rng_state()
            engine.warm_up(*batch(99))
            engine.capture()
            assert same(before, engine.model.state_dict())
            assert torch.equal(torch.get_rng_state(), generator)
            assert engine.cuda_graph == graph
            train(engine)
            ends.append(ended(engine))
        assert_same_end(*ends)

    def test_there_may_be_no_compiler_at_all(self, monkeypatch):
        def refuse(function: Callable[..., object], **options: object) -> Callable[..., object]:
            raise RuntimeError("Dynamo is not supported on this Python")

        monkeypatch.setattr(torch, "compile", refuse)
        engine = make_engine(settings=COMPILED)
        assert not engine.compiled
        (reason,) = engine.fallbacks
        assert "Dynamo is not supported on this Python" in reason
        engine.warm_up(*batch())
        train(engine)

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            MemoryError(),
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes."),
        ],
    )
    def test_running_out_of_memory_is_not_taken_for_it(self, error, monkeypatch):
        def exhausted(*arguments: torch.Tensor) -> torch.Tensor:
            raise error

        monkeypatch.setattr(torch, "compile", lambda function, **options: exhausted)
        engine = make_engine(settings=COMPILED)
        with pytest.raises(type(error)):
            engine.warm_up(*batch())
        assert engine.fallbacks == []

    def test_an_error_of_the_model_itself_is_raised(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(1, 5))  # does not fit the images
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            Engine(model, SGD, COMPILED).warm_up(*batch())
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            Engine(copy.deepcopy(model), SGD, CPU).warm_up(*batch())


@pytest.mark.parametrize("mode", ["default", "reduce-overhead", "max-autotune-no-cudagraphs"])
def test_the_compiler_gets_the_mode_of_the_settings(monkeypatch, mode):
    modes = []

    def compile_nothing(function: Callable[..., object], **options: object) -> Callable[..., object]:
        modes.append(options["mode"])
        return function

    monkeypatch.setattr(torch, "compile", compile_nothing)
    engine = Engine(network(), SGD, dataclasses.replace(COMPILED, compile_mode=mode))
    engine.warm_up(*batch())
    assert engine.compiled
    assert set(modes) == {mode}


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
def test_compiled_code_trains_as_eager_code_does():
    # One test, because compiling takes half a minute and what is compiled here serves every engine below.
    eager = losses_of_a_short_run(residual_engine(CPU))
    torch._dynamo.utils.counters.clear()
    compiled = residual_engine(COMPILED)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs == 2  # the training step and the evaluation
    initial = snapshot(compiled.model)
    assert same(initial, residual_engine(CPU, warm=False).model.state_dict())  # the warm-up has left no trace
    losses = losses_of_a_short_run(compiled)
    assert (compiled.compiled, compiled.fallbacks) == (True, [])
    assert losses == pytest.approx(eager, rel=COMPILED_TOLERANCE)
    assert losses[-1] < 0.7 * losses[0]

    cold = residual_engine(COMPILED, warm=False)
    assert losses_of_a_short_run(cold) == pytest.approx(losses, rel=COMPILED_TOLERANCE)
    for name, value in cold.model.state_dict().items():
        torch.testing.assert_close(value, compiled.model.state_dict()[name], rtol=COMPILED_TOLERANCE, atol=1e-6)

    recorded = residual_engine(dataclasses.replace(GRAPH, compile=True))
    assert (recorded.compiled, recorded.cuda_graph) == (True, True)
    assert losses_of_a_short_run(recorded) == pytest.approx(eager, rel=COMPILED_TOLERANCE)

    compiled.restart(initial)
    assert losses_of_a_short_run(compiled) == pytest.approx(losses, rel=COMPILED_TOLERANCE)
    assert [engine.fallbacks for engine in (cold, recorded, compiled)] == [[], [], []]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs  # other weights are no other code
