"""Other channels and fewer images: which pixels and which images, under which name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from image_samples import random_image
from PIL import Image

from resbench.data import decoding, variants
from resbench.data.cache import Decoded
from resbench.data.datasets import load_dataset
from resbench.data.variants import convert_channels, make_variant, take_subset, variant_name, variant_names
from resbench.errors import InputError


def decoded(train: list[int], test: list[int] | None = None, *, channels: int = 3, classes: int = 3) -> Decoded:
    """Random 4x5 images with the labels given."""
    labels = np.array(train, dtype=np.int64), np.array(train if test is None else test, dtype=np.int64)
    images = [
        np.random.default_rng(seed).integers(0, 256, (len(split), 4, 5, channels), dtype=np.uint8)
        for seed, split in enumerate(labels)
    ]
    return Decoded(tuple("abcdefghij"[:classes]), images[0], labels[0], images[1], labels[1])


def kept(labels: list[int], count: int) -> list[int]:
    """Which of a training split's images are kept, by their place in it."""
    whole = decoded(labels, classes=max(labels) + 1)
    places = {image.tobytes(): place for place, image in enumerate(whole.train_images)}
    part = take_subset(whole, count, None)
    chosen = [places[image.tobytes()] for image in part.train_images]
    assert part.train_labels.tolist() == [labels[place] for place in chosen]
    return chosen


class TestChannels:
    def test_gray_is_pillows_luma_bit_for_bit_of_every_colour(self):
        red, green, blue = np.arange(256, dtype=np.uint8), *np.indices((256, 256), dtype=np.uint8)
        images = np.empty((256, 256, 256, 3), dtype=np.uint8)
        images[..., 0], images[..., 1], images[..., 2] = red[:, None, None], green, blue
        labels = np.zeros(256, np.int64)
        converted = convert_channels(Decoded(("a",), images, labels, images[:1], labels[:1]), 1)
        assert converted.train_images.dtype == np.uint8
        for before, after in zip(images, converted.train_images[..., 0], strict=True):
            np.testing.assert_array_equal(after, np.asarray(Image.fromarray(before).convert("L")))

    def test_gray_over_several_chunks_is_pillows_image_by_image(self, monkeypatch):
        monkeypatch.setattr(variants, "CHUNK_PIXELS", 3 * 4 * 5)
        source = decoded([0, 1, 2, 0, 1, 2, 0])
        converted = convert_channels(source, 1)
        assert converted.train_images.shape == (7, 4, 5, 1)
        for before, after in zip(source.train_images, converted.train_images, strict=True):
            np.testing.assert_array_equal(after[..., 0], np.asarray(Image.fromarray(before).convert("L")))

    def test_rgb_is_pillows_of_a_gray_image(self):
        source = decoded([0, 1, 2], channels=1)
        converted = convert_channels(source, 3)
        assert converted.train_images.flags["C_CONTIGUOUS"]
        for before, after in zip(source.test_images, converted.test_images, strict=True):
            np.testing.assert_array_equal(after, np.asarray(Image.fromarray(before[..., 0]).convert("RGB")))

    def test_rgb_and_back_is_the_same_image(self):
        source = decoded([0, 1, 2], channels=1)
        assert convert_channels(convert_channels(source, 3), 1).fingerprint == source.fingerprint

    @pytest.mark.parametrize("channels", [1, 3])
    def test_what_has_them_already_is_not_copied(self, channels):
        source = decoded([0, 1, 2], channels=channels)
        assert make_variant(source, channels=channels) is source
        assert make_variant(source) is source

    @pytest.mark.parametrize("channels", [0, 2, 4, -1])
    def test_any_other_number_is_refused_before_anything_is_read(self, channels, tmp_path):
        with pytest.raises(InputError, match=rf"channels is {channels}\. Give 1 \(grayscale\) or 3 \(RGB\)"):
            load_dataset(f"folder:{tmp_path / 'nowhere'}", channels=channels)


