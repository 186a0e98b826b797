"""Image files, cached copies and weights with anything in them: read, or refused with a message that names the file."""

from __future__ import annotations

import json
import os
import pickle
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import try_out
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_folder import make_tiny_folder
from torchvision.datasets import FashionMNIST
from world import Trap, png

from resbench.data.datasets import load_dataset
from resbench.data.decoding import decode
from resbench.data.imagefiles import list_folder
from resbench.errors import InputError
from resbench.registry import create_model

QUICK = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

# Images --------------------------------------------------------------------------------------------------------------


def _encoded(suffix: str) -> bytes:
    buffer = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format=suffix)
    return buffer.getvalue()


ENCODED = {suffix: _encoded(suffix) for suffix in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")}


@given(
    st.sampled_from(sorted(ENCODED)),
    st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=6),
    st.data(),
)
@example("PNG", [], None)
@QUICK
@pytest.mark.filterwarnings("ignore")
def test_an_image_with_any_bytes_changed_or_missing_is_decoded_or_named(
    tmp_path: Path, suffix: str, changes: list[tuple[int, int]], data: st.DataObject | None
) -> None:
    content = bytearray(ENCODED[suffix])
    for place, value in changes:
        content[place % len(content)] = value
    end = len(content) if data is None else data.draw(st.integers(0, len(content)))
    path = tmp_path / "image.png"
    path.write_bytes(content[:end])
    decoded, refusal = try_out(lambda: decode([path], None))
    if decoded is None:
        assert str(path) in refusal
    else:
        pixels, _ = decoded
        assert pixels.dtype == np.uint8
        assert pixels.shape[0] == 1
        assert pixels.shape[3] in (1, 3)


def test_an_image_that_claims_billions_of_pixels_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(60_000, 60_000))
    with pytest.raises(InputError, match=r"bomb\.png.*decompression bomb"):
        decode([path], None)


@pytest.mark.parametrize("side", [2**20, 2**40])
def test_images_that_no_memory_holds_are_refused_with_what_they_would_take(tmp_path: Path, side: int) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, size in zip(paths, (8, 9), strict=True):
        Image.new("RGB", (size, size)).save(path)
    with pytest.raises(InputError, match=rf"2 images of {side}x{side} pixels take [0-9,.]+ GiB") as caught:
        decode(paths, (side, side))
    assert "Use smaller images, or fewer" in str(caught.value)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder link"])
def test_what_is_no_regular_file_is_never_opened(tmp_path: Path, kind: str) -> None:
    root = make_tiny_folder(tmp_path / "tiny")
    path = root / "train" / "dark" / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else root)
    if kind == "folder link":  # it is no file, and what is behind it is not walked into, or there would be no end
        assert path not in [file.path for file in list_folder(root).train]
        return
    with pytest.raises(InputError, match=r"x\.png is not a regular file"):
        load_dataset(f"folder:{root}")


# Cached copies -------------------------------------------------------------------------------------------------------


def _swap(entry: Path, name: str, array: np.ndarray) -> None:
    np.save(entry / f"{name}.npy", array)


def _pickled(entry: Path) -> None:
    np.save(entry / "train_images.npy", np.array([Trap(entry.parent / "sprung")], dtype=object), allow_pickle=True)


def _meta(entry: Path, **changes: object) -> None:
    path = entry / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


