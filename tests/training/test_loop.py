from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from small_loops import (
    BATCH,
    COMMON,
    EVALUATIONS,
    SETTINGS,
    STEPS_PER_EPOCH,
    TEST,
    RecordingEngine,
    make_loop,
    make_pipeline,
    network,
)

from resbench.budget import parse_budget, plan_spending
from resbench.data.pipeline import Batch
from resbench.devices import CpuDevice
from resbench.recipes import RECIPES, Augmentation
from resbench.training import loop as loop_module
from resbench.training.clock import TrainClock
from resbench.training.engine import Engine
from resbench.training.ledger import Ledger
from resbench.training.loop import DivergedError, EpochReport, Progress, TrainingResult


class BreakingEngine(Engine):
    """Trains as it should for some steps and then breaks the weights."""

    whole = 1

    def train_step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        super().train_step(images, labels)
        self.whole -= 1
        if self.whole <= 0:
            with torch.no_grad():
                next(self.model.parameters()).fill_(float("nan"))


class ScriptedDevice:
    """A CPU whose clock goes 1 s for every batch and 3 s for every step, and which queues like a GPU.

    A mark is its number: marks come as start, ready, end, ready, end, ... within an epoch.
    """

    torch_device = torch.device("cpu")
    name = "scripted"
    data_s, step_s = 1.0, 3.0

    def __init__(self, queue_depth: int = 0) -> None:
        self.queue_depth = queue_depth
        self.marks: list[float] = []
        self.reached = -1
        self.first = 0
        self.waits: list[tuple[int, int]] = []
        """(Steps finished when it waited, the step whose end it waited for), both within the epoch, from 1."""

    def mark(self) -> int:
        place = len(self.marks) - self.first
        before = self.marks[-1] if self.marks else 0.0
        self.marks.append(before if place == 0 else before + (self.data_s if place % 2 else self.step_s))
        return len(self.marks) - 1

    def elapsed_s(self, start: int, end: int) -> float:
        assert end <= self.reached or not self.queue_depth, "a mark was read before it was reached"
        return self.marks[end] - self.marks[start]

    def wait(self, mark: int) -> None:
        self.reached = max(self.reached, mark)
        self.waits.append(((len(self.marks) - 1 - self.first) // 2, (mark - self.first) // 2))

    def synchronize(self) -> None:
        self.reached = len(self.marks) - 1
        self.first = len(self.marks)

    def memory_held_mib(self) -> float:
        return 100.0 + len(self.marks)


class TestBudget:
    @pytest.mark.parametrize(
        ("budget", "steps", "flops"),
        [
            ("1steps", 1, None),
            ("7steps", 7, None),
            ("2ep", 20, None),
            ("2.5ep", 25, None),
            ("0.25ep", 3, None),
            ("40img", 10, None),
            ("41img", 11, None),
            ("4e3flop", 10, 100),
            ("4001flop", 11, 100),
        ],
    )
    def test_training_stops_with_the_step_that_reaches_it(self, budget, steps, flops):
        loop = make_loop(budget, flops=flops)
        result = loop.run()
        assert result.steps == steps
        assert result.images_seen == steps * BATCH
        assert len(loop.engine.steps_at) == len(result.step_seconds) == steps

    @pytest.mark.parametrize(
        ("budget", "ends"), [("2ep", [10, 20]), ("2.5ep", [10, 20, 25]), ("4steps", [4]), ("13steps", [10, 13])]
    )
    def test_evaluates_at_every_epochs_end_and_at_the_budgets(self, budget, ends):
        reports: list[EpochReport] = []
        result = make_loop(budget, on_epoch=reports.append).run()
        assert result.epochs == reports
        assert [report.steps for report in reports] == ends
        assert [report.images_seen for report in reports] == [end * BATCH for end in ends]
        assert [report.epoch for report in reports] == [end / STEPS_PER_EPOCH for end in ends]
        assert [report.budget_fraction for report in reports] == [end / ends[-1] for end in ends]
        assert [report.test.images for report in reports] == [TEST] * len(ends)
        begun = [0, *ends]
        assert [report.train.images for report in reports] == [
            (end - start) * BATCH for start, end in zip(begun, ends, strict=False)
        ]

    def test_of_seconds_stops_with_the_step_that_reaches_it(self):
        device = ScriptedDevice()
        result = make_loop("10s", device=device).run()  # 4 s a step
        assert (result.steps, result.train_clock_s) == (3, 12)
        assert result.spending.overshoot(steps=result.steps, train_clock_s=result.train_clock_s) == 2

    def test_of_seconds_may_end_with_an_epoch(self):
        result = make_loop("40s", device=ScriptedDevice()).run()
        assert (result.steps, result.train_clock_s, len(result.epochs)) == (10, 40, 1)

    def test_of_seconds_goes_on_through_epochs(self):
        result = make_loop("85s", device=ScriptedDevice()).run()
        assert (result.steps, result.train_clock_s) == (22, 88)
        assert [report.train_clock_s for report in result.epochs] == [40, 80, 88]

    def test_of_seconds_overshoots_by_what_is_queued(self):
        result = make_loop("10s", device=ScriptedDevice(queue_depth=2)).run()
        assert (result.steps, result.train_clock_s) == (5, 20)  # the third step's end was seen after the fifth's call


class TestSchedule:
    @pytest.mark.parametrize("name", ["common", "se_resnet50", "resnet50_adam"])
    def test_every_step_has_the_rate_of_the_fraction_spent(self, name):
        recipe = dataclasses.replace(RECIPES[name], augmentation=Augmentation())
        loop = make_loop("24steps", recipe=recipe)
        loop.run()
        peak = recipe.peak_learning_rate(BATCH)
        expected = [peak * recipe.schedule(step / 24) for step in range(24)]
        assert loop.engine.rates == expected
        assert loop.engine.steps_at == pytest.approx(expected)

    def test_of_the_common_recipe_is_a_triangle(self):
        loop = make_loop("20steps")
        loop.run()
        peak = 0.4 * BATCH / 512
        up = [0.2, 0.4, 0.6, 0.8]
        down = [1 - step / 16 for step in range(16)]
        assert loop.engine.rates == pytest.approx([peak * fraction for fraction in up + down])

    def test_follows_the_clock_of_a_budget_of_seconds(self):
        loop = make_loop("80s", device=ScriptedDevice())
        loop.run()
        expected = [loop.peak * COMMON.schedule(4 * step / 80) for step in range(20)]
        assert loop.engine.rates == pytest.approx(expected)

    def test_the_report_holds_the_last_steps_rate(self):
        loop = make_loop("2ep")
        result = loop.run()
        assert [report.learning_rate for report in result.epochs] == pytest.approx(loop.engine.rates[9::10])


class TestClock:
    @pytest.mark.parametrize("queue_depth", [0, 1, 4, 30])
    def test_holds_data_and_steps_and_agrees_with_the_ledger(self, queue_depth):
        loop = make_loop("23steps", device=ScriptedDevice(queue_depth))
        result = loop.run()
        assert (loop.ledger["data"], loop.ledger["step"]) == (23, 69)
        assert result.train_clock_s == 92
        assert result.step_seconds == [4.0] * 23
        assert result.train_images_per_second == 1.0
        assert result.step_ms(0.5) == 4000
        assert [report.train_images_per_second for report in result.epochs] == [1.0] * 3
        assert [report.train_clock_s for report in result.epochs] == [40, 80, 92]

    def test_of_the_processor_is_in_the_ledger_too(self):
        loop = make_loop("1.5ep")
        result = loop.run()
        assert result.train_clock_s == pytest.approx(loop.ledger["data"] + loop.ledger["step"])
        assert sum(result.step_seconds) == pytest.approx(result.train_clock_s)
        assert loop.ledger["eval"] == pytest.approx(sum(report.eval_s for report in result.epochs))

    @pytest.mark.parametrize("queue_depth", [1, 3, 8])
    def test_never_waits_for_a_step_that_was_queued_just_now(self, queue_depth):
        device = ScriptedDevice(queue_depth)
        make_loop("20steps", device=device).run()
        assert device.waits == [(step, step - queue_depth) for step in range(queue_depth + 1, 11)] * 2

    def test_never_waits_for_a_queue_longer_than_an_epoch(self):
        device = ScriptedDevice(queue_depth=30)
        make_loop("20steps", device=device).run()
        assert device.waits == []

    def test_quantiles_of_the_step_time(self):
        spending = plan_spending(parse_budget("1ep"), batch_size=1, steps_per_epoch=1)
        clock = TrainClock(CpuDevice(), Ledger())
        clock.set([0.001 * step for step in range(11)], seconds=0.055)
        result = TrainingResult(spending, clock)
        assert result.step_ms(0.5) == pytest.approx(5)
        assert result.step_ms(0.9) == pytest.approx(9)


class TestDivergence:
    def test_of_the_training_loss_is_an_error(self):
        model = network()
        with torch.no_grad():
            model[6].bias.fill_(float("nan"))
        loop = make_loop("2ep", engine=Engine(model, COMMON, SETTINGS))
        with pytest.raises(DivergedError, match=r"the training loss was not finite at step 1$") as error:
            loop.run()
        assert error.value.step == 1
        assert loop.result.epochs == []

    def test_of_one_step_alone_is_seen_at_the_epochs_end(self):
        pipeline = make_pipeline()
        pipeline.train.images[5] = 0
        original = pipeline.training_batch

        def poisoned(index: torch.Tensor, draws: torch.Tensor, slot: Batch) -> Batch:
            images, labels = original(index, draws, slot)
            images.masked_fill_((index == 5)[:, None, None, None], torch.inf)
            return images, labels

        pipeline.training_batch = poisoned  # type: ignore[method-assign]
        with pytest.raises(DivergedError, match="training loss"):
            make_loop("5ep", pipeline=pipeline).run()

    def test_in_the_very_last_step_is_seen_by_the_evaluation(self):
        loop = make_loop("1steps", engine=BreakingEngine(network(), COMMON, SETTINGS))
        with pytest.raises(DivergedError, match=r"the test loss was nan after step 1$") as error:
            loop.run()
        assert error.value.step == 1

    @pytest.mark.parametrize("queue_depth", [0, 3])
    @pytest.mark.parametrize("step", [2, 4, 10, 17])
    def test_names_the_step_where_it_happened(self, step, queue_depth):
        engine = BreakingEngine(network(), COMMON, SETTINGS)
        engine.whole = step - 1
        with pytest.raises(DivergedError, match=rf"at step {step}$") as error:
            make_loop("3ep", engine=engine, device=ScriptedDevice(queue_depth)).run()
        assert error.value.step == step

    def test_ends_the_training_before_the_epoch_is_over(self, monkeypatch):
        monkeypatch.setattr(loop_module, "_LOOK_EVERY_S", 0.0)
        model = network()
        with torch.no_grad():
            model[6].bias.fill_(float("nan"))
        loop = make_loop("2ep", engine=Engine(model, COMMON, SETTINGS))
        with pytest.raises(DivergedError, match=r"at step 1$"):
            loop.run()
        assert loop.result.steps == 1


class TestRepeatability:
    def run(self, seed: int) -> tuple[dict[str, torch.Tensor], list[float]]:
        loop = make_loop("2.5ep", seed=seed)
        result = loop.run()
        losses = [loss for report in result.epochs for loss in (report.train.loss, report.test.loss)]
        return loop.engine.model.state_dict(), losses

    def test_one_seed_gives_the_same_weights_and_losses_to_the_bit(self):
        (first, first_losses), (second, second_losses) = self.run(3), self.run(3)
        assert first_losses == second_losses
        assert all(torch.equal(value, second[name]) for name, value in first.items())

    def test_another_seed_gives_others(self):
        assert self.run(3)[1] != self.run(4)[1]

    def test_watching_changes_nothing(self):
        silent = make_loop("2.5ep", seed=3).run()
        watched = make_loop("2.5ep", seed=3, on_progress=print, on_epoch=print, on_phase=print).run()
        assert [report.test for report in silent.epochs] == [report.test for report in watched.epochs]


class TestListeners:
    @pytest.fixture
    def host_clock(self, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
        """The host's clock goes 1/16 s each time the loop looks at it, which it does once a step."""
        clock = SimpleNamespace(now=0.0)

        def look() -> float:
            clock.now += 1 / 16
            return clock.now

        monkeypatch.setattr(loop_module, "time", SimpleNamespace(perf_counter=look))
        return clock

    def test_progress_is_told_a_few_times_a_second(self, host_clock):
        told: list[Progress] = []
        make_loop("40steps", device=ScriptedDevice(), on_progress=told.append).run()
        assert host_clock.now == 40 / 16  # 2.5 s
        assert [round(progress.fraction * 40) for progress in told] == list(range(1, 41, 4))

    @pytest.mark.parametrize("queue_depth", [0, 3])
    @pytest.mark.parametrize("budget", ["36steps", "144s"])
    def test_progress_has_the_rate_and_the_time_left_of_steps_that_were_timed(self, budget, queue_depth, host_clock):
        told: list[Progress] = []
        make_loop(budget, device=ScriptedDevice(queue_depth), on_progress=told.append).run()
        assert len(told) > 5
        assert all(progress.images_per_second == pytest.approx(1.0) for progress in told)  # 4 images, 4 s
        assert all(100 < progress.memory_mib <= 200 for progress in told)
        left = [progress.seconds_left for progress in told]
        assert left == sorted(left, reverse=True)
        assert all(seconds % 4 == pytest.approx(0, abs=1e-6) for seconds in map(round, left))
        assert left[0] <= 140

    def test_phases_alternate(self):
        phases: list[str] = []
        make_loop("2.5ep", on_phase=phases.append).run()
        assert phases == ["train", "eval"] * 3

    def test_the_model_trains_in_train_mode_and_is_judged_in_eval_mode(self):
        engine = RecordingEngine(network(), COMMON, SETTINGS)
        modes: list[bool] = []
        engine.model.register_forward_hook(lambda module, inputs, output: modes.append(module.training))
        make_loop("2ep", engine=engine).run()
        assert modes == ([True] * STEPS_PER_EPOCH + [False] * EVALUATIONS) * 2
