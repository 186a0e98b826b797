"""Trials of a frozen network: what stands in the row where features are cached, and that they go on and repeat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small_trials import Events, Make, of_kind, phases, planner, registering, run
from tiny_folder import TRAIN_IMAGES, make_tiny_folder
from torch import nn

from resbench.conduct import Attempt
from resbench.devices import CpuDevice
from resbench.noise import METRICS, again_job
from resbench.recorder import CACHED
from resbench.schema import EngineSettings
from resbench.training.checkpoint import Checkpoints
from resbench.training.engine import Engine
from resbench.training.features import FeaturePipeline
from resbench.training.ledger import PARTS
from resbench.trial import run_trial

BATCH = 7
"""Of 32 training images: the first epoch leaves four out."""
STEPS = TRAIN_IMAGES // BATCH
CONV, HEAD = 2 * 8 * 8 * 8 * 3 * 9, 2 * 32 * 2
"""FLOPs of one image's forward pass through the convolution and the head."""
NOT_CACHED = EngineSettings("cpu", "fp32", cache_features=False)


def frozen() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Sequential(nn.Dropout(0.2), nn.Linear(32, 2)),
    )
    model[:5].requires_grad_(False)
    return model


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Plans a trial of the frozen network."""
    plan = planner(make_tiny_folder(tmp_path_factory.mktemp("frozen") / "shades"))
    return lambda **changes: plan(
        **{"model": "frozen", "recipe": "resnet152_features", "batch_size": BATCH, "budget": "3ep", **changes}
    )


@pytest.fixture(autouse=True)
def _registered(brief_timing: None) -> Iterator[None]:
    with registering() as add:
        add("frozen", frozen)
        yield


def figures(events: Events) -> list[list[float]]:
    names = ("steps", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate")
    return [[epoch[name] for name in names] for epoch in of_kind(events, "epoch")]


class TestRow:
    def test_says_that_features_were_cached_and_learns_what_it_learns_without(self, make):
        record, events = run(make())
        whole, whole_events = run(make(engine=NOT_CACHED))
        assert (record.status, record.cached_features) == ("ok", True)
        assert (whole.status, whole.cached_features) == ("ok", False)
        assert CACHED in record.notes
        assert CACHED not in whole.notes
        assert {"cached_features": True} in of_kind(events, "facts")
        assert record.trial_id != whole.trial_id
        for one, other in zip(figures(events), figures(whole_events), strict=True):
            assert one == pytest.approx(other, rel=1e-5)
        (hits,), (whole_hits,) = (of_kind(found, "hits") for found in (events, whole_events))
        assert {**hits, "trial_id": whole.trial_id} == whole_hits
        assert phases(events) == phases(whole_events)

    def test_counts_each_images_features_once_and_the_head_at_every_step(self, make):
        record, events = run(make())
        seen = [STEPS * BATCH * epoch for epoch in (1, 2, 3)]
        made = [STEPS * BATCH, TRAIN_IMAGES, TRAIN_IMAGES]  # the second epoch makes what the first left out
        expected = [images * 2 * HEAD + features * CONV for images, features in zip(seen, made, strict=True)]
        assert [epoch["train_flops_spent"] for epoch in of_kind(events, "epoch")] == expected
        assert record.train_flops_spent == expected[-1]
        # What an image costs the network is what it is, and what the first epoch spends is that.
        assert record.train_flops_per_image == CONV + 2 * HEAD
        assert expected[0] == STEPS * BATCH * record.train_flops_per_image
        assert run(make(engine=NOT_CACHED))[0].train_flops_spent == seen[-1] * record.train_flops_per_image

    def test_books_features_as_data_and_as_evaluation(self, make, monkeypatch):
        booked: list[str] = []
        original = FeaturePipeline.__init__

        def noting(self: FeaturePipeline, images: Any, extract: Any, shape: Any) -> None:
            def noted(batch: torch.Tensor) -> torch.Tensor:
                booked.append(where[-1])
                return extract(batch)

            original(self, images, noted, shape)

        where = ["warm-up"]
        monkeypatch.setattr(FeaturePipeline, "__init__", noting)
        events: Events = []

        def emit(kind: str, data: dict[str, Any]) -> None:
            events.append((kind, data))
            if kind == "phase":
                where.append(data["phase"])

        record = run_trial(*make(), emit, None)
        # Five blocks of training images, one of them in the second epoch; three batches of test images.
        assert booked == ["train"] * 4 + ["eval"] * 3 + ["train"]
        last = of_kind(events, "epoch")[-1]
        assert record.data_s + record.step_s == pytest.approx(last["train_clock_s"])
        assert record.train_images_per_second == pytest.approx(record.images_seen / last["train_clock_s"])
        parts = [getattr(record, f"{part}_s") for part in PARTS]
        assert sum(parts) + record.other_s == pytest.approx(record.wall_s, rel=0.01)

    def test_the_time_that_features_take_is_in_the_train_clock(self, make, monkeypatch):
        """By a clock that features alone move: a second each, and next to nothing for all else."""
        seconds = [0.0]
        original = FeaturePipeline._make

        def slowly(self: FeaturePipeline, blocks: Any) -> None:
            before = self.features_made
            original(self, blocks)
            seconds[0] += self.features_made - before

        def mark(self: CpuDevice) -> float:
            seconds[0] += 1e-9
            return seconds[0]

        monkeypatch.setattr(FeaturePipeline, "_make", slowly)
        monkeypatch.setattr(CpuDevice, "mark", mark)
        record, _ = run(make(budget="24s"))
        # The fourth step reaches the budget: a step of the first epoch takes as many seconds as it has images.
        assert (record.status, record.steps) == ("ok", 4)
        found = (record.data_s, record.step_s, record.overshoot, record.train_images_per_second)
        assert found == pytest.approx((28, 0, 4, 1), abs=1e-6)

    @pytest.mark.parametrize(
        ("recipe", "said"),
        [
            ("resnet152_finetune_bn_eval", "the recipe 'resnet152_finetune_bn_eval' augments images"),
            ("resnet50_adam", "batch norm of the backbone (1) normalises by its batch"),
        ],
    )
    def test_says_why_nothing_is_cached_where_the_backbone_is_frozen(self, make, recipe, said):
        record, _ = run(make(recipe=recipe, budget="1ep"))
        assert (record.status, record.cached_features) == ("ok", False)
        assert any(note.startswith(f"features of the frozen backbone are not cached: {said}") for note in record.notes)

    def test_says_nothing_where_nothing_is_frozen(self, make):
        record, _ = run(make(model="cnn", budget="1ep"))
        assert (record.status, record.cached_features, record.notes) == ("ok", False, [])

    @pytest.mark.parametrize("steps", [2, STEPS, STEPS + 3])
    def test_a_budget_of_flops_is_what_is_spent(self, make, steps):
        wanted = run(make(budget=f"{steps}steps"))[0]
        record, _ = run(make(budget=f"{wanted.train_flops_spent:.0f}flop"))
        assert (record.steps, record.train_flops_spent) == (steps, wanted.train_flops_spent)
        assert (record.stopped_by, record.overshoot) == ("flop", 0)


class TestGoingOn:
    @pytest.mark.parametrize(
        ("step", "budget"), [(1, "3ep"), (STEPS, "905000flop"), (STEPS + 2, "3ep"), (2 * STEPS, "905000flop")]
    )
    def test_ends_with_the_same_bits(self, make, tmp_path, monkeypatch, step, budget):
        heads: list[dict[str, torch.Tensor]] = []
        original = Engine.read_totals

        def noting(self: Engine) -> Any:
            heads.append({name: value.clone() for name, value in self.model.state_dict().items()})
            return original(self)

        monkeypatch.setattr(Engine, "read_totals", noting)
        planned = make(budget=budget)
        whole, whole_events = run(planned)
        end = heads[-1]
        attempt = Attempt(checkpoint=tmp_path / "x.pt", checkpoint_every_s=0.0)
        self.killed_at(step, planned, attempt, monkeypatch)
        torch.manual_seed(99)
        record, events = run(planned, attempt)
        assert (record.status, record.resumed, record.cached_features) == ("ok", 1, True)
        assert end.keys() == heads[-1].keys() == {"1.weight", "1.bias"}
        assert all(torch.equal(value, heads[-1][name]) for name, value in end.items())
        left = figures(whole_events)[-len(figures(events)) :]
        assert figures(events) == left
        assert of_kind(events, "hits") == of_kind(whole_events, "hits")
        assert (record.steps, record.images_seen, record.overshoot) == (whole.steps, whole.images_seen, whole.overshoot)
        # Features that were gone are made again as they are needed: that is spent too, and in the clock.
        assert record.train_flops_spent >= whole.train_flops_spent
        assert record.train_flops_spent <= whole.train_flops_spent + TRAIN_IMAGES * CONV
        parts = [getattr(record, f"{part}_s") for part in PARTS]
        assert sum(parts) + record.other_s == pytest.approx(record.wall_s, rel=0.01)

    def killed_at(self, step: int, planned: Any, attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
        class KilledError(BaseException):
            """Stands for SIGKILL."""

        def save(self: Checkpoints, state: dict[str, Any]) -> None:
            written(self, state)
            if state["steps"] == step:
                raise KilledError

        written = Checkpoints.save
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "save", save)
            with pytest.raises(KilledError):
                run_trial(*planned, lambda kind, data: None, attempt)

    def test_features_that_are_made_again_are_counted_again(self, make, tmp_path, monkeypatch):
        attempt = Attempt(checkpoint=tmp_path / "x.pt", checkpoint_every_s=0.0)
        self.killed_at(2 * STEPS, make(), attempt, monkeypatch)
        record, _ = run(make(), attempt)
        assert record.train_flops_spent == 3 * STEPS * BATCH * 2 * HEAD + 2 * TRAIN_IMAGES * CONV

    def test_a_checkpoint_of_the_whole_network_is_none_of_its_head(self, make, tmp_path, monkeypatch):
        attempt = Attempt(checkpoint=tmp_path / "x.pt", checkpoint_every_s=0.0)
        self.killed_at(1, make(), attempt, monkeypatch)
        monkeypatch.setattr("resbench.trial.train_head_only", lambda *arguments: (None, "no room"))
        record, _ = run(make(), attempt)
        assert (record.status, record.resumed, record.cached_features) == ("ok", 0, False)
        assert "the checkpoint is of cached features True, this is False: starting over" in record.notes


class Scale(nn.Module):
    """A head without a sum of products."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features * self.weight


