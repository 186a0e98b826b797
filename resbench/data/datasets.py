"""Datasets by name: each becomes uint8 NHWC tensors in memory, with a fingerprint of what they hold.

| spec | what it is |
|---|---|
| ``cifar10``, ``fashion_mnist`` | torchvision's, downloaded once into the data folder |
| ``folder:PATH`` | ImageFolder layout: ``PATH/train/<class>/*`` and ``PATH/test/<class>/*`` |
| ``filelist:TRAIN.txt,TEST.txt`` | a path and a label a line |
| ``shapes10`` | drawn by resbench itself |

Each may be asked for in other channels or with fewer images, see :mod:`resbench.data.variants`:

| asked for | name | what it is |
|---|---|---|
| ``channels=1`` of RGB images | ``NAME-gray`` | their luma |
| ``channels=3`` of grayscale images | ``NAME-rgb`` | the channel three times |
| ``train_images``, ``test_images`` below what there is | ``NAME-subset`` | so many, evenly over the classes |
| both | ``NAME-gray-subset``, ``NAME-rgb-subset`` | both |
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from resbench.data import cache as decoded_cache
from resbench.data import decoding, downloads, imagefiles, shapes10, variants
from resbench.data.cache import Decoded
from resbench.data.downloads import DatasetUnavailableError
from resbench.data.imagefiles import ImageFiles
from resbench.data.specs import dataset_name, parse_spec
from resbench.errors import InputError
from resbench.untrusted import user_path

__all__ = ["Dataset", "DatasetUnavailableError", "Split", "dataset_name", "load_dataset"]

SHOWN = 3  # images that a remark names
HISTOGRAM_CHUNK = 4096  # images counted at a time, to keep bincount's 8-byte copies small


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a dataset, in memory.

    Attributes:
        images: uint8 ``[N, H, W, C]``, contiguous.
        labels: int64 ``[N]``, each in ``0..num_classes-1``.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset, decoded and in memory.

    Attributes:
        name: What records carry: ``cifar10``, ``shapes10``, or the name of a user's own folder or lists; with a
            variant's suffix where it is one.
        train: What networks learn from.
        test: What they are judged on.
        classes: Class names; a label is an index into them.
        fingerprint: sha256 (hexadecimal) of the decoded pixels and labels of both splits.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    fingerprint: str
    look: Callable[[], list[str]] = list
    """Finds what :attr:`remarks` has."""

    @cached_property
    def remarks(self) -> list[str]:
        """What its user must know, such as images that are trained on and tested on; found when it is asked for."""
        return self.look()

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image as ``(C, H, W)``."""
        _, height, width, channels = self.train.images.shape
        return channels, height, width

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of the training images, one number a channel, in 0..1."""
        return self._mean_and_std[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Population standard deviation of the training images, one number a channel; 0.0 for a constant one."""
        return self._mean_and_std[1]

    @cached_property
    def _mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Both from histograms, in integers until the last division: exact at any number of pixels."""
        means, stds = [], []
        for channel in range(self.image_shape[0]):
            histogram = np.zeros(256, dtype=np.int64)
            for images in self.train.images.split(HISTOGRAM_CHUNK):
                histogram += np.bincount(images[..., channel].numpy().ravel(), minlength=256)
            counts = histogram.tolist()
            pixels = sum(counts)
            total = sum(value * count for value, count in enumerate(counts))
            squares = sum(value * value * count for value, count in enumerate(counts))
            means.append(total / (255 * pixels))
            stds.append(math.sqrt(pixels * squares - total * total) / (255 * pixels))
        return tuple(means), tuple(stds)


@dataclass(frozen=True)
class _Source:
    """Where a dataset comes from, found but not yet read.

    Attributes:
        identity: Names the cache entry: the kind of source and where it is.
        contents: Digest of what is there now.
        read: Decodes it; gets the size for images of mixed sizes.
    """

    identity: tuple[object, ...]
    contents: str
    read: Callable[[tuple[int, int] | None], Decoded]
    files: ImageFiles | None = None


def load_dataset(
    spec: str,
    *,
    data_dir: Path | None = None,
    resize: tuple[int, int] | None = None,
    cache: bool = True,
    progress: Callable[[str], None] | None = None,
    channels: int | None = None,
    train_images: int | None = None,
    test_images: int | None = None,
) -> Dataset:
    """Loads a dataset into memory, from the cache of decoded images where it can.

    Args:
        spec: ``cifar10``, ``fashion_mnist``, ``shapes10``, ``folder:PATH`` or
            ``filelist:TRAIN.txt,TEST.txt``.
        data_dir: Where downloaded datasets are, or go; None for the user's cache folder.
        resize: (height, width) that images of mixed sizes are resized to when they are decoded. Images of one
            size keep it, whatever this says.
        cache: Whether decoded images are read from and written to the cache.
        progress: Told in a line what takes time and what is wrong with the cache; without it, the latter are
            warnings.
        channels: 1 turns RGB images into their luma, 3 repeats a single channel; None keeps what the dataset has.
        train_images: How many training images to keep at most, evenly over the classes; None for all.
        test_images: Likewise of the test images.

    Raises:
        DatasetUnavailableError: The dataset is neither on disk nor can it be downloaded.
        InputError: The spec or the data are not valid; the message names the file and the remedy. Or the channels
            are neither 1 nor 3, or the images asked for fewer than one a class to train on, or none to test on.
    """
    variants.check_request(channels, train_images, test_images)
    name = dataset_name(spec)
    tell = progress or (lambda message: None)
    complain = progress or (lambda message: warnings.warn(message, stacklevel=2))
    source = _find(spec, data_dir or downloads.default_data_dir())

    def finish(decoded: Decoded) -> Dataset:
        kept = variants.make_variant(decoded, channels=channels, train_images=train_images, test_images=test_images)
        labels, counts = (decoded.train_labels, decoded.test_labels), (train_images, test_images)
        look = partial(_remarks, decoded.image_hashes, labels, counts, source.files)  # holds no pixels
        return _dataset(variants.variant_name(name, decoded, kept), kept, look)

    def entry(size: tuple[int, int] | None) -> Path:
        return decoded_cache.entry_path(name, (*source.identity, size))

    if cache:
        for size in dict.fromkeys((None, resize)):  # images of one size are under None, whatever was asked for
            decoded = decoded_cache.load(entry(size), source.contents, complain)
            if decoded is not None:
                return finish(decoded)
    tell(f"decoding {name} (once; it is cached afterwards)" if cache else f"decoding {name}")
    decoded = source.read(resize)
    if cache:
        place = entry(resize if decoded.resized else None)
        decoded_cache.save(place, decoded, name=name, contents=source.contents, report=complain)
    return finish(decoded)


def load_shipped(fingerprint: str, progress: Callable[[str], None] | None = None) -> Dataset:
    """Loads a dataset that was sent to this machine, variants and all, from the cache of decoded images.

    Args:
        fingerprint: Of its images and labels.
        progress: Told what is wrong with the cache.

    Raises:
        InputError: It is not there any more.
    """
    found = decoded_cache.load_by_fingerprint(fingerprint, progress or (lambda message: None))
    if found is None:
        raise InputError(
            f"the images with the fingerprint {fingerprint[:12]} that were sent here are gone from the cache in "
            f"{decoded_cache.cache_root()}. Leave it alone while trials run; the same command sends them again."
        )
    return _dataset(*found)


def _find(spec: str, data_dir: Path) -> _Source:
    kind, paths = parse_spec(spec)
    if kind == "shapes10":
        return _Source((kind,), f"version {shapes10.VERSION}", lambda size: shapes10.decoded())
    if not paths:
        folder = user_path(data_dir).resolve()
        return _Source((kind, str(folder)), "", lambda size: downloads.read(kind, folder))
    try:
        files = imagefiles.list_folder(*paths) if kind == "folder" else imagefiles.list_filelists(*paths)
        contents = files.digest()
    except OSError as error:
        raise InputError(
            f"cannot read {error.filename or paths[0]}: {error.strerror or error}. "
            "Make it readable, or remove it from the dataset."
        ) from error
    where = (kind, *(str(path.resolve()) for path in paths))
    return _Source(where, contents, lambda size: _read_files(files, size), files)


def _read_files(files: ImageFiles, resize: tuple[int, int] | None) -> Decoded:
    pixels, resized = decoding.decode([file.path for file in files.train + files.test], resize)
    labels = np.array([file.label for file in files.train + files.test], dtype=np.int64)
    split = len(files.train)
    return Decoded(files.classes, pixels[:split], labels[:split], pixels[split:], labels[split:], resized)


def _remarks(
    hashes: NDArray[np.uint64],
    labels: tuple[NDArray[np.int64], NDArray[np.int64]],
    counts: tuple[int | None, int | None],
    files: ImageFiles | None,
) -> list[str]:
    """Says which files are ignored, which test images are trained on, and which images are trained on with two labels.

    Only images that are equal in every pixel are found: of another size, or compressed again, a picture is another.

    Args:
        hashes: Of all images, see :attr:`~resbench.data.cache.Decoded.image_hashes`.
        labels: Of the training and of the test images.
        counts: How many training and test images are kept; None for all.
        files: Those that they were read from, if they were; else they are called by their number.
    """
    train, test = (
        np.arange(len(each)) if (chosen := variants.chosen(each, count)) is None else chosen
        for each, count in zip(labels, counts, strict=True)
    )

    def name(split: int, number: int) -> str:
        if files is None:
            return f"{('training', 'test')[split]} image {number}"
        return files.name((files.train, files.test)[split][number])

    def shown(split: int, numbers: NDArray[np.int64], twins: NDArray[np.int64]) -> str:
        pairs = [
            f"{name(split, one)} is {name(0, two)}" for one, two in zip(numbers[:SHOWN], twins[:SHOWN], strict=True)
        ]
        return ", ".join(pairs) + (", ..." if len(numbers) > SHOWN else "")

    order = train[np.argsort(hashes[train], kind="stable")]
    trained, tested = hashes[order], hashes[len(labels[0]) + test]
    twins = order[np.searchsorted(trained, tested).clip(max=len(order) - 1)]
    both = hashes[twins] == tested
    differ = (trained[1:] == trained[:-1]) & np.diff(labels[0][order]).astype(bool)
    said = [files.remark] if files and files.remark else []
    if both.any():
        said.append(
            f"{both.sum():,} of {len(tested):,} test images are also trained on, pixel for pixel: "
            f"{shown(1, test[both], twins[both])}. Test accuracy counts what was learned by heart. Remove them from "
            "one of the two."
        )
    if differ.any():
        said.append(
            f"{differ.sum():,} training images are there again with another label, pixel for pixel: "
            f"{shown(0, order[1:][differ], order[:-1][differ])}. Remove the wrong ones."
        )
    return said


def _dataset(name: str, decoded: Decoded, look: Callable[[], list[str]] = list) -> Dataset:
    train = Split(torch.from_numpy(decoded.train_images), torch.from_numpy(decoded.train_labels))
    test = Split(torch.from_numpy(decoded.test_images), torch.from_numpy(decoded.test_labels))
    return Dataset(name, train, test, decoded.classes, decoded.fingerprint, look)
