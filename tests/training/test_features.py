"""A head trained on cached features learns what it learns without a cache, from the same images in the same order."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from frozen_networks import (
    AUGMENTED,
    BATCH,
    BN_TRAIN,
    CLASSES,
    FEATURES,
    MOMENTUM,
    SETTINGS,
    TEST,
    TRAIN,
    engine_of,
    frozen_network,
    image_pipeline,
    statistics,
)
from small_engines import same
from torch import nn

from resbench.budget import parse_budget, plan_spending
from resbench.data.pipeline import PADDING
from resbench.devices import CpuDevice
from resbench.recipes import Recipe
from resbench.training import features as features_module
from resbench.training.features import FeaturePipeline, HeadTraining, train_head_only
from resbench.training.ledger import Ledger
from resbench.training.loop import Loop, TrainingResult

STEPS = 10  # 43 // 4
BLOCKS = 11  # 43 / 4, rounded up


class Calls:
    """Counts the images that go through a backbone, in the order in which they do."""

    def __init__(self, training: HeadTraining) -> None:
        self.batches: list[torch.Tensor] = []
        extract = training.pipeline.extract

        def counted(images: torch.Tensor) -> torch.Tensor:
            self.batches.append(images.clone())
            return extract(images)

        training.pipeline.extract = counted


def cached(recipe: Recipe = FEATURES, *, model: nn.Module | None = None, seed: int = 3, **more: Any) -> HeadTraining:
    training, reason = train_head_only(
        engine_of(model or frozen_network(), recipe, **more), image_pipeline(recipe, seed=seed), recipe
    )
    assert reason is None
    return training


def trained(engine: Any, pipeline: Any, recipe: Recipe, budget: str = "3.4ep") -> TrainingResult:
    torch.manual_seed(11)  # of dropout
    spending = plan_spending(parse_budget(budget), batch_size=BATCH, steps_per_epoch=pipeline.steps_per_epoch)
    return Loop(engine, pipeline, CpuDevice(), recipe, spending, Ledger()).run()


class TestTraining:
    @pytest.mark.parametrize("micro", [None, 3])
    @pytest.mark.parametrize("recipe", [FEATURES, MOMENTUM], ids=["adam", "momentum"])
    @pytest.mark.parametrize(
        "head",
        [
            lambda: nn.Linear(32, CLASSES),
            lambda: nn.Sequential(nn.BatchNorm1d(32), nn.Dropout(0.5), nn.Linear(32, CLASSES)),
        ],
        ids=["linear", "with-state"],
    )
    def test_equals_that_without_a_cache(self, head, recipe, micro):
        torch.manual_seed(5)
        models = [frozen_network(head=head()) for _ in range(2)]
        models[1].load_state_dict(models[0].state_dict())
        engine = engine_of(models[0], recipe, micro_batch_size=micro)
        training = cached(recipe, model=models[1], micro_batch_size=micro)
        whole = trained(engine, image_pipeline(recipe), recipe)
        result = trained(training.engine, training.pipeline, recipe)
        assert len(whole.epochs) == len(result.epochs) == 4
        for one, other in zip(whole.epochs, result.epochs, strict=True):
            assert (one.train.accuracy, one.test.accuracy) == (other.train.accuracy, other.test.accuracy)
            assert one.train.mean_loss == pytest.approx(other.train.mean_loss, rel=1e-5)
            assert one.test.mean_loss == pytest.approx(other.test.mean_loss, rel=1e-5)
        assert torch.equal(whole.correct, result.correct)
        assert result.epochs[-1].test.accuracy > 0.6  # it has learnt
        for name, value in models[0].state_dict().items():  # the whole network: its head is the one that was trained
            torch.testing.assert_close(models[1].state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)

    def test_of_the_first_epoch_equals_it_to_the_bit(self):
        models = [frozen_network() for _ in range(2)]
        training = cached(model=models[1])
        trained(engine_of(models[0]), image_pipeline(), FEATURES, "1ep")
        trained(training.engine, training.pipeline, FEATURES, "1ep")
        assert same(models[0].state_dict(), models[1].state_dict())

    def test_changes_the_head_alone(self):
        model = frozen_network()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        training = cached(model=model)
        buffers = statistics(model)
        trained(training.engine, training.pipeline, FEATURES)
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == {"head.weight", "head.bias"}
        assert same(buffers, statistics(model))

    def test_in_bf16_nearly_equals_that_without_a_cache(self):
        settings = dataclasses.replace(SETTINGS, precision="bf16")
        models = [frozen_network() for _ in range(2)]
        training = cached(model=models[1], settings=settings)
        whole = trained(engine_of(models[0], settings=settings), image_pipeline(), FEATURES)
        result = trained(training.engine, training.pipeline, FEATURES)
        assert whole.epochs[-1].test.mean_loss == pytest.approx(result.epochs[-1].test.mean_loss, rel=1e-3)

    def test_a_head_that_takes_maps_and_a_recorded_one(self):
        models = [frozen_network(head=nn.Sequential(nn.Flatten(), nn.Linear(128, CLASSES))) for _ in range(2)]
        for model in models:
            model.pool = nn.AvgPool2d(2)
            model.head = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Flatten(), nn.Linear(128, CLASSES))
        models[1].load_state_dict(models[0].state_dict())
        training = cached(model=models[1], settings=dataclasses.replace(SETTINGS, cuda_graph=True))
        assert training.backbone.feature_shape == (8, 4, 4)
        whole = trained(engine_of(models[0]), image_pipeline(), FEATURES)
        result = trained(training.engine, training.pipeline, FEATURES)
        assert whole.epochs[-1].test.mean_loss == pytest.approx(result.epochs[-1].test.mean_loss, rel=1e-5)


class TestBatches:
    @pytest.mark.parametrize("slots", [0, 1, 2])
    @pytest.mark.parametrize("first", [0, 4])
    def test_are_the_features_of_the_images_batches(self, slots, first):
        training, images = cached(), image_pipeline()
        places = [training.pipeline.new_batch() for _ in range(slots)]
        reference = frozen_network().eval()[:-1]
        for epoch in range(3):
            start = first if epoch == 0 else 0
            pairs = zip(images.epoch(first=start), training.pipeline.epoch(places, first=start), strict=True)
            for (pixels, labels), (features, theirs) in pairs:
                assert torch.equal(labels, theirs)
                torch.testing.assert_close(features, reference(pixels), rtol=1e-5, atol=1e-6)
        assert all(map(torch.equal, images.state().values(), training.pipeline.state().values()))

    def test_of_the_test_images_are_padded_as_images_are(self):
        training, images = cached(), image_pipeline()
        reference = frozen_network().eval()[:-1]
        for _ in range(2):
            found = [(features.clone(), labels.clone()) for features, labels in training.pipeline.evaluation()]
            expected = [(reference(pixels), labels) for pixels, labels in images.evaluation()]
            for (features, labels), (theirs, their_labels) in zip(found, expected, strict=True):
                assert torch.equal(labels, their_labels)
                torch.testing.assert_close(features, theirs, rtol=1e-5, atol=1e-6)
        assert sum(int((labels != PADDING).sum()) for _, labels in found) == TEST

    def test_every_image_goes_through_the_backbone_once(self):
        training = cached()
        calls, pipeline = Calls(training), training.pipeline
        made = []
        for _ in range(4):
            for _ in pipeline.epoch():
                pass
            made.append((len(calls.batches), pipeline.features_made))
        # The first epoch leaves out what fills no batch.
        assert made == [(STEPS, STEPS * BATCH), *[(BLOCKS, TRAIN)] * 3]
        for _ in range(2):
            for _ in pipeline.evaluation():
                pass
        assert len(calls.batches) == BLOCKS + 5
        assert pipeline.features_made == TRAIN

    def test_nothing_is_made_before_it_is_needed(self):
        training = cached()
        calls = Calls(training)
        epoch = training.pipeline.epoch()
        next(epoch)
        assert (len(calls.batches), training.pipeline.features_made) == (1, BATCH)
        assert torch.equal(calls.batches[0], next(image_pipeline().epoch())[0])

    def test_features_have_the_same_bits_however_late_a_training_goes_on(self):
        whole, later = cached().pipeline, cached().pipeline
        for _ in range(2):
            expected = [features.clone() for features, _ in whole.epoch()]
        list(image_pipeline().epoch())
        skipped = list(later.epoch(first=STEPS - 1))
        assert (len(skipped), later.features_made) == (1, BATCH)
        assert all(map(torch.equal, (features for features, _ in later.epoch()), expected))

    def test_preserved_forgets_what_was_made(self):
        pipeline = cached().pipeline
        before = pipeline.state()
        with pipeline.preserved():
            first = [labels.clone() for _, labels in pipeline.epoch()]
            list(pipeline.evaluation())
            assert pipeline.features_made == STEPS * BATCH
        assert pipeline.features_made == 0
        assert all(map(torch.equal, before.values(), pipeline.state().values()))
        assert all(map(torch.equal, first, (labels for _, labels in pipeline.epoch())))
        assert pipeline.features_made == STEPS * BATCH


class TestRefusal:
    def refused(self, model: nn.Module, recipe: Recipe) -> str | None:
        training, reason = train_head_only(engine_of(model, recipe), image_pipeline(recipe), recipe)
        assert training is None
        return reason

    def test_of_augmentation(self):
        assert self.refused(frozen_network(), AUGMENTED).startswith("the recipe 'augmented' augments images")

    def test_of_what_the_backbone_does(self):
        assert "normalises by its batch" in self.refused(frozen_network(), BN_TRAIN)
        assert "dropout" in self.refused(frozen_network(backbone=nn.Dropout(0.3)), FEATURES)

    def test_without_a_word_where_nothing_is_frozen(self):
        assert self.refused(frozen_network().requires_grad_(True), FEATURES) is None
        assert self.refused(frozen_network().requires_grad_(True), AUGMENTED) is None

    def test_of_memory_that_does_not_hold_the_features(self, monkeypatch):
        def full(*arguments: Any) -> FeaturePipeline:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 400 GiB.")

        monkeypatch.setattr(features_module, "FeaturePipeline", full)
        assert self.refused(frozen_network(), FEATURES).startswith("memory does not hold the features (OutOfMemoryErr")


class TestCompiled:
    def compiled(self, monkeypatch: pytest.MonkeyPatch, compile_function: Any) -> HeadTraining:
        engine = engine_of(frozen_network())
        engine.compiled = True
        monkeypatch.setattr(torch, "compile", compile_function)
        training, _ = train_head_only(engine, image_pipeline(), FEATURES)
        return training

    def test_backbone_and_head_are_compiled_where_the_network_was(self, monkeypatch):
        names = []

        def note(function: Any, **options: Any) -> Any:
            names.append(function.__name__)
            return function

        training = self.compiled(monkeypatch, note)
        assert names == ["backbone_features", "_eager_logits", "_eager_loss"]
        assert (training.engine.compiled, training.fallbacks) == (True, ())

    def test_a_compiler_that_fails_is_given_up_and_said(self, monkeypatch):
        def fail(*arguments: torch.Tensor) -> torch.Tensor:
            raise NotImplementedError("no lowering")

        training = self.compiled(monkeypatch, lambda function, **options: fail)
        assert training.fallbacks == (
            "torch.compile failed on the backbone (NotImplementedError: no lowering), eager instead",
            "torch.compile failed (NotImplementedError: no lowering), eager instead",
        )
        reference = trained(engine_of(frozen_network()), image_pipeline(), FEATURES, "1ep")
        result = trained(training.engine, training.pipeline, FEATURES, "1ep")
        assert reference.epochs[0].test == result.epochs[0].test
