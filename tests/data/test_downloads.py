from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import struct
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, FashionMNIST

from resbench.data import downloads
from resbench.data.datasets import DatasetUnavailableError, load_dataset

LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with CIFAR-10's files, four images a batch, which torchvision accepts as the originals."""
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    for number, name in enumerate([*(name for name, _ in CIFAR10.train_list), "test_batch"]):
        rows = np.random.default_rng(number).integers(0, 256, (4, 3072), dtype=np.uint8)
        labels = [(number + row) % 10 for row in range(4)]
        (folder / name).write_bytes(pickle.dumps({"data": rows, "labels": labels}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": LABELS}))
    for parts in ("train_list", "test_list"):
        files = [[name, md5(folder / name)] for name, _ in getattr(CIFAR10, parts)]
        monkeypatch.setattr(CIFAR10, parts, files)
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(folder / "batches.meta")})
    return tmp_path


def idx(array: np.ndarray) -> bytes:
    """The IDX format: two zero bytes, type 8 (unsigned byte), the number of axes, their sizes, the bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def fashion_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with Fashion-MNIST's four archives, six and three images, as downloaded by hand."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 6), ("t10k", 3)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (raw / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
        (raw / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(count, dtype=np.uint8))))
    resources = [(name, md5(raw / name)) for name, _ in FashionMNIST.resources]
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    return tmp_path


def test_cifar10_from_its_pickles(cifar10):
    dataset = load_dataset("cifar10", data_dir=cifar10)
    assert dataset.name == "cifar10"
    assert dataset.classes == tuple(LABELS)
    assert dataset.train.images.shape == (20, 32, 32, 3)
    assert dataset.test.images.shape == (4, 32, 32, 3)
    assert dataset.train.images.is_contiguous()
    assert dataset.train.labels.tolist()[:5] == [0, 1, 2, 3, 1]
    # A row of a CIFAR-10 batch is 1024 red values, then green, then blue, each in rows of the image.
    row = np.random.default_rng(5).integers(0, 256, (4, 3072), dtype=np.uint8)[2]
    assert dataset.test.images[2, 7, 9].tolist() == [int(row[c * 1024 + 7 * 32 + 9]) for c in range(3)]


def test_cifar10_unpacks_an_archive_put_there_by_hand(cifar10, tmp_path_factory, monkeypatch):
    data_dir = tmp_path_factory.mktemp("data")
    archive = data_dir / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(cifar10 / CIFAR10.base_folder, CIFAR10.base_folder)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    assert len(load_dataset("cifar10", data_dir=data_dir).train) == 20


def test_cifar10_is_cached(cifar10):
    first = load_dataset("cifar10", data_dir=cifar10)
    (cifar10 / CIFAR10.base_folder / "data_batch_1").unlink()
    assert load_dataset("cifar10", data_dir=cifar10).fingerprint == first.fingerprint


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_pickle_that_is_not_the_original_is_never_loaded(cifar10, tmp_path, name):
    (cifar10 / CIFAR10.base_folder / name).write_bytes(pickle.dumps(Harmful(tmp_path / "harm")))
    with pytest.raises(DatasetUnavailableError):
        load_dataset("cifar10", data_dir=cifar10)
    assert not (tmp_path / "harm").exists()


def test_fashion_mnist_from_its_archives(fashion_mnist):
    dataset = load_dataset("fashion_mnist", data_dir=fashion_mnist)
    assert dataset.name == "fashion_mnist"
    assert dataset.image_shape == (1, 28, 28)
    assert dataset.classes[0] == "T-shirt/top"
    assert dataset.train.labels.tolist() == [0, 1, 2, 3, 4, 5]
    pixels = np.random.default_rng(3).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(dataset.test.images[..., 0], pixels)


@pytest.mark.parametrize("keep", [0, 7, 20])
def test_fashion_mnist_truncated(fashion_mnist, keep):
    load_dataset("fashion_mnist", data_dir=fashion_mnist, cache=False)
    path = fashion_mnist / "FashionMNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DatasetUnavailableError, match="remove files there that are damaged"):
        load_dataset("fashion_mnist", data_dir=fashion_mnist, cache=False)


def test_fashion_mnist_with_labels_of_another_length(fashion_mnist):
    load_dataset("fashion_mnist", data_dir=fashion_mnist, cache=False)
    raw = fashion_mnist / "FashionMNIST/raw"
    (raw / "train-labels-idx1-ubyte").write_bytes((raw / "t10k-labels-idx1-ubyte").read_bytes())
    with pytest.raises(DatasetUnavailableError, match="6 images but 3 labels"):
        load_dataset("fashion_mnist", data_dir=fashion_mnist, cache=False)


@pytest.mark.parametrize(
    ("name", "file"), [("cifar10", "cifar-10-python.tar.gz"), ("fashion_mnist", "t10k-labels-idx1-ubyte.gz")]
)
def test_without_a_network_the_message_says_what_to_do(tmp_path, name, file):
    with pytest.raises(DatasetUnavailableError) as caught:
        load_dataset(name, data_dir=tmp_path / "data")
    message = str(caught.value)
    for part in ("no network in tests", file, str(tmp_path / "data"), "--data-dir", "folder:PATH", "shapes10"):
        assert part in message
    assert caught.value.exit_code == 2


def test_a_server_that_never_answers_is_given_up(tmp_path, monkeypatch):
    given_up = threading.Event()

    def hang(*args: object, **kwargs: object) -> None:
        given_up.wait()
        raise OSError("too late")

    monkeypatch.setattr("urllib.request.urlopen", hang)
    monkeypatch.setattr("resbench.network.PROBE_TIMEOUT_S", 0.01)
    with pytest.raises(DatasetUnavailableError, match=r"no answer from https://www\.cs\.toronto\.edu"):
        load_dataset("cifar10", data_dir=tmp_path)
    given_up.set()


def test_a_data_dir_that_cannot_be_used(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatasetUnavailableError, match="cannot be read from"):
        load_dataset("cifar10", data_dir=tmp_path / "file")


def test_the_default_data_dir_is_beside_the_cache():
    assert downloads.default_data_dir() == Path(os.environ["RESBENCH_CACHE"]) / "data"
