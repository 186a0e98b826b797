"""Images written again: the same pictures under the same labels, further from the originals the lower the quality."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_folder import TEST_IMAGES, TRAIN_IMAGES, make_tiny_folder

from benchmarks.headline.reencode import reencode
from resbench.data.datasets import Dataset, load_dataset
from resbench.errors import InputError


def load(folder: Path) -> Dataset:
    return load_dataset(f"folder:{folder}", cache=False)


def mean_error(dataset: Dataset, original: Dataset) -> float:
    """Mean absolute difference of the test images' pixels, each class taken as a whole: files are named anew."""
    return float((dataset.test.images.float() - original.test.images.float()).abs().mean())


def test_the_lower_the_quality_the_further_from_the_original(tmp_path: Path) -> None:
    source = make_tiny_folder(tmp_path / "tiny", size=16)
    for quality in (90, 30):
        reencode(f"folder:{source}", quality, tmp_path / f"q{quality}")
    original, fine, coarse = load(source), load(tmp_path / "q90"), load(tmp_path / "q30")
    assert fine.classes == coarse.classes == original.classes
    assert (len(fine.train), len(fine.test)) == (TRAIN_IMAGES, TEST_IMAGES)
    assert torch.equal(fine.train.labels, original.train.labels)
    assert 0 < mean_error(fine, original) < mean_error(coarse, original)


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    source = make_tiny_folder(tmp_path / "tiny")
    reencode(f"folder:{source}", 50, tmp_path / "q", train_images=4, test_images=2)
    written = sorted((tmp_path / "q").rglob("*.jpg"))
    assert len(written) == 6
    before = [path.read_bytes() for path in written]
    reencode(f"folder:{source}", 5, tmp_path / "q")
    assert sorted((tmp_path / "q").rglob("*.jpg")) == written
    assert [path.read_bytes() for path in written] == before


def test_something_else_there_is_refused_and_nothing_half_written_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_tiny_folder(tmp_path / "tiny")
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="holds no train and test folder"):
        reencode(f"folder:{source}", 50, tmp_path / "other")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    with pytest.raises(OSError, match="No space left"):
        reencode(f"folder:{source}", 50, tmp_path / "q")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "tiny"]
