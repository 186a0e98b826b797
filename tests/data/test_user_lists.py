"""Lists and folders as people have them, through ``load_dataset``, with real images: read, or refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from image_samples import random_image
from user_data import SIZE, spec_of, write_images

from resbench.data.datasets import Dataset, load_dataset
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
            lambda text: "\ufeff# made elsewhere\r\n\r\n" + text.replace("\n", "\r\n"),
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

    def test_a_class_may_be_missing_from_the_test_list(self, root):
        dataset = load(root, test="test/dog/a 1.png dog\n")
        assert dataset.classes == ("cat", "dog")
        assert (dataset.train.labels.tolist(), dataset.test.labels.tolist()) == ([0, 1], [1])

    def test_an_image_may_be_trained_on_twice(self, root):
        dataset = load(root, TRAIN + "./train/cat/a 1.png cat\n")
        assert dataset.train.labels.tolist() == [0, 1, 0]
        np.testing.assert_array_equal(dataset.train.images, images(0, 1, 0))

    def test_a_copy_is_an_image_of_its_own(self, root):
        (root / "copy.png").write_bytes((root / "train/cat/a 1.png").read_bytes())
        dataset = load(root, test=TEST + "copy.png cat\n")
        assert torch.equal(dataset.test.images[2], dataset.train.images[0])


class TestRefused:
    @pytest.mark.parametrize(
        ("train", "test", "message"),
        [
            (TRAIN + "\ngone.png cat\n", TEST, r"train\.txt:4: no file .*my pets.gone\.png\. Paths are relative to"),
            (TRAIN, "", r"the list .*test\.txt names no images\. A line is a path, white space, a label"),
            ("# none\r\n\r\n", TEST, r"the list .*train\.txt names no images\. A line is"),
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