class TestSubset:
    @pytest.mark.parametrize(
        ("available", "count", "shares"),
        [
            ((10, 10, 10), 9, (3, 3, 3)),
            ((10, 10, 10), 10, (4, 3, 3)),
            ((10, 10, 10), 11, (4, 4, 3)),
            ((2, 10, 10), 9, (2, 4, 3)),  # a class that has fewer gives all of its own
            ((10, 1, 10), 12, (6, 1, 5)),
            ((1, 2, 30), 20, (1, 2, 17)),
            ((5, 5, 5), 3, (1, 1, 1)),
            ((5, 5, 5), 14, (5, 5, 4)),
        ],
    )
    def test_is_as_even_over_the_classes_as_it_goes(self, available, count, shares):
        labels = [label for label, have in enumerate(available) for _ in range(have)]
        chosen = [labels[place] for place in kept(labels, count)]
        assert tuple(chosen.count(label) for label in range(len(available))) == shares

    @pytest.mark.parametrize("count", range(4, 40))
    def test_is_even_for_any_number(self, count):
        labels = np.random.default_rng(count).permutation([0] * 3 + [1] * 17 + [2] * 9 + [3] * 11).tolist()
        chosen = kept(labels, count)
        shares = [sum(labels[place] == label for place in chosen) for label in range(4)]
        assert sum(shares) == count == len(set(chosen))
        open_ended = [share for share, have in zip(shares, (3, 17, 9, 11), strict=True) if share < have]
        assert max(open_ended, default=0) - min(open_ended, default=0) <= 1
        assert max(shares) <= max(open_ended, default=max(shares)) + 1

    def test_takes_images_evenly_spaced_in_each_class_and_keeps_their_order(self):
        assert kept([0] * 9 + [1] * 6, 6) == [1, 4, 7, 10, 12, 14]  # the middle of thirds of 9, and of 6

    def test_of_classes_that_take_turns_stays_in_the_datasets_order(self):
        chosen = kept([0, 1, 2] * 20, 12)
        assert chosen == sorted(chosen)
        assert chosen == [6, 7, 8, 21, 22, 23, 36, 37, 38, 51, 52, 53]  # the middle of fifteen images, four times

    def test_draws_nothing_and_is_the_same_again(self):
        labels = np.random.default_rng(7).integers(0, 3, 50).tolist()
        states = []
        for seed in (1, 2):
            np.random.seed(seed)  # noqa: NPY002 - the global generator must not matter
            states.append(kept(labels, 20))
        assert states[0] == states[1]

    @pytest.mark.parametrize("count", [6, 7, 10**9])
    def test_of_all_there_are_or_more_is_the_dataset_itself(self, count):
        source = decoded([0, 1, 2, 0, 1, 2])
        assert make_variant(source, train_images=count, test_images=count) is source

    def test_of_one_split_leaves_the_other(self):
        source = decoded([0, 1, 2] * 4)
        part = make_variant(source, test_images=5)
        assert part.train_images is source.train_images
        assert (len(part.train_labels), len(part.test_labels), len(part.test_images)) == (12, 5, 5)
        assert part.classes == source.classes

    def test_needs_a_training_image_of_each_class(self):
        with pytest.raises(InputError, match=r"train_images is 2 .* 3 classes.* Give 3 or more"):
            make_variant(decoded([0, 1, 2, 0, 1, 2]), train_images=2)

    def test_of_the_test_images_may_be_fewer_than_the_classes(self):
        assert make_variant(decoded([0, 1, 2] * 2), test_images=2).test_labels.tolist() == [0, 1]

    @pytest.mark.parametrize("split", ["train_images", "test_images"])
    @pytest.mark.parametrize("count", [0, -3])
    def test_of_nothing_is_refused_before_anything_is_read(self, split, count, tmp_path):
        with pytest.raises(InputError, match=rf"{split} is {count}\. Give at least 1"):
            load_dataset(f"folder:{tmp_path / 'nowhere'}", **{split: count})