class Asking(nn.Module):
    """Reads a number of its images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images if images.abs().max() < 1000 else images / 1000


class TestFlopsOfParts:
    def scaled(self) -> nn.Module:
        return nn.Sequential(*frozen()[:5], nn.Linear(32, 2).requires_grad_(False), Scale())

    def test_a_head_without_any_is_trained_on_images_where_the_budget_counts_them(self, make):
        with registering() as add:
            add("scaled", self.scaled)
            record, _ = run(make(model="scaled", budget="2ep"))
            features = TRAIN_IMAGES * (CONV + HEAD)
            assert (record.status, record.cached_features, record.train_flops_spent) == ("ok", True, features)
            step = BATCH * (CONV + HEAD)
            record, _ = run(make(model="scaled", budget=f"{(STEPS + 2) * step}flop"))
        assert (record.status, record.cached_features, record.steps) == ("ok", False, STEPS + 2)
        reason = "a step of the head has no FLOPs, which the budget counts"
        assert f"features of the frozen backbone are not cached: {reason}" in record.notes

    def test_a_backbone_that_reads_numbers_is_counted_with_them(self, make):
        with registering() as add:
            add("asking", lambda: nn.Sequential(Asking(), *frozen()))
            record, _ = run(make(model="asking"))
        assert (record.status, record.cached_features) == ("ok", True)
        seen = 3 * STEPS * BATCH
        assert record.train_flops_spent == seen * 2 * HEAD + TRAIN_IMAGES * CONV

    def test_parts_that_nothing_can_count_leave_the_column_empty(self, make, monkeypatch):
        def fail(*arguments: object, **more: object) -> None:
            raise RuntimeError("counted nothing")

        monkeypatch.setattr("resbench.measure.flops._count", fail)
        record, events = run(make())
        assert (record.status, record.cached_features, record.train_flops_spent) == ("ok", True, None)
        assert [epoch["train_flops_spent"] for epoch in of_kind(events, "epoch")] == [None] * 3


class TestMeasuredAlone:
    def test_again_gives_every_figure_and_leaves_the_trial_alone(self, make):
        emitted: Events = []
        again_job(*make(), {"steps": 3}, lambda kind, data: emitted.append((kind, data)))
        ((kind, data),) = emitted
        assert kind == "again"
        assert all(data[name] > 0 for name in METRICS)

    def test_seeds_side_by_side_train_as_one_alone(self, make):
        alone, alone_events = run(make())
        record, events = run(make(), Attempt(together=2))
        assert figures(events) == figures(alone_events)
        assert (record.status, record.train_flops_spent) == ("ok", alone.train_flops_spent)
        assert record.train_images_per_second > 0
        assert record.step_ms_p50 > 0
