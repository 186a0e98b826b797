"""The datasets that torchvision knows, downloaded once, checked, and read.

CIFAR-10 comes as pickles. torchvision compares the MD5 of every one with the published value before it opens it,
with or without a download, so no pickle but the original is ever loaded. Archives are compared likewise before they
are unpacked, and unpacking itself refuses members that would land, or point, outside of the data folder.
"""

from __future__ import annotations

import contextlib
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from resbench.data.cache import Decoded, cache_root
from resbench.errors import InputError
from resbench.network import SOCKET_TIMEOUT_S, probe


class DatasetUnavailableError(InputError):
    """The dataset is neither on disk nor can it be downloaded; the message says what to do."""


def default_data_dir() -> Path:
    """Where downloaded datasets are kept unless told otherwise."""
    return cache_root() / "data"


def read(name: str, data_dir: Path) -> Decoded:
    """Reads a dataset from ``data_dir``, downloading it there first if it is missing.

    Args:
        name: ``cifar10`` or ``fashion_mnist``.
        data_dir: torchvision's ``root``: the folder that holds (or gets) the dataset's own folder.

    Raises:
        DatasetUnavailableError: The files are missing or damaged and cannot be downloaded.
    """
    from torchvision.datasets import CIFAR10, FashionMNIST

    if name == "cifar10":
        kind, archives = CIFAR10, {data_dir / CIFAR10.filename: CIFAR10.url}
    else:
        raw = data_dir / "FashionMNIST" / "raw"
        files = [file for file, _ in FashionMNIST.resources]
        kind, archives = FashionMNIST, {raw / file: FashionMNIST.mirrors[0] + file for file in files}
    try:
        try:
            train = kind(data_dir, train=True)
        except RuntimeError:  # nothing there that passes torchvision's check
            _download(kind, data_dir, archives)
            train = kind(data_dir, train=True)
        test = kind(data_dir, train=False)
        decoded = Decoded(tuple(train.classes), *_arrays(train), *_arrays(test))
        decoded.check()
        return decoded
    except Exception as error:  # a damaged file can make torchvision's readers raise almost anything
        raise DatasetUnavailableError(_advice(name, data_dir, archives, error)) from error


def _arrays(split: Any) -> tuple[np.ndarray, np.ndarray]:
    images, labels = np.asarray(split.data), np.asarray(split.targets, dtype=np.int64)
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images but {len(labels)} labels")
    if images.ndim == 3:  # grayscale: give it its channel axis
        images = images[..., np.newaxis]
    return np.ascontiguousarray(images, dtype=np.uint8), labels


def _download(kind: Any, data_dir: Path, archives: dict[Path, str]) -> None:
    """Downloads and unpacks; archives that are already there are only checked and unpacked."""
    missing = [url for archive, url in archives.items() if not archive.is_file()]
    if missing:
        probe(missing[0])
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SOCKET_TIMEOUT_S)
    try:
        with _unpacking_inside():
            kind(data_dir, train=True, download=True)
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _unpacking_inside() -> Iterator[None]:
    """Makes tarfile refuse members that lie or link outside of the folder, and devices, inside the block.

    torchvision unpacks without a filter, and before Python 3.14 the default lets a member go anywhere. Python 3.11
    has filters from 3.11.4 on; without them the archive's checksum is what protects.
    """
    if not hasattr(tarfile, "data_filter"):
        yield
        return
    before = tarfile.TarFile.__dict__.get("extraction_filter")
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before


def _advice(name: str, data_dir: Path, archives: dict[Path, str], error: Exception) -> str:
    (archive, url), *_ = archives.items()
    files = ", ".join(archive.name for archive in archives)
    reason = " ".join(str(error).split()) or type(error).__name__
    return (
        f"{name} cannot be read from {data_dir} and could not be downloaded ({reason}). "
        f"Put {files} (from {url.removesuffix(archive.name)}) into {archive.parent}, "
        "or say with --data-dir which folder has it; remove files there that are damaged. "
        "Or use images of your own with --dataset folder:PATH, or --dataset shapes10, which needs no files."
    )
