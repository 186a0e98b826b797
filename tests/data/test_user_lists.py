"""Lists and folders as people have them, through ``load_dataset``, with real images: read, or refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from image_samples import random_image
from user_data import SIZE, spec_of, write_images

from resbench.data import cache
from resbench.data.cache import Decoded
from resbench.data.datasets import Dataset, _remarks, load_dataset
from resbench.errors import InputError

TRAIN = "train/cat/a 1.png cat\ntrain/dog/a 1.png dog\n"
TEST = "test/cat/a 1.png cat\ntest/dog/a 1.png dog\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder whose name has spaces, with two images to train on and two to test on."""
    write_images(tmp_path / "my pets")
    return tmp_path / "my pets"


def load(root: Path, train: str | bytes = TRAIN, test: str | bytes = TEST) -> Dataset:
    for name, text in (("train", train), ("test", test)):
        (root / f"{name}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_dataset(f"filelist:{root / 'train.txt'},{root / 'test.txt'}")


def images(*seeds: int) -> np.ndarray:
    """The images that ``write_images`` wrote, in its order."""
    return np.stack([np.asarray(random_image(SIZE, seed=seed)) for seed in seeds])


class TestRead:
    @pytest.mark.parametrize(
        "change",
        [
            lambda text: text.replace(" cat\n", " cat   \n").replace(" dog\n", "\tdog \t\n"),
            lambda text: text.replace("\n", "\r\n"),
            lambda text: text.replace("\n", "\r"),
            lambda text: "\ufeff" + text,
            lambda text: "\ufeff\r\n \t\r\n" + text.replace("\n", "\r\n"),
            lambda text: text.rstrip("\n"),
            lambda text: "".join(f"./{line}\n" for line in text.splitlines()),
            lambda text: "".join(f"train/../{line}\n" for line in text.splitlines()),
        ],
        ids=[
            "blanks after the label",
            "Windows line endings",
            "old Macintosh line endings",
            "a byte order mark",
            "all of it",
            "no end of the last line",
            "./ before the path",
            "a way back in the path",
        ],
    )
    def test_whatever_the_spelling(self, change, root):
        dataset = load(root, change(TRAIN), change(TEST))
        assert dataset.name == "my pets"
        assert dataset.classes == ("cat", "dog")
        assert dataset.train.labels.tolist() == dataset.test.labels.tolist() == [0, 1]
        np.testing.assert_array_equal(dataset.train.images, images(0, 1))
        np.testing.assert_array_equal(dataset.test.images, images(2, 3))

    @pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"], ids=ascii)
    def test_a_path_may_hold_what_only_looks_like_the_end_of_a_line(self, mark, root):
        path = root / f"a{mark}b.png"
        random_image(SIZE, seed=9).save(path)
        dataset = load(root, f"{path.name} cat\n{TRAIN}")
        np.testing.assert_array_equal(dataset.train.images, images(9, 0, 1))

    def test_a_path_may_begin_with_a_hash(self, root):
        random_image(SIZE, seed=9).save(root / "#1.png")
        dataset = load(root, f"#1.png cat\n{TRAIN}")
        np.testing.assert_array_equal(dataset.train.images, images(9, 0, 1))

    def test_a_class_may_be_missing_from_the_test_list(self, root):
        dataset = load(root, test="test/dog/a 1.png dog\n")
        assert dataset.classes == ("cat", "dog")
        assert (dataset.train.labels.tolist(), dataset.test.labels.tolist()) == ([0, 1], [1])

    def test_an_image_may_be_trained_on_twice(self, root):
        dataset = load(root, TRAIN + "./train/cat/a 1.png cat\n")
        assert dataset.train.labels.tolist() == [0, 1, 0]
        np.testing.assert_array_equal(dataset.train.images, images(0, 1, 0))

    def test_a_copy_is_an_image_of_its_own_and_is_told_of(self, root):
        random_image(SIZE, seed=0).save(root / "copy.bmp")  # the first training image in another format
        dataset = load(root, test=TEST + "copy.bmp cat\n")
        assert torch.equal(dataset.test.images[2], dataset.train.images[0])
        (said,) = dataset.remarks
        assert "1 of 3 test images are also trained on, pixel for pixel: copy.bmp is train/cat/a 1.png. " in said


class TestRefused:
    @pytest.mark.parametrize(
        ("train", "test", "message"),
        [
            (TRAIN + "\ngone.png cat\n", TEST, r"train\.txt:4: no file .*my pets.gone\.png\. Paths are relative to"),
            (TRAIN, "", r"the list .*test\.txt names no images\. A line is a path, white space, a label"),
            (" \r\n\r\n", TEST, r"the list .*train\.txt names no images\. A line is"),
            (TRAIN, TEST + "train/x.png wolf\n", r"test\.txt:3: no file"),
            (
                TRAIN,
                "test/dog/a 1.png wolf\n",
                r"test\.txt:1: the class wolf is not in .*Add training images of it, or",
            ),
            ("train/cat/a 1.png big cat\n", TEST, r"train\.txt:1: no file .*a 1\.png big\. .*a label has no spaces"),
            ("train/cat/a 1.png,cat\n", TEST, r"train\.txt:1: no file .*cat.a\. "),
            ("train/cat/a 1.png\n", TEST, r"train\.txt:1: no label in .*A line is a path, white space, a label"),
            (TRAIN, TEST.encode("utf-16"), r"test\.txt is not UTF-8 text\. Save it as UTF-8"),
            ("a\0b.png cat\n", TEST, r"train\.txt:1: no file"),
            ("train/cat cat\n", TEST, r"train\.txt:1: no file .*train.cat\. "),
        ],
    )
    def test_with_the_line_and_the_remedy(self, train, test, message, root):
        with pytest.raises(InputError, match=message):
            load(root, train, test)

    def test_a_list_that_is_not_there(self, root):
        with pytest.raises(InputError, match=r"cannot read the list .*a\.txt: No such file.* Give two text files"):
            load_dataset(f"filelist:{root / 'a.txt'},{root / 'b.txt'}")

    def test_a_class_that_only_one_split_of_a_folder_has(self, root):
        (root / "train" / "dog").rename(root / "train" / "wolf")
        message = r"only in train: wolf; only in test: dog\)\. Give both the same class folders"
        with pytest.raises(InputError, match=message):
            load_dataset(f"folder:{root}")

    def test_a_link_in_a_folder_that_leads_nowhere(self, root):
        (root / "train" / "cat" / "z.png").symlink_to(root / "gone.png")
        with pytest.raises(InputError, match=r"cannot read .*cat.z\.png: No such file.* or remove it from the dataset"):
            load_dataset(f"folder:{root}")

    def test_a_file_that_went_missing_after_the_lists_were_made(self, root):
        spec = spec_of(root, "filelist")
        (root / "test" / "dog" / "a 1.png").unlink()
        with pytest.raises(InputError, match=r"test\.txt:2: no file .*dog.a 1\.png"):
            load_dataset(spec)


def other_spelling(root: Path, how: str) -> str:
    """Another path of the first training image."""
    path = Path("train/cat/a 1.png")
    match how:
        case "the same path":
            return str(path)
        case "./":
            return f"./{path}"
        case "../":
            return f"test/../{path}"
        case "absolute":
            return str(root / path)
        case "a link":
            (root / "link.png").symlink_to(path)
            return "link.png"
        case "a link to its folder":
            (root / "linked").symlink_to(root / "train")
            return "linked/cat/a 1.png"
    os.link(root / path, root / "hard.png")
    return "hard.png"


@pytest.mark.parametrize(
    "how", ["the same path", "./", "../", "absolute", "a link", "a link to its folder", "hard link"]
)
class TestOneImageTwice:
    def test_trained_on_and_tested_on(self, how, root):
        message = (
            r"test\.txt:3: the test image .*\.png is also trained on \(.*train\.txt:1\), which makes the test accuracy "
            r"worthless\. Remove it from one of the two lists"
        )
        with pytest.raises(InputError, match=message):
            load(root, test=f"{TEST}{other_spelling(root, how)} cat\n")

    def test_tested_on_twice(self, how, root):
        line = f"{other_spelling(root, how)} cat\n"
        train = "train/dog/a 1.png dog\ntest/cat/a 1.png cat\n"
        message = r"test\.txt:2: the image .*\.png is in the test list twice \(first in .*test\.txt:1\).*Remove one of"
        with pytest.raises(InputError, match=message):
            load(root, train, f"train/cat/a 1.png cat\n{line}")

    def test_trained_on_with_two_labels(self, how, root):
        message = r"train\.txt:3: the image .* has the label dog and, in .*train\.txt:1, cat\. Remove one of the two"
        with pytest.raises(InputError, match=message):
            load(root, f"{TRAIN}{other_spelling(root, how)} dog\n")


class TestTwins:
    """Pictures that are there twice, under another name."""

    @staticmethod
    def write(root: Path) -> str:
        """Four training images a class, of which test/dog holds three again and train/dog one with another label."""
        for seed in range(4):
            for label, first in (("cat", 10), ("dog", 20)):
                random_image(SIZE, seed=first + seed).save(root / "train" / label / f"{seed}.png")
        for seed in (10, 11, 23):
            random_image(SIZE, seed=seed).save(root / "test" / "dog" / f"twin {seed}.tiff")
        random_image(SIZE, seed=13).save(root / "train" / "dog" / "z.png")
        return f"folder:{root}"

    def test_are_counted_and_named_also_from_the_cache_whatever_is_in_it(self, root, monkeypatch):
        spec = self.write(root)
        twice, wrong = load_dataset(spec).remarks
        assert twice.startswith(
            "3 of 5 test images are also trained on, pixel for pixel: test/dog/twin 10.tiff is train/cat/0.png, "
            "test/dog/twin 11.tiff is train/cat/1.png, test/dog/twin 23.tiff is train/dog/3.png. "
        )
        assert wrong.startswith(
            "1 training images are there again with another label, pixel for pixel: train/dog/z.png is train/cat/3.png."
        )
        (stored,) = cache.cache_root().glob("decoded/*/image_hashes.npy")
        for damage in (stored.unlink, lambda: stored.write_bytes(b"x"), lambda: np.save(stored, np.zeros(3))):
            damage()  # the first is an entry of an older version
            assert load_dataset(spec).remarks == [twice, wrong]
        monkeypatch.setattr(cache.hashlib, "blake2b", None)  # nothing is hashed again
        assert load_dataset(spec).remarks == [twice, wrong]

    def test_are_looked_for_among_the_images_that_are_kept(self, root):
        spec = self.write(root)
        (said,) = load_dataset(spec, train_images=2, channels=1).remarks  # train/cat/2.png, train/dog/3.png
        assert (
            "1 of 5 test images are also trained on, pixel for pixel: test/dog/twin 23.tiff is train/dog/3.png." in said
        )
        assert load_dataset(spec, train_images=2, test_images=1).remarks == []

    def test_have_numbers_where_images_have_no_names(self):
        pixels = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1)
        labels = np.arange(4) % 2
        decoded = Decoded(("a", "b"), pixels, labels, pixels[3:], labels[3:])
        (said,) = _remarks(decoded.image_hashes, (labels, labels[3:]), (None, None), None)
        assert "1 of 1 test images are also trained on, pixel for pixel: test image 0 is training image 3." in said
