"""A few steps stand for a training: with cached features, for one that makes them first."""

from __future__ import annotations

import pytest
from frozen_networks import BATCH, FEATURES, TRAIN, engine_of, frozen_network, image_pipeline
from small_engines import same, snapshot

from resbench.budget import parse_budget, plan_spending
from resbench.devices import CpuDevice
from resbench.training.alone import train_alone
from resbench.training.features import FeaturePipeline, train_head_only

STEPS = 10  # 43 // 4
MAKING_S, STEP_S = 2.0, 0.5


class SlowFeatures(CpuDevice):
    """A device on which making a batch's features takes two seconds, and a step half a second."""

    def __init__(self, pipeline: FeaturePipeline) -> None:
        super().__init__()
        self.pipeline, self.marks = pipeline, 0
        self.batches = 0
        extract = pipeline.extract

        def counted(images):
            self.batches += 1
            return extract(images)

        pipeline.extract = counted

    def mark(self) -> float:
        self.marks += 1
        return MAKING_S * self.batches + STEP_S * (self.marks // 2)


@pytest.fixture
def training():
    return train_head_only(engine_of(frozen_network()), image_pipeline(), FEATURES)[0]


@pytest.mark.parametrize(
    ("budget", "seconds", "steps"),
    [
        ("3ep", STEPS * 2.5 + 2 * STEPS * 0.5, 3 * STEPS),
        ("4steps", 4 * 2.5, 4),
        ("35s", 35.0, STEPS + 20),  # 25 s for the first epoch, then half a second a step
        ("10s", 10.0, 4),
    ],
)
@pytest.mark.parametrize("few", [3, 50])
def test_the_speed_is_that_of_the_whole_training(training, budget, seconds, steps, few):
    device = SlowFeatures(training.pipeline)
    spending = plan_spending(parse_budget(budget), batch_size=BATCH, steps_per_epoch=STEPS)
    result = train_alone(training.engine, training.pipeline, device, FEATURES, spending, few)
    assert (result.steps, result.images_seen) == (steps, steps * BATCH)
    assert result.train_clock_s == pytest.approx(seconds)
    assert result.train_images_per_second == pytest.approx(steps * BATCH / seconds)
    assert sorted(result.step_seconds) == pytest.approx([0.5] * max(0, steps - STEPS) + [2.5] * min(steps, STEPS))
    assert result.features_made == min(TRAIN, steps * BATCH)


def test_a_long_training_is_told_by_a_thousand_steps(training):
    device = SlowFeatures(training.pipeline)
    spending = plan_spending(parse_budget("100000ep"), batch_size=BATCH, steps_per_epoch=STEPS)
    result = train_alone(training.engine, training.pipeline, device, FEATURES, spending, 3)
    assert len(result.step_seconds) == 1000
    assert result.step_ms(0.5) == pytest.approx(500)
    assert result.train_images_per_second == pytest.approx(BATCH / 0.5, rel=1e-4)


def test_everything_is_as_before(training, monkeypatch):
    rates, set_learning_rate = list[float](), training.engine.set_learning_rate
    monkeypatch.setattr(
        training.engine, "set_learning_rate", lambda value: (rates.append(value), set_learning_rate(value))
    )
    before, state = snapshot(training.engine.model), training.pipeline.state()
    spending = plan_spending(parse_budget("3ep"), batch_size=BATCH, steps_per_epoch=STEPS)
    train_alone(training.engine, training.pipeline, CpuDevice(), FEATURES, spending, 5)
    assert same(before, training.engine.model.state_dict())
    assert same(state, training.pipeline.state())
    assert training.pipeline.features_made == 0
    assert set(rates) == {0.0}  # nothing is learnt meanwhile that could make a loss infinite


def test_images_take_the_steps_that_were_asked_for():
    engine = engine_of(frozen_network())
    spending = plan_spending(parse_budget("3ep"), batch_size=BATCH, steps_per_epoch=STEPS)
    result = train_alone(engine, image_pipeline(), CpuDevice(), FEATURES, spending, 7)
    assert (result.steps, result.images_seen, result.features_made) == (7, 7 * BATCH, None)
