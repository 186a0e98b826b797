"""What a trial takes, beside what can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from made_up import BATCH, DATA, HEAD, measurement, trial

from resbench.errors import InputError
from resbench.estimate.arithmetic import kept_mib, scaled, timing_s, trial_times
from resbench.measure.latency import time_calls
from resbench.measure.profile import Subject
from resbench.recipes import RECIPES
from resbench.schema import EngineSettings
from resbench.training.engine import Engine
from resbench.training.state import engine_state


@pytest.mark.parametrize(
    ("budget", "steps", "evaluations"),
    [
        ("3ep", 30, 3),
        ("10steps", 10, 1),
        ("25steps", 25, 3),  # after the first and the second epoch, and at the end
        ("1050img", 11, 2),
        ("7.5s", 30, 3),
        ("1min", 240, 24),
        ("2.5e9flop", 25, 3),  # 1e8 a step
    ],
)
def test_a_budget_buys_its_steps_and_an_evaluation_an_epoch_and_one_at_the_end(
    budget: str, steps: int, evaluations: int
) -> None:
    times = trial_times(trial(budget=budget), measurement(), DATA)
    assert (times.steps, times.evaluations) == (steps, evaluations)
    assert times.train_s == steps * 0.25
    assert times.eval_s == evaluations * 3 * 0.125


def test_a_budget_that_buys_no_step_is_refused() -> None:
    with pytest.raises(InputError, match=r"buys 0\.01 of a step"):
        trial_times(trial(budget="1img"), measurement(), DATA)


def test_a_time_budget_is_the_training_time_whatever_a_step_takes() -> None:
    times = trial_times(trial(budget="10s"), measurement(step_s=3.0, data_s=0.0), DATA)
    assert (times.train_s, times.steps) == (10.0, 4)


@pytest.mark.parametrize(
    ("budget", "steps", "making"),
    [
        ("5steps", 5, 5),
        ("3ep", 30, 10),  # the features of the first epoch's images are computed once
        ("1.40625s", 5, None),
        ("3.4375s", 30, None),
        ("1.05e6flop", 50, 10),  # 1000 a feature of 1000 images, and 1000 a step
    ],
)
def test_where_features_are_cached_the_backbone_runs_once_an_image(budget: str, steps: int, making: int | None) -> None:
    times = trial_times(trial(budget=budget), measurement(head=HEAD), DATA)
    assert times.steps == steps
    if making is not None:
        assert times.train_s == making * 0.25 + steps * 0.03125
    assert times.step_s == 0.03125
    # Those of the test images are computed in the first evaluation.
    assert times.eval_s == times.evaluations * 3 * 0.0078125 + 3 * 0.25


@pytest.mark.parametrize("parts", [(1000, 0), (1000, None), (None, 10)])
def test_a_head_without_flops_is_no_shortcut_where_the_budget_counts_them(parts: tuple[int | None, int | None]) -> None:
    features, step = parts
    head = replace(HEAD, feature_flops=features, step_flops=step)
    whole = trial_times(trial(budget="5e9flop"), measurement(), DATA)
    assert trial_times(trial(budget="5e9flop"), measurement(head=head), DATA) == whole
    assert trial_times(trial(budget="3ep"), measurement(head=head), DATA) == trial_times(
        trial(budget="3ep"), measurement(head=HEAD), DATA
    )


def test_a_network_whose_flops_are_not_known_is_estimated_by_its_epochs() -> None:
    unknown = trial_times(trial(budget="3ep"), measurement(train_flops_per_image=None), DATA)
    assert unknown == trial_times(trial(budget="3ep"), measurement(), DATA)


def test_the_wall_time_is_all_there_is_but_for_the_start_of_the_process() -> None:
    times = trial_times(trial(), measurement(), DATA)
    assert times.setup_s == 1.0 + 0.5 + 2 * 0.125
    timings = timing_s(0.0625) + timing_s(0.125) + timing_s(0.1875)
    assert times.profile_s == 0.125 + 2 * 0.1875 + timings + 0.5
    assert times.wall_s == 7.5 + 9 * 0.125 + times.profile_s + times.setup_s


@pytest.mark.parametrize("engine", [EngineSettings("cuda", "bf16"), EngineSettings("cpu", "fp32", compile=True)])
def test_a_warm_up_is_counted_where_there_is_one(engine: EngineSettings) -> None:
    eager, warm = (trial_times(trial(engine=one), measurement(), DATA) for one in (trial().engine, engine))
    assert warm.profile_s - eager.profile_s == pytest.approx(3 * 0.1875 + 0.125)


class FakeDevice:
    """Its clock goes on by what a call takes."""

    queue_depth = 0

    def __init__(self) -> None:
        self.now = 0.0

    def synchronize(self) -> None: ...

    def mark(self) -> float:
        return self.now

    def wait(self, mark: float) -> None: ...

    def elapsed_s(self, start: float, end: float) -> float:
        return end - start


@pytest.mark.parametrize("call_s", [2**-12, 2**-6, 2**-4, 0.25, 0.75, 8.0])
def test_a_timing_takes_what_the_instrument_takes(call_s: float) -> None:
    device: Any = FakeDevice()

    def call() -> None:
        device.now += call_s

    time_calls(call, device)
    assert timing_s(call_s) == device.now


def test_a_dataset_is_held_with_its_training_images_once_more_where_borders_are_reflected() -> None:
    assert DATA.held_mib(0) == 40 + 10
    assert DATA.held_mib(4) == 40 + 10 + 40 * 16 / 8


@pytest.mark.parametrize("recipe", ["common", "resnet50_adam", "d2l"])
def test_what_a_checkpoint_holds_is_known_without_running_the_network(recipe: str) -> None:
    engine = Engine(
        Subject("cnn", "source", (3, 8, 8), 10, 2, EngineSettings("cpu", "fp32")).build(),
        RECIPES[recipe],
        EngineSettings("cpu", "fp32"),
    )
    engine.train_step(torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64))
    state = engine_state(engine)
    kept = [*state["model"].values(), *(tensor for of in state["optimizer"] for tensor in of.values())]
    params = sum(parameter.numel() for parameter in engine.model.parameters())
    there = sum(tensor.nbytes for tensor in kept) / 2**20
    assert kept_mib(RECIPES[recipe], params=params, trainable=params) == pytest.approx(there, rel=0.01)
    frozen = kept_mib(RECIPES[recipe], params=params, trainable=0)
    assert frozen == pytest.approx(4 * params / 2**20)


def test_a_network_that_was_not_measured_is_scaled_by_its_flops() -> None:
    one, two = (
        measurement(doubts=["it was busy"]),
        measurement(train_flops_per_image=3_000_000, step_s=0.5625, eval_s=0.375, single_s=0.1875),
    )
    guess = scaled([(trial("one"), one), (trial("two"), two)], trial("large"), 6_000_000, state_mib=7.0)
    assert (guess.step_s, guess.eval_s, guess.single_s) == (6 * 0.1875, 6 * 0.125, 6 * 0.0625)
    half = scaled([(trial("one"), one)], trial("one", batch_size=BATCH // 2), 1_000_000, state_mib=7.0)
    assert (half.step_s, half.single_s, half.setup_s, half.start_s) == (0.09375, 0.0625, 1.0, 2.0)
    assert (half.peak_mib, half.taken_mib, half.state_mib, half.head, half.doubts) == (None, None, 7.0, None, [])
