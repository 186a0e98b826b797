from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from image_samples import random_image

from resbench.data import datasets, decoding
from resbench.data.datasets import Dataset, Split, load_dataset
from resbench.errors import InputError


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of ``decode`` was given."""
    calls: list[int] = []
    decode = decoding.decode

    def counted(paths: list[Path], resize: tuple[int, int] | None) -> tuple[np.ndarray, bool]:
        calls.append(len(paths))
        return decode(paths, resize)

    monkeypatch.setattr(decoding, "decode", counted)
    return calls


def of_images(images: torch.Tensor) -> Dataset:
    split = Split(images, torch.zeros(len(images), dtype=torch.int64))
    return Dataset("made", split, split, ("a",), "")


def test_folder(make_folder):
    dataset = load_dataset(f"folder:{make_folder(size=(6, 9))}")
    assert dataset.name == "pets"
    assert dataset.classes == ("cat", "dog")
    assert dataset.num_classes == 2
    assert dataset.image_shape == (3, 6, 9)
    assert (len(dataset.train), len(dataset.test)) == (6, 4)
    assert dataset.train.images.dtype == torch.uint8
    assert dataset.train.images.is_contiguous()
    assert dataset.train.images.shape == (6, 6, 9, 3)
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]
    assert dataset.test.labels.dtype == torch.int64
    np.testing.assert_array_equal(dataset.train.images[4], np.asarray(random_image((6, 9), seed=4)))


def test_file_lists_give_what_the_folder_gives(make_folder):
    root = make_folder()
    for split in ("train", "test"):
        paths = sorted(root.glob(f"{split}/*/*"))
        (root / f"{split}.txt").write_text("".join(f"{p.relative_to(root)} {p.parent.name}\n" for p in paths))
    listed = load_dataset(f"filelist:{root / 'train.txt'},{root / 'test.txt'}")
    assert listed.name == "pets"
    assert listed.classes == ("cat", "dog")
    assert listed.fingerprint == load_dataset(f"folder:{root}").fingerprint


def test_grayscale_folder_has_one_channel(make_folder):
    assert load_dataset(f"folder:{make_folder(mode='L')}").image_shape == (1, 8, 8)


def test_mean_and_std_are_torchs_own(make_folder):
    dataset = load_dataset(f"folder:{make_folder(size=(40, 30))}")
    pixels = dataset.train.images.double().flatten(0, 2) / 255
    torch.testing.assert_close(torch.tensor(dataset.mean).double(), pixels.mean(0))
    torch.testing.assert_close(torch.tensor(dataset.std).double(), pixels.std(0, correction=0))


def test_mean_and_std_over_several_chunks(monkeypatch):
    monkeypatch.setattr(datasets, "HISTOGRAM_CHUNK", 2)
    dataset = of_images(torch.tensor([0, 0, 255, 255, 255], dtype=torch.uint8).reshape(5, 1, 1, 1))
    assert dataset.mean == pytest.approx((0.6,))
    assert dataset.std == pytest.approx((0.24**0.5,))


def test_std_of_one_colour_is_zero():
    dataset = of_images(torch.full((3, 2, 2, 1), 77, dtype=torch.uint8))
    assert dataset.mean == (77 / 255,)
    assert dataset.std == (0.0,)


def test_decoded_once(make_folder, decodings):
    spec = f"folder:{make_folder()}"
    told: list[str] = []
    first, second = (load_dataset(spec, progress=told.append) for _ in range(2))
    assert decodings == [10]
    assert told == ["decoding pets (once; it is cached afterwards)"]
    assert torch.equal(first.train.images, second.train.images)
    assert first.fingerprint == second.fingerprint


def test_without_the_cache_nothing_is_kept(make_folder, decodings):
    spec = f"folder:{make_folder()}"
    for _ in range(2):
        load_dataset(spec, cache=False)
    assert decodings == [10, 10]
    assert list(Path(os.environ["RESBENCH_CACHE"]).iterdir()) == []


def test_a_changed_image_is_decoded_again(make_folder, decodings):
    root = make_folder()
    before = load_dataset(f"folder:{root}")
    random_image(seed=99).save(root / "train/cat/00.png")
    with pytest.warns(UserWarning, match="its source has changed"):
        after = load_dataset(f"folder:{root}")
    assert len(decodings) == 2
    assert before.fingerprint != after.fingerprint


def test_a_damaged_cache_warns_and_is_rebuilt(make_folder, decodings):
    spec = f"folder:{make_folder()}"
    before = load_dataset(spec)
    (path,) = Path(os.environ["RESBENCH_CACHE"]).glob("decoded/*/train_images.npy")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="cannot be used"):
        again = load_dataset(spec)
    assert again.fingerprint == before.fingerprint
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_dataset(spec)
    assert len(decodings) == 2


def test_one_size_is_cached_once_for_every_resize(make_folder, decodings):
    spec = f"folder:{make_folder()}"
    for resize in ((4, 4), None, (16, 16)):
        assert load_dataset(spec, resize=resize).image_shape == (3, 8, 8)
    assert decodings == [10]


def test_mixed_sizes_are_cached_for_each_resize(make_folder, decodings):
    root = make_folder()
    random_image((10, 20)).save(root / "test/dog/00.png")
    for resize in ((4, 4), (6, 5), (4, 4)):
        assert load_dataset(f"folder:{root}", resize=resize).image_shape == (3, *resize)
    assert len(decodings) == 2
    with pytest.raises(InputError, match="different sizes"):
        load_dataset(f"folder:{root}")


def test_a_link_keeps_its_own_name(make_folder, tmp_path):
    (tmp_path / "alias").symlink_to(make_folder())
    assert load_dataset(f"folder:{tmp_path / 'alias'}").name == "alias"


def test_home_is_expanded(make_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(make_folder().parent))
    assert len(load_dataset("folder:~/pets").train) == 6


def test_a_folder_that_may_not_be_read_is_named(make_folder, monkeypatch):
    root = make_folder()
    scandir = os.scandir

    def refuse(path: object) -> object:
        if Path(str(path)).name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"cannot read .*train.dog: Permission denied"):
        load_dataset(f"folder:{root}")


@pytest.mark.parametrize("spec", ["cifar", "CIFAR10", "imagenet:x", "", "folder", "shapes10:7"])
def test_unknown_specs(spec):
    with pytest.raises(InputError, match=r"unknown dataset .*Accepted: cifar10, .*folder:PATH"):
        load_dataset(spec)
