"""A training that was cut short goes on from its checkpoint and ends with the same bits."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from small_loops import COMMON, SETTINGS, STEPS_PER_EPOCH, make_loop, make_pipeline, network

from resbench.recipes import RECIPES, Augmentation, Recipe
from resbench.training.checkpoint import Checkpoints
from resbench.training.engine import Engine
from resbench.training.loop import Loop
from resbench.training.state import engine_state, load_engine_state

BUDGET = "2.5ep"
SHUFFLED = dataclasses.replace(COMMON, augmentation=Augmentation(crop_padding=2, horizontal_flip=True, cutout=3))
ADAM = dataclasses.replace(RECIPES["resnet50_adam"], augmentation=SHUFFLED.augmentation)
MADE_WITH = {"trial": "abc", "torch": "2"}


class KilledError(Exception):
    """Stands for SIGKILL."""


class KillAt(Checkpoints):
    """Writes a checkpoint after every step, and dies at one."""

    def __init__(self, path: Path, step: int) -> None:
        super().__init__(path, MADE_WITH, every_s=0.0)
        self.step = step

    def save(self, state: dict[str, Any]) -> None:
        super().save(state)
        if state["steps"] == self.step:
            raise KilledError


def loop_of(recipe: Recipe, *, slots: int = 0, **more: Any) -> Loop:
    pipeline = make_pipeline(recipe, seed=3)
    engine = Engine(network(seed=3), recipe, SETTINGS, slots=[pipeline.new_batch() for _ in range(slots)])
    return make_loop(BUDGET, recipe=recipe, engine=engine, pipeline=pipeline, **more)


def outcome(loop: Loop) -> dict[str, Any]:
    """All that a training leaves but its times."""
    epochs = [{key: value for key, value in dataclasses.asdict(report).items() if not key.endswith(("_s", "_second"))}
              for report in loop.result.epochs]  # fmt: skip
    return {
        "engine": engine_state(loop.engine),
        "pipeline": loop.pipeline.state(),
        "epochs": epochs,
        "steps": loop.result.steps,
        "images_seen": loop.result.images_seen,
        "correct": loop.result.correct,
        "timed": len(loop.result.step_seconds),
    }


def assert_same(left: Any, right: Any) -> None:
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        assert left == right


class TestGoingOn:
    @pytest.mark.parametrize("recipe", [SHUFFLED, ADAM], ids=["sgd", "adam"])
    @pytest.mark.parametrize("slots", [0, 2])
    @pytest.mark.parametrize("step", [1, 4, STEPS_PER_EPOCH, STEPS_PER_EPOCH + 1, 2 * STEPS_PER_EPOCH + 4])
    def test_ends_with_the_same_bits(self, step, slots, recipe, tmp_path):
        torch.manual_seed(7)
        whole = loop_of(recipe, slots=slots)
        whole.run()

        path = tmp_path / "checkpoints" / "trial.pt"
        torch.manual_seed(7)
        with pytest.raises(KilledError):
            loop_of(recipe, slots=slots, checkpoints=KillAt(path, step)).run()

        torch.manual_seed(99)  # the generator of dropout comes from the checkpoint
        state, reason = Checkpoints(path, MADE_WITH, every_s=60).load()
        assert reason is None
        going_on = loop_of(recipe, slots=slots)
        going_on.load(state)
        assert going_on.result.steps == step
        going_on.run()
        assert_same(outcome(going_on), outcome(whole))

    def test_counts_in_what_the_earlier_attempt_spent(self, tmp_path):
        path = tmp_path / "trial.pt"
        first = loop_of(SHUFFLED, checkpoints=KillAt(path, 4))
        with pytest.raises(KilledError):
            first.run()
        state, _ = Checkpoints(path, MADE_WITH, every_s=60).load()
        second = loop_of(SHUFFLED)
        second.load(state)
        assert second.clock.seconds == pytest.approx(sum(first.clock.step_seconds[:4]))
        columns = second.ledger.columns()
        assert columns["wall_s"] > state["ledger"]["wall_s"] > 0
        parts = sum(seconds for part, seconds in columns.items() if part != "wall_s")
        assert parts == pytest.approx(columns["wall_s"], rel=1e-9)
        assert columns["data_s"] + columns["step_s"] == pytest.approx(second.clock.seconds)

    def test_twice_is_as_good_as_once(self, tmp_path):
        torch.manual_seed(7)
        whole = loop_of(SHUFFLED)
        whole.run()
        path = tmp_path / "trial.pt"
        torch.manual_seed(7)
        state = None
        for step in (3, 14):
            loop = loop_of(SHUFFLED, checkpoints=KillAt(path, step))
            if state:
                loop.load(state)
            with pytest.raises(KilledError):
                loop.run()
            state, _ = Checkpoints(path, MADE_WITH, every_s=60).load()
        last = loop_of(SHUFFLED)
        last.load(state)
        last.run()
        assert_same(outcome(last), outcome(whole))

    def test_is_counted(self, tmp_path):
        first = Checkpoints(tmp_path / "x.pt", MADE_WITH, every_s=60)
        first.save({})
        second, third = (Checkpoints(tmp_path / "x.pt", MADE_WITH, every_s=60) for _ in range(2))
        second.load()
        second.save({})
        third.load()
        assert (first.resumed, second.resumed, third.resumed) == (0, 1, 2)

    def test_a_state_of_another_network_is_refused(self):
        engine, other = (Engine(network(), recipe, SETTINGS) for recipe in (COMMON, COMMON))
        state = engine_state(engine)
        state["model"].pop("0.weight")
        with pytest.raises(ValueError, match=r"0\.weight"):
            load_engine_state(other, state)
        state = engine_state(engine)
        state["optimizer"].pop()
        with pytest.raises(ValueError, match="5 trained tensors, the network has 6"):
            load_engine_state(other, state)


class TestTheFile:
    def test_is_not_there_at_first(self, tmp_path):
        assert Checkpoints(tmp_path / "x.pt", MADE_WITH, every_s=1).load() == (None, None)

    def test_is_replaced_as_a_whole_and_a_full_disk_ends_no_training(self, tmp_path, monkeypatch):
        told: list[str] = []
        checkpoints = Checkpoints(tmp_path / "x.pt", MADE_WITH, every_s=0, on_failure=told.append)
        checkpoints.save({"steps": 1})

        def full(*args: Any) -> None:
            args[1].write(b"half of")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(torch, "save", full)
        checkpoints.save({"steps": 2})
        monkeypatch.undo()
        (said,) = told
        assert "No space left on device" in said
        assert not checkpoints.due()
        assert checkpoints.load() == ({"steps": 1}, None)
        assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]

    @pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut short"])
    def test_that_cannot_be_read_starts_over_and_says_so(self, content, tmp_path):
        (tmp_path / "x.pt").write_bytes(content)
        state, reason = Checkpoints(tmp_path / "x.pt", MADE_WITH, every_s=1).load()
        assert state is None
        assert reason.startswith("the checkpoint cannot be read")
        assert reason.endswith("starting over")

    def test_that_would_run_code_does_not(self, tmp_path):
        marker = tmp_path / "ran"

        class Payload:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (marker,)

        hostile = tmp_path / "x.pt"
        torch.save({"format": 1, "made_with": MADE_WITH, "resumed": 0, "state": Payload()}, hostile)
        state, reason = Checkpoints(hostile, MADE_WITH, every_s=1).load()
        assert state is None
        assert "cannot be read" in reason
        assert not marker.exists()
        hostile.write_bytes(pickle.dumps(Payload()))
        assert Checkpoints(hostile, MADE_WITH, every_s=1).load()[0] is None
        assert not marker.exists()

    @pytest.mark.parametrize("made_with", [[], "x", 3])
    def test_of_another_shape_starts_over(self, made_with, tmp_path):
        torch.save({"format": 1, "made_with": made_with, "resumed": 0, "state": {}}, tmp_path / "x.pt")
        state, reason = Checkpoints(tmp_path / "x.pt", MADE_WITH, every_s=1).load()
        assert state is None
        assert reason.endswith("starting over")

    def test_of_other_software_starts_over_and_says_what_differs(self, tmp_path):
        Checkpoints(tmp_path / "x.pt", MADE_WITH, every_s=1).save({})
        state, reason = Checkpoints(tmp_path / "x.pt", {**MADE_WITH, "torch": "3"}, every_s=1).load()
        assert (state, reason) == (None, "the checkpoint is of torch 2, this is 3: starting over")

    def test_is_due_after_its_time(self, monkeypatch, tmp_path):
        from resbench.training import checkpoint

        now = [100.0]
        monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: now[0])
        checkpoints = Checkpoints(tmp_path / "x.pt", MADE_WITH, every_s=60)
        due = []
        for now[0] in (100.0, 159.0, 160.0):
            due.append(checkpoints.due())
        checkpoints.save({})
        assert [*due, checkpoints.due()] == [False, False, True, False]
