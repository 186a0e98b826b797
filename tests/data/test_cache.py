from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from resbench.data import cache
from resbench.data.cache import Decoded, entry_path, load, save


@pytest.fixture
def decoded() -> Decoded:
    rng = np.random.default_rng(0)
    return Decoded(
        ("a", "b"),
        rng.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8),
        np.arange(6, dtype=np.int64) % 2,
        rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8),
        np.arange(2, dtype=np.int64),
    )


@pytest.fixture
def entry(decoded: Decoded) -> Path:
    entry = entry_path("pets", ("folder", "somewhere"))
    save(entry, decoded, name="pets", contents="c1", report=pytest.fail)
    return entry


def test_what_is_saved_is_loaded(entry, decoded):
    again = load(entry, "c1", pytest.fail)
    assert again is not None
    assert again.classes == decoded.classes
    assert again.fingerprint == decoded.fingerprint
    for name in cache.ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(decoded, name))
    assert again.train_labels.dtype == np.int64


def test_meta_is_for_people_too(entry, decoded):
    meta = json.loads((entry / "meta.json").read_text())
    assert meta["name"] == "pets"
    assert meta["fingerprint"] == decoded.fingerprint
    assert meta["shapes"]["train_images"] == [6, 4, 4, 3]


def test_nothing_is_left_beside_the_entry(entry):
    assert [path.name for path in entry.parent.iterdir()] == [entry.name]
    assert entry.name.startswith("pets-")


def test_fingerprint_sees_pixels_labels_shapes_and_splits(decoded):
    def changed(**arrays: np.ndarray) -> str:
        return Decoded(
            decoded.classes, **({name: getattr(decoded, name) for name in cache.ARRAYS} | arrays)
        ).fingerprint

    one_pixel = decoded.test_images.copy()
    one_pixel[0, 0, 0, 0] ^= 1
    prints = {
        decoded.fingerprint,
        changed(test_images=one_pixel),
        changed(train_labels=decoded.train_labels[::-1]),
        changed(train_images=decoded.train_images.reshape(6, 2, 8, 3)),
        changed(train_images=decoded.test_images, test_images=decoded.train_images),
    }
    assert len(prints) == 5
    assert changed(train_images=np.asfortranarray(decoded.train_images)) == decoded.fingerprint


def test_fingerprint_is_the_documented_sha256():
    zeros = np.zeros((1, 1, 1, 1), dtype=np.uint8)
    label = np.zeros(1, dtype=np.int64)
    # sha256 of "train_images[1, 1, 1, 1]" 00 "train_labels[1]" 00*8 "test_images[1, 1, 1, 1]" 00 "test_labels[1]" 00*8
    expected = "f3b01bf45ba4ea88c04d05e7d26d2a73ac7044350a3e8db2688ac077861a3ffe"
    assert Decoded(("a",), zeros, label, zeros, label).fingerprint == expected


def test_an_entry_that_is_not_there_is_no_news():
    assert load(entry_path("pets", ("nowhere",)), "c1", pytest.fail) is None


def truncate(entry: Path) -> None:
    path = entry / "train_images.npy"
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(entry: Path) -> None:
    path = entry / "test_images.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def pickle_it(entry: Path) -> None:
    np.save(entry / "train_labels.npy", np.array([{}], dtype=object), allow_pickle=True)


def from_the_future(entry: Path) -> None:
    meta = json.loads((entry / "meta.json").read_text())
    (entry / "meta.json").write_text(json.dumps(meta | {"format_version": 99}))


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip_a_bit,
        pickle_it,
        from_the_future,
        lambda entry: (entry / "meta.json").write_text("{"),
        lambda entry: (entry / "meta.json").write_text("[]"),
        lambda entry: (entry / "meta.json").unlink(),
        lambda entry: (entry / "train_images.npy").write_bytes(b""),
        lambda entry: (entry / "test_labels.npy").unlink(),
    ],
)
def test_a_damaged_entry_is_reported_and_removed(entry, damage):
    damage(entry)
    told: list[str] = []
    assert load(entry, "c1", told.append) is None
    assert len(told) == 1
    assert "cannot be used" in told[0]
    assert not entry.exists()


def test_a_stale_entry_is_reported(entry):
    told: list[str] = []
    assert load(entry, "c2", told.append) is None
    assert "its source has changed" in told[0]


def test_saving_replaces(entry, decoded):
    save(entry, decoded, name="pets", contents="c2", report=pytest.fail)
    assert load(entry, "c2", pytest.fail) is not None


def test_losing_a_race_is_no_failure(entry, decoded, monkeypatch):
    monkeypatch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)  # the other's entry appears right after
    save(entry, decoded, name="pets", contents="c1", report=pytest.fail)
    monkeypatch.undo()
    assert load(entry, "c1", pytest.fail) is not None


def test_an_unwritable_cache_is_only_reported(tmp_path, monkeypatch, decoded):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RESBENCH_CACHE", str(tmp_path / "file"))
    told: list[str] = []
    save(entry_path("pets", ()), decoded, name="pets", contents="", report=told.append)
    assert "cannot be cached" in told[0]


def test_entries_differ_by_identity_and_have_safe_names():
    assert entry_path("a", (1,)) != entry_path("a", (2,))
    assert entry_path("../..", ()).parent == entry_path("a", ()).parent
    assert len(entry_path("x" * 500, ()).name) < 100