class TestNames:
    @pytest.mark.parametrize(
        ("asked", "name"),
        [
            ({}, "pets"),
            ({"channels": 3}, "pets"),
            ({"channels": 1}, "pets-gray"),
            ({"train_images": 4}, "pets-subset"),
            ({"test_images": 3}, "pets-subset"),
            ({"train_images": 6, "test_images": 4}, "pets"),
            ({"train_images": 6, "test_images": 2, "channels": 1}, "pets-gray-subset"),
        ],
    )
    def test_say_what_really_changed(self, make_folder, asked, name):
        spec = f"folder:{make_folder()}"
        plain, variant = load_dataset(spec), load_dataset(spec, **asked)
        assert variant.name == name
        assert (variant.fingerprint == plain.fingerprint) == (name == "pets")

    def test_of_gray_images_in_three_channels(self, make_folder):
        dataset = load_dataset(f"folder:{make_folder(mode='L')}", channels=3, train_images=2)
        assert (dataset.name, dataset.image_shape) == ("pets-rgb-subset", (3, 8, 8))

    def test_are_all_listed(self):
        gray, colour = decoded([0, 1, 2] * 2, channels=1), decoded([0, 1, 2] * 2)
        made = {
            variant_name("pets", source, make_variant(source, channels=channels, train_images=count))
            for source in (gray, colour)
            for channels in (None, 1, 3)
            for count in (None, 3)
        }
        assert made == set(variant_names("pets"))


class TestLoaded:
    def test_pixels_and_fingerprint_are_those_of_the_converted_files(self, make_folder, tmp_path):
        root = make_folder(size=(9, 7))
        loaded = load_dataset(f"folder:{root}", channels=1)
        for path in root.glob("*/*/*.png"):  # the same folder, converted by Pillow
            gray = tmp_path / "converted" / path.relative_to(root)
            gray.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                image.convert("L").save(gray)
        converted = load_dataset(f"folder:{tmp_path / 'converted'}")
        assert loaded.fingerprint == converted.fingerprint
        assert torch.equal(loaded.train.images, converted.train.images)
        assert loaded.mean == converted.mean

    def test_the_cache_keeps_the_original(self, make_folder, monkeypatch):
        root = make_folder()
        asked = {"channels": 1, "train_images": 4, "test_images": 2}
        first = load_dataset(f"folder:{root}", **asked)
        monkeypatch.setattr(decoding, "decode", None)  # from here on, everything comes from the cache
        again, plain = load_dataset(f"folder:{root}", **asked), load_dataset(f"folder:{root}")
        assert len(list(Path(os.environ["RESBENCH_CACHE"]).glob("decoded/*"))) == 1
        assert (again.name, again.fingerprint) == (first.name, first.fingerprint)
        assert plain.image_shape == (3, 8, 8)
        assert (len(plain.train), len(plain.test)) == (6, 4)
        np.testing.assert_array_equal(plain.train.images[4], np.asarray(random_image((8, 8), seed=4)))

    def test_a_subset_is_the_folder_without_the_files_that_were_left_out(self, make_folder):
        root = make_folder(train=3, test=2)
        loaded = load_dataset(f"folder:{root}", train_images=2, test_images=2)
        for path in [*root.glob("train/*/00.png"), *root.glob("train/*/02.png"), *root.glob("test/*/00.png")]:
            path.unlink()
        assert loaded.fingerprint == load_dataset(f"folder:{root}", cache=False).fingerprint
        assert loaded.train.images.is_contiguous()

    def test_of_what_is_drawn_is_known_by_its_bytes(self):
        dataset = load_dataset("shapes10", channels=1, train_images=100, test_images=50)
        assert dataset.name == "shapes10-gray-subset"
        assert torch.bincount(dataset.train.labels).tolist() == [10] * 10
        assert torch.bincount(dataset.test.labels).tolist() == [5] * 10
        assert dataset.fingerprint == "83a8de42d65fdb274c0a1561f96218f00dbf675fb43d9c20d7c3b050c73b4bef"