DAMAGES = {
    "a pickle": _pickled,
    "a bare pickle": lambda entry: (entry / "train_labels.npy").write_bytes(
        pickle.dumps(Trap(entry.parent / "sprung"))
    ),
    "an archive": lambda entry: (entry / "train_images.npy").write_bytes(b"PK\x03\x04junk"),
    "a header that is no header": lambda entry: (entry / "test_labels.npy").write_bytes(
        b"\x93NUMPY\x01\x00\x08\x00{'a':((("
    ),
    "a header that calls": lambda entry: (entry / "test_labels.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + struct.pack("<H", 40) + b"__import__('os').mkdir('sprung')        \n"
    ),
    "numbers that are no bytes": lambda entry: _swap(
        entry, "train_images", np.load(entry / "train_images.npy").astype("f8")
    ),
    "labels of other classes": lambda entry: _meta(entry, classes=["dark"]),
    "classes that are none": lambda entry: _meta(entry, classes=5),
    "brackets without end": lambda entry: (entry / "meta.json").write_text("[" * 100_000),
    "a list": lambda entry: (entry / "meta.json").write_text("[]"),
    "no text": lambda entry: (entry / "meta.json").write_bytes(b"\xff"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_cached_copy_with_anything_in_it_is_made_anew(
    damage: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    spec = f"folder:{make_tiny_folder(tmp_path / 'tiny')}"
    before = load_dataset(spec)
    (entry,) = (tmp_path / "cache" / "decoded").iterdir()
    assert callable(damage)
    damage(entry)
    told: list[str] = []
    again = load_dataset(spec, progress=told.append)
    assert "cannot be used" in told[0]
    assert (again.fingerprint, again.classes) == (before.fingerprint, before.classes)
    assert again.train.images.dtype == torch.uint8
    assert not list(tmp_path.rglob("sprung"))


# Datasets that torchvision reads without a checksum ------------------------------------------------------------------


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def _fashion_mnist(root: Path, **replaced: bytes) -> Path:
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(replaced.get("images", _idx(np.zeros((4, 28, 28)))))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(replaced.get("labels", _idx(np.arange(4))))
    return root


def test_fashion_mnist_that_is_whole_is_read(tmp_path: Path) -> None:
    dataset = load_dataset("fashion_mnist", data_dir=_fashion_mnist(tmp_path), cache=False)
    assert dataset.num_classes == len(FashionMNIST.classes)
    assert dataset.train.labels.tolist() == [0, 1, 2, 3]


@given(
    st.sampled_from(["images", "labels"]),
    st.binary(max_size=40) | st.binary(max_size=24).map(b"\x00\x00\x08\x03".__add__),
)
@example("labels", _idx(np.array([0, 1, 2, 200])))
@example("images", _idx(np.zeros((0, 28, 28))))
@example("images", struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**31, 2**31))
@QUICK
def test_fashion_mnist_with_any_bytes_is_read_or_refused(tmp_path: Path, part: str, content: bytes) -> None:
    root = _fashion_mnist(tmp_path, **{part: content})
    dataset, refusal = try_out(lambda: load_dataset("fashion_mnist", data_dir=root, cache=False))
    if dataset is None:
        assert str(root) in refusal
        assert "\n" not in refusal
    else:
        assert int(dataset.train.labels.max()) < dataset.num_classes


# Weights -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(64, 3, 7, 7).to_sparse(),
        torch.zeros(64, 3, 7, 7, device="meta"),
        torch.zeros(64, 3, 7, 7, dtype=torch.complex64),
        torch.quantize_per_tensor(torch.zeros(64, 3, 7, 7), 1.0, 0, torch.qint8),
        [0.0] * 3,
    ],
    ids=["sparse", "without numbers", "complex", "quantized", "a list"],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_cannot_be_copied_are_refused_with_the_file(tensor: object, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"conv1.weight": tensor}, path)
    with torch.device("meta"), pytest.raises(InputError, match=r"weights\.pt"):
        create_model("resnet152", weights=path)


@given(
    st.binary(max_size=60)
    | st.binary(max_size=60).map(b"PK\x03\x04".__add__)
    | st.binary(max_size=60).map(b"\x80\x02".__add__)
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_weights_file_with_any_bytes_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    from resbench.models.parts.pretrained import pretrained_state

    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.pt"):
        pretrained_state(path)


def test_a_weights_path_in_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resbench.models.parts.pretrained import pretrained_state

    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save({"conv1.weight": torch.ones(1)}, tmp_path / "w.pt")
    assert pretrained_state("~/w.pt")["conv1.weight"].tolist() == [1.0]
