from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from pipelines import (
    BATCH,
    COUNT,
    CROP_AND_FLIP,
    EVERYTHING,
    PLAIN,
    as_floats,
    dataset,
    numbered,
    order,
    pipeline,
)
from torchvision.transforms import InterpolationMode

from resbench.data.datasets import Split
from resbench.data.pipeline import PADDING, Normalisation, normalisation_of, to_device
from resbench.errors import InputError
from resbench.recipes import Augmentation


def by_number(batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """The images of a batch in the order of their labels."""
    return batch[0][batch[1].argsort()]


class TestOrder:
    def test_an_epoch_holds_full_batches_without_repeats(self):
        subject = pipeline()
        sizes = [len(labels) for _, labels in subject.epoch()]
        assert sizes == [BATCH] * (COUNT // BATCH)
        assert subject.steps_per_epoch == COUNT // BATCH
        assert len(set(order(subject))) == COUNT // BATCH * BATCH

    def test_an_epoch_holds_every_image_once_where_the_batch_size_divides_them(self):
        assert sorted(order(pipeline(batch_size=10))) == list(range(COUNT))

    def test_the_next_epoch_has_another_order_and_leaves_out_others(self):
        subject = pipeline()
        epochs = [order(subject) for _ in range(8)]
        assert len({tuple(epoch) for epoch in epochs}) == 8
        assert set().union(*epochs) == set(range(COUNT))

    def test_is_random(self):
        assert order(pipeline()) != sorted(order(pipeline()))

    def test_depends_on_the_seed_alone(self):
        torch.manual_seed(1)
        first = pipeline(seed=3)
        expected = [order(first), order(first)]
        torch.manual_seed(2)
        second = pipeline(seed=3, augmentation=EVERYTHING, input_size=(12, 20))  # other draws, the same order
        assert [order(second), order(second)] == expected
        assert order(pipeline(seed=4)) != expected[0]

    @pytest.mark.parametrize("augmentation", [PLAIN, CROP_AND_FLIP, EVERYTHING])
    def test_batches_of_one_seed_are_identical(self, augmentation):
        torch.manual_seed(1)
        first = pipeline(augmentation=augmentation, seed=3)
        expected = [batch for _ in range(2) for batch in first.epoch()]
        torch.manual_seed(2)
        state = torch.get_rng_state()
        second = pipeline(augmentation=augmentation, seed=3)
        for _ in range(2):
            for images, labels in second.epoch():
                expected_images, expected_labels = expected.pop(0)
                assert torch.equal(images, expected_images)
                assert torch.equal(labels, expected_labels)
        assert not expected
        assert torch.equal(torch.get_rng_state(), state)

    def test_two_epochs_draw_their_augmentation_anew(self):
        subject = pipeline(augmentation=CROP_AND_FLIP, batch_size=COUNT)
        first, second = (by_number(batch) for _ in range(2) for batch in subject.epoch())
        unchanged = (first == second).flatten(1).all(1)
        assert int(unchanged.sum()) < COUNT / 4  # 25 offsets and 2 sides: one in 50 draws the same again

    @pytest.mark.parametrize("augmentation", [CROP_AND_FLIP, EVERYTHING, Augmentation(cutout=3)])
    def test_no_batch_of_two_epochs_is_augmented_as_another_one(self, augmentation):
        # One image, over and over: whatever the order is, batches differ by their augmentation alone.
        same = Split(numbered(1).images.expand(COUNT, -1, -1, -1), torch.arange(COUNT))
        subject = pipeline(train=same, augmentation=augmentation)
        batches = [images for _ in range(2) for images, _ in subject.epoch()]
        assert len({images.numpy().tobytes() for images in batches}) == len(batches) == 2 * (COUNT // BATCH)
        for images in batches:
            assert len({image.numpy().tobytes() for image in images}) > BATCH / 2  # nor are all images of a batch

    def test_seeds_next_to_each_other_share_no_generator(self):
        states = [
            bytes(generator.get_state().numpy())
            for seed in range(5)
            for generator in (pipeline(seed=seed).order, pipeline(seed=seed).draws)
        ]
        assert len(set(states)) == 10


class TestTrainingBatch:
    def test_without_augmentation_holds_the_images_of_its_labels(self):
        split = numbered()
        for images, labels in pipeline(train=split).epoch():
            torch.testing.assert_close(images, as_floats(split)[labels])

    @pytest.mark.parametrize("augmentation", [PLAIN, CROP_AND_FLIP, EVERYTHING, Augmentation(cutout=3)])
    @pytest.mark.parametrize("input_size", [(6, 10), (12, 15)])
    def test_is_float32_in_channels_last_of_the_input_size(self, augmentation, input_size):
        images, labels = next(pipeline(augmentation=augmentation, input_size=input_size).epoch())
        assert images.shape == (BATCH, 3, *input_size)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.shape == (BATCH,)
        assert labels.dtype == torch.int64

    def test_of_one_channel(self):
        split = numbered(channels=1)
        normalisation = Normalisation((0.5,), (0.25,))
        augmentation = Augmentation(crop_padding=2, horizontal_flip=True, rotation_degrees=20, cutout=2)
        subject = pipeline(train=split, normalisation=normalisation, augmentation=augmentation)
        images, _ = next(subject.epoch())
        assert images.shape == (BATCH, 1, 6, 10)
        plain, labels = next(pipeline(train=split, normalisation=normalisation).epoch())
        torch.testing.assert_close(plain, (as_floats(split)[labels] - 0.5) / 0.25)

    def test_of_a_larger_input_is_resized(self):
        split = numbered()
        images, labels = next(pipeline(train=split, input_size=(12, 15)).epoch())
        expected = TF.resize(as_floats(split)[labels], [12, 15], InterpolationMode.BILINEAR, antialias=True)
        torch.testing.assert_close(images, expected, atol=1e-5, rtol=0)

    def test_is_resized_by_the_ratio_and_cropped_to_its_centre(self):
        split = numbered()
        subject = pipeline(train=split, input_size=(32, 32), augmentation=Augmentation(resize_ratio=300 / 256))
        images, labels = next(subject.epoch())
        larger = TF.resize(as_floats(split)[labels], [38, 38], InterpolationMode.BILINEAR, antialias=True)
        torch.testing.assert_close(images, TF.center_crop(larger, [32, 32]), atol=1e-5, rtol=0)

    def test_is_cut_out_with_the_mean_which_normalises_to_0(self):
        split = Split(torch.full((COUNT, 6, 10, 3), 255, dtype=torch.uint8), torch.arange(COUNT))
        normalisation = Normalisation((0.1, 0.2, 0.3), (0.2, 0.3, 0.4))
        subject = pipeline(train=split, normalisation=normalisation, augmentation=Augmentation(cutout=4))
        images, _ = next(subject.epoch())
        assert ((images.abs() < 1e-6).sum((2, 3)) == 16).all()

    def test_of_the_finetuning_recipe_is_in_range_before_normalisation(self):
        images, _ = next(pipeline(augmentation=EVERYTHING, input_size=(32, 32)).epoch())
        assert images.min() >= 0
        assert images.max() <= 1


class TestEvaluation:
    @pytest.mark.parametrize(("count", "batches"), [(20, 3), (16, 2), (1, 1), (8, 1), (9, 2)])
    def test_yields_every_image_once_in_order(self, count, batches):
        split = numbered(count, seed=1)
        yielded = list(pipeline(test=split, augmentation=EVERYTHING).evaluation())
        assert len(yielded) == batches
        assert all(images.shape == (BATCH, 3, 6, 10) for images, _ in yielded)
        labels = torch.cat([labels for _, labels in yielded])
        assert labels.tolist() == list(range(count)) + [PADDING] * (batches * BATCH - count)
        images = torch.cat([images for images, _ in yielded])[labels != PADDING]
        torch.testing.assert_close(images, as_floats(split))

    def test_is_the_same_again_and_draws_nothing(self):
        subject = pipeline(augmentation=EVERYTHING)
        before = subject.draws.get_state(), subject.order.get_state(), torch.get_rng_state()
        first, second = list(subject.evaluation()), list(subject.evaluation())
        assert all(torch.equal(a[0], b[0]) for a, b in zip(first, second, strict=True))
        after = subject.draws.get_state(), subject.order.get_state(), torch.get_rng_state()
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))

    def test_is_float32_in_channels_last_of_the_input_size(self):
        split = numbered(20, seed=1)
        images, labels = next(pipeline(test=split, input_size=(4, 15)).evaluation())
        expected = TF.resize(as_floats(split)[:BATCH], [4, 15], InterpolationMode.BILINEAR, antialias=True)
        torch.testing.assert_close(images, expected, atol=1e-5, rtol=0)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64


class TestNormalisation:
    def test_equals_torchvisions_normalize_of_to_tensor(self):
        data = dataset()
        normalisation = normalisation_of(data, "dataset")
        subject = pipeline(train=data.train, test=data.test, normalisation=normalisation)
        mean, std = list(data.mean), list(data.std)
        for split, batches in ((data.train, subject.epoch()), (data.test, subject.evaluation())):
            images, labels = next(iter(batches))
            for image, label in zip(images, labels, strict=True):
                tensor = TF.to_dtype(split.images[label].permute(2, 0, 1), torch.float32, scale=True)
                torch.testing.assert_close(image, TF.normalize(tensor, mean, std), atol=1e-5, rtol=0)

    def test_of_the_dataset_leaves_the_training_images_with_mean_0_and_deviation_1(self):
        data = dataset()
        subject = pipeline(train=data.train, batch_size=COUNT, normalisation=normalisation_of(data, "dataset"))
        images, _ = next(subject.epoch())
        torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
        torch.testing.assert_close(images.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)

    def test_of_imagenet_is_torchvisions(self):
        from torchvision.models import ResNet18_Weights

        preset = ResNet18_Weights.DEFAULT.transforms()
        normalisation = normalisation_of(dataset(), "imagenet")
        assert list(normalisation.mean) == list(preset.mean)
        assert list(normalisation.std) == list(preset.std)

    def test_of_imagenet_is_refused_for_one_channel(self):
        with pytest.raises(InputError, match="three channels and numbered has 1"):
            normalisation_of(dataset(channels=1), "imagenet")

    @pytest.mark.parametrize("channels", [1, 3])
    def test_none_changes_nothing(self, channels):
        assert normalisation_of(dataset(channels), "none") == Normalisation((0.0,) * channels, (1.0,) * channels)

    def test_of_a_constant_channel_does_not_divide_by_zero(self):
        split = numbered()
        split.images[..., 1] = 77
        data = dataset(train=split)
        images, _ = next(pipeline(train=split, normalisation=normalisation_of(data, "dataset")).epoch())
        assert images.isfinite().all()
        torch.testing.assert_close(images[:, 1], torch.zeros(BATCH, 6, 10), atol=1e-6, rtol=0)


def test_to_device_moves_both_tensors():
    moved = to_device(numbered(), torch.device("meta"))
    assert moved.images.is_meta
    assert moved.labels.is_meta


def test_batches_that_are_only_cropped_and_mirrored_do_without_torchvision():
    # It takes seconds to import, and a trial is a process of its own.
    code = (
        "import sys; from pipelines import *; subject = pipeline(augmentation=CROP_AND_FLIP); subject.warm_up(); "
        "print('torchvision' in sys.modules); subject = pipeline(augmentation=EVERYTHING); subject.warm_up(); "
        "print('torchvision' in sys.modules)"
    )
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=here,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(here.parents[1]), *sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "True"]
