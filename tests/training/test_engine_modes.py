"""Eager steps, recorded ones and those after a warm-up or a restart all do the same."""

from __future__ import annotations

import pytest
import torch
from small_engines import (
    CPU,
    GRAPH,
    RECIPES,
    SGD,
    STEPS,
    RecordingDevice,
    assert_same_end,
    batch,
    ended,
    losses_of_a_short_run,
    make_engine,
    network,
    new_slots,
    optimizer_tensors,
    residual_engine,
    same,
    snapshot,
    train,
)

from resbench.training.engine import WARM_UP_STEPS, Engine, Totals

EITHER = pytest.mark.parametrize("settings", [CPU, GRAPH], ids=["eager", "graph"])
EVERY_OPTIMIZER = pytest.mark.parametrize("name", RECIPES)


def test_eager_and_recorded_steps_give_the_same_losses_to_the_bit():
    eager, graph = residual_engine(CPU), residual_engine(GRAPH)
    assert (eager.cuda_graph, graph.cuda_graph) == (False, True)
    losses = losses_of_a_short_run(eager)
    assert losses_of_a_short_run(graph) == losses
    assert len(losses) == STEPS + 1
    assert losses[-1] < 0.7 * losses[0]  # there was something to agree about
    assert same(snapshot(eager.model), snapshot(graph.model))


class TestWarmUp:
    @EVERY_OPTIMIZER
    def test_leaves_everything_as_it_was(self, name):
        engine = make_engine(RECIPES[name])
        before, generator = snapshot(engine.model), torch.get_rng_state()
        engine.set_learning_rate(0.3)
        engine.warm_up(*batch())
        assert same(before, engine.model.state_dict())
        assert engine.model[1].num_batches_tracked == 0
        assert torch.equal(torch.get_rng_state(), generator)
        assert all(not value.any() for value in optimizer_tensors(engine).values())
        assert all(parameter.grad is None for parameter in engine.model.parameters())
        assert engine.read_totals() == Totals(0.0, 0, 0)
        assert float(engine.learning_rate) == pytest.approx(0.3)
        assert engine.model.training

    @EITHER
    @EVERY_OPTIMIZER
    def test_and_recording_do_not_change_what_training_ends_with(self, name, settings):
        ends = []
        for warm in (False, True):
            engine = make_engine(RECIPES[name], settings, slots=new_slots(2))
            torch.manual_seed(7)
            if warm:
                engine.warm_up(*engine.slots[0])
                engine.capture()
                assert engine.cuda_graph == settings.cuda_graph
            train(engine)
            ends.append(ended(engine))
        assert_same_end(*ends)

    @EITHER
    @EVERY_OPTIMIZER
    def test_and_recording_in_the_middle_of_a_training_do_not_change_its_end(self, name, settings):
        ends = []
        for warm in (False, True):
            engine = make_engine(RECIPES[name], settings, slots=new_slots(2))
            torch.manual_seed(7)
            train(engine, 3)
            if warm:
                engine.warm_up(*batch(99))
                engine.capture()
            train(engine, 3, first=3)
            ends.append(ended(engine))
        assert_same_end(*ends)

    def test_runs_both_kinds_of_step(self):
        modes = []
        model = network()
        model.register_forward_hook(lambda module, inputs, output: modes.append(module.training))
        Engine(model, SGD, CPU).warm_up(*batch())
        assert modes == [True] * WARM_UP_STEPS + [False]

    def test_takes_as_many_training_steps_as_it_is_told(self):
        modes = []
        model = network()
        model.register_forward_hook(lambda module, inputs, output: modes.append(module.training))
        Engine(model, SGD, CPU).warm_up(*batch(), steps=2)
        assert modes == [True, True, False]


class TestPreserved:
    @EVERY_OPTIMIZER
    def test_puts_back_what_was_trained_and_where_it_was(self, name):
        engine = make_engine(RECIPES[name])
        train(engine, 3)
        engine.model.eval()
        before, generator = snapshot(engine.model), torch.get_rng_state()
        optimizer, totals, rate = optimizer_tensors(engine), engine.totals.clone(), float(engine.learning_rate)
        places = [tensor.data_ptr() for tensor in tensors_of(engine)]
        with engine.preserved():
            train(engine, 3, first=3)
            assert not same(before, engine.model.state_dict())
        assert same(before, engine.model.state_dict())
        assert same(optimizer, optimizer_tensors(engine))
        assert torch.equal(engine.totals, totals)
        assert float(engine.learning_rate) == rate
        assert torch.equal(torch.get_rng_state(), generator)
        assert not engine.model.training
        assert [tensor.data_ptr() for tensor in tensors_of(engine)] == places  # a recorded step reads them there


def tensors_of(engine: Engine) -> list[torch.Tensor]:
    """Everything that a step reads and that outlives it."""
    state = [value for of in engine.optimizer.state.values() for value in of.values() if torch.is_tensor(value)]
    return [*engine.model.state_dict().values(), *state, engine.totals, engine.learning_rate]


class TestRestart:
    @staticmethod
    def use(engine: Engine) -> None:
        """Leaves other weights, statistics, momentum, totals and mode, as instruments do."""
        engine.warm_up(*batch(50))
        train(engine, 5, first=60)
        engine.model.eval()
        engine.eval_step(*batch(70))

    @EITHER
    @EVERY_OPTIMIZER
    def test_is_as_good_as_a_new_engine(self, name, settings):
        recipe = RECIPES[name]
        fresh = make_engine(recipe, settings, seed=3, slots=new_slots())
        used = make_engine(recipe, settings, seed=4, slots=new_slots())
        self.use(used)
        used.capture()
        train(used, 2, first=80)
        used.model.eval()
        used.restart(snapshot(fresh.model))
        assert used.model.training
        ends = []
        for engine in (fresh, used):
            torch.manual_seed(7)
            train(engine)
            ends.append(ended(engine))
        assert_same_end(*ends)

    def test_keeps_the_tensors_and_what_was_recorded_on_them(self):
        device = RecordingDevice()
        engine = make_engine(settings=GRAPH, slots=new_slots(), device=device)
        engine.warm_up(*engine.slots[0])
        engine.capture()
        train(engine, 2)
        places = [tensor.data_ptr() for tensor in tensors_of(engine)]
        device.replayed.clear()
        engine.restart(snapshot(network(seed=5)))
        assert [tensor.data_ptr() for tensor in tensors_of(engine)] == places
        train(engine, 3)
        assert len(device.replayed) == 3

    def test_refuses_the_weights_of_another_network(self):
        engine = make_engine()
        weights = snapshot(engine.model)
        del weights["0.weight"]
        with pytest.raises(RuntimeError, match=r"0\.weight"):
            engine.restart(weights)
