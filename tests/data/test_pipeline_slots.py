"""Where batches are written, and what of them depends on what."""

from __future__ import annotations

import pytest
import torch
from pipelines import BATCH, COUNT, CROP_AND_FLIP, EVERYTHING, PLAIN, numbered, pipeline

from resbench.data import augment
from resbench.data.pipeline import Batch, Pipeline
from resbench.recipes import Augmentation

EVERY_AUGMENTATION = pytest.mark.parametrize(
    "augmentation",
    [PLAIN, CROP_AND_FLIP, EVERYTHING, Augmentation(crop_padding=2, horizontal_flip=True, cutout=3)],
    ids=["plain", "crop and flip", "everything", "cutout"],
)


def copies(batches) -> list[Batch]:
    return [(images.clone(), labels.clone()) for images, labels in batches]


def equal(first: list[Batch], second: list[Batch]) -> bool:
    return all(
        torch.equal(images, others) and torch.equal(labels, other_labels)
        for (images, labels), (others, other_labels) in zip(first, second, strict=True)
    )


def states(subject: Pipeline) -> list[torch.Tensor]:
    return [subject.order.get_state(), subject.draws.get_state(), torch.get_rng_state()]


def same_states(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class TestSlots:
    @pytest.mark.parametrize("count", [1, 2, 3])
    @pytest.mark.parametrize("kind", ["epoch", "evaluation"])
    def test_are_written_in_turn_and_no_other_tensor_is_handed_out(self, kind, count):
        subject = pipeline(augmentation=EVERYTHING)
        slots = [subject.new_batch() for _ in range(count)]
        places = [(images.data_ptr(), labels.data_ptr()) for images, labels in slots]
        yielded = list(getattr(subject, kind)(slots))
        assert len(yielded) >= count
        for step, (images, labels) in enumerate(yielded):
            assert images is slots[step % count][0]
            assert labels is slots[step % count][1]
        assert [(images.data_ptr(), labels.data_ptr()) for images, labels in slots] == places

    @pytest.mark.parametrize("count", [1, 2, 3])
    @pytest.mark.parametrize("kind", ["epoch", "evaluation"])
    @EVERY_AUGMENTATION
    def test_hold_what_new_tensors_would(self, augmentation, kind, count):
        first, second = pipeline(augmentation=augmentation), pipeline(augmentation=augmentation)
        slots = [second.new_batch() for _ in range(count)]
        for _ in range(2):
            expected = list(getattr(first, kind)())
            assert equal(copies(getattr(second, kind)(slots)), expected)
            assert len({images.data_ptr() for images, _ in expected}) == len(expected)

    def test_hold_a_batch_until_their_turn_comes_round_again(self):
        subject = pipeline(augmentation=CROP_AND_FLIP)
        batches = subject.epoch([subject.new_batch() for _ in range(2)])
        first = next(batches)
        kept = copies([first])
        next(batches)
        assert equal([first], kept)
        next(batches)
        assert not equal([first], kept)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_are_made_as_a_batch_is(self, channels):
        split = numbered(channels=channels)
        images, labels = pipeline(train=split, input_size=(12, 15)).new_batch()
        assert images.shape == (BATCH, channels, 12, 15)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert (labels.shape, labels.dtype) == ((BATCH,), torch.int64)


class TestDraws:
    @EVERY_AUGMENTATION
    def test_of_an_image_do_not_depend_on_the_batch_size(self, augmentation):
        epochs = []
        for batch_size in (5, 10, 25):
            batches = list(pipeline(augmentation=augmentation, batch_size=batch_size, seed=3).epoch())
            epochs.append([torch.cat(tensors) for tensors in zip(*batches, strict=True)])
        for images, labels in epochs[1:]:
            assert torch.equal(labels, epochs[0][1])
            assert torch.equal(images, epochs[0][0])

    @EVERY_AUGMENTATION
    def test_pair_networks_whatever_these_draw_themselves(self, augmentation):
        first, second = pipeline(augmentation=augmentation, seed=3), pipeline(augmentation=augmentation, seed=3)
        for _ in range(2):
            torch.manual_seed(1)
            expected = copies(first.epoch())
            torch.manual_seed(2)
            for batch, other in zip(second.epoch(), expected, strict=True):
                torch.rand(7)  # a dropout layer, say
                assert equal([batch], [other])

    def test_of_an_epoch_are_all_made_at_its_start(self):
        subject = pipeline(augmentation=EVERYTHING)
        batches = subject.epoch()
        next(batches)
        after_one = states(subject)
        list(batches)
        assert same_states(states(subject), after_one)

    @pytest.mark.parametrize("taken", [1, 3])
    def test_of_the_next_epoch_do_not_depend_on_how_far_this_one_was_read(self, taken):
        whole, broken_off = pipeline(augmentation=CROP_AND_FLIP), pipeline(augmentation=CROP_AND_FLIP)
        list(whole.epoch())
        for _, _ in zip(range(taken), broken_off.epoch(), strict=False):
            pass
        assert equal(list(broken_off.epoch()), list(whole.epoch()))

    def test_are_crop_then_flip(self):
        split, subject = numbered(), pipeline(augmentation=CROP_AND_FLIP, seed=3)
        order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(6))
        draws = torch.rand(3, COUNT, generator=torch.Generator().manual_seed(7))
        pixels = augment.gather_crops(augment.reflect_columns(split.images, 2), order, draws[:2], padding=2)
        expected = augment.mirror(pixels, draws[2]).permute(0, 3, 1, 2) / 255
        images = torch.cat([images for images, _ in subject.epoch()])
        torch.testing.assert_close(images, expected[: len(images)])

    @EVERY_AUGMENTATION
    def test_are_each_used_and_by_their_own_image_alone(self, augmentation):
        subject = pipeline(augmentation=augmentation, input_size=(16, 16))
        index, slot = torch.arange(BATCH), subject.new_batch()
        low = torch.full((subject._draws_per_image, BATCH), 0.05)
        before = subject.training_batch(index, low, slot)[0].clone()
        for number in range(len(low)):
            draws = low.clone()
            draws[number, 2:4] = 0.95
            after, _ = subject.training_batch(index, draws, slot)
            changed = (after != before).flatten(1).any(1)
            assert changed.nonzero().flatten().tolist() == [2, 3]


class TestTrainingBatch:
    def test_overwrites_the_slot_and_returns_it(self):
        split, subject = numbered(), pipeline()
        slot = subject.new_batch()
        for tensor in slot:
            tensor.fill_(77)
        index = torch.tensor([9, 0, 49, 9, 3, 4, 5, 6])
        assert subject.training_batch(index, torch.empty(0, BATCH), slot) is slot
        images, labels = slot
        assert torch.equal(labels, index)
        torch.testing.assert_close(images, split.images[index].permute(0, 3, 1, 2) / 255)

    def test_leaves_the_stored_images_as_they_are(self):
        split = numbered()
        stored = split.images.clone()
        subject = pipeline(train=split, augmentation=Augmentation(horizontal_flip=True, cutout=3))
        list(subject.epoch())
        assert torch.equal(split.images, stored)


class TestWarmUp:
    @EVERY_AUGMENTATION
    def test_moves_no_generator_and_changes_no_batch(self, augmentation):
        cold, warm = pipeline(augmentation=augmentation), pipeline(augmentation=augmentation)
        before = states(warm)
        warm.warm_up()
        assert same_states(states(warm), before)
        assert warm.fallback is None
        assert equal(list(warm.epoch()), list(cold.epoch()))
