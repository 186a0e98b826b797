"""Variants of a dataset: other channels, fewer images. Each has a name and a fingerprint of its own.

A variant is made in memory from the decoded images, so one cached copy serves all of them. No random number is
drawn: the same request gives the same bytes on every machine.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from resbench.data.cache import Decoded
from resbench.errors import InputError

CHUNK_PIXELS = 2**20  # converted at a time: their sums take four bytes each
LUMA = (19595, 38470, 7471)  # of 65536: 0.299, 0.587, 0.114 (ITU-R BT.601), as Pillow's convert("L") has them
_CHANNEL_SUFFIXES = {1: "-gray", 3: "-rgb"}
_SUBSET_SUFFIX = "-subset"


def check_request(channels: int | None, train_images: int | None, test_images: int | None) -> None:
    """Checks what can be checked before a dataset is read; None asks for nothing.

    Raises:
        InputError: The channels are neither 1 nor 3, or a split would keep no image.
    """
    if channels not in (None, *_CHANNEL_SUFFIXES):
        raise InputError(f"channels is {channels}. Give 1 (grayscale) or 3 (RGB), or leave it out to keep the images'.")
    for split, count in (("train", train_images), ("test", test_images)):
        if count is not None and count < 1:
            raise InputError(f"{split}_images is {count}. Give at least 1, or leave it out for all of them.")


def make_variant(
    decoded: Decoded, *, channels: int | None = None, train_images: int | None = None, test_images: int | None = None
) -> Decoded:
    """Returns the images that are asked for; the very same object where that changes nothing.

    Raises:
        InputError: As :func:`check_request` and :func:`take_subset` do.
    """
    check_request(channels, train_images, test_images)
    return convert_channels(take_subset(decoded, train_images, test_images), channels)


def variant_name(name: str, original: Decoded, kept: Decoded) -> str:
    """The name that records carry for a variant: what really changed is appended, as in ``cifar10-gray-subset``."""
    channels = kept.train_images.shape[-1]
    if channels != original.train_images.shape[-1]:
        name += _CHANNEL_SUFFIXES[channels]
    if (len(kept.train_labels), len(kept.test_labels)) != (len(original.train_labels), len(original.test_labels)):
        name += _SUBSET_SUFFIX
    return name


def variant_names(name: str) -> tuple[str, ...]:
    """Every name that records may carry for a dataset of this name: its own first, then those of its variants."""
    coloured = (name, *(name + suffix for suffix in _CHANNEL_SUFFIXES.values()))
    return (*coloured, *(other + _SUBSET_SUFFIX for other in coloured))


def convert_channels(decoded: Decoded, channels: int | None) -> Decoded:
    """Returns the dataset with 1 channel (luma, bit for bit that of Pillow's ``convert("L")``) or 3 (repeated).

    Args:
        decoded: Images with 1 or 3 channels.
        channels: 1 or 3; None keeps what there is.
    """
    if channels is None or channels == decoded.train_images.shape[-1]:
        return decoded
    convert = _to_luma if channels == 1 else _to_rgb
    return replace(decoded, train_images=convert(decoded.train_images), test_images=convert(decoded.test_images))


def _to_luma(images: np.ndarray) -> np.ndarray:
    """uint8 ``[N, H, W, 3]`` to ``[N, H, W, 1]``, rounded to the nearest integer."""
    luma = np.empty((*images.shape[:-1], 1), dtype=np.uint8)
    size = max(1, CHUNK_PIXELS // (images.shape[1] * images.shape[2]))
    for start in range(0, len(images), size):
        chunk = images[start : start + size]
        total = np.full(chunk.shape[:-1], 1 << 15, dtype=np.uint32)
        for channel, weight in enumerate(LUMA):
            total += chunk[..., channel] * np.uint32(weight)
        luma[start : start + size, ..., 0] = total >> 16
    return luma


def _to_rgb(images: np.ndarray) -> np.ndarray:
    """uint8 ``[N, H, W, 1]`` to ``[N, H, W, 3]``, the channel three times."""
    return np.ascontiguousarray(np.broadcast_to(images, (*images.shape[:-1], 3)))


def take_subset(decoded: Decoded, train_images: int | None, test_images: int | None) -> Decoded:
    """Keeps at most so many images of each split, as evenly over the classes as they go.

    The classes' shares differ by one at most, unless a class has fewer; where not every class gets the one more,
    the first ones do. Within its class the images kept are evenly spaced, and they stay in the dataset's own order.
    Class names and labels stay as they are.

    Args:
        decoded: What to choose from.
        train_images: None, or more than there are, keeps all of them.
        test_images: Likewise. Fewer than there are classes leave some class untested.

    Raises:
        InputError: Fewer training images are asked for than there are classes among them.
    """
    present = len(np.unique(decoded.train_labels))
    if train_images is not None and train_images < present:
        raise InputError(
            f"train_images is {train_images} and the training images are of {present} classes, each of which needs "
            f"at least one. Give {present} or more."
        )
    train = chosen(decoded.train_labels, train_images)
    test = chosen(decoded.test_labels, test_images)
    if train is not None:
        decoded = replace(decoded, train_images=decoded.train_images[train], train_labels=decoded.train_labels[train])
    if test is not None:
        decoded = replace(decoded, test_images=decoded.test_images[test], test_labels=decoded.test_labels[test])
    return decoded


def chosen(labels: np.ndarray, count: int | None) -> np.ndarray | None:
    """Returns the numbers of the images that are kept, in ascending order; None for all of them."""
    if count is None or count >= len(labels):
        return None
    places = [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]
    shares = _shares([len(place) for place in places], count)
    # The middle of each of ``share`` equal parts of a class, in integers.
    kept = [
        place[(2 * np.arange(share) + 1) * len(place) // (2 * share)]
        for place, share in zip(places, shares, strict=True)
        if share
    ]
    return np.sort(np.concatenate(kept))


def _shares(available: list[int], count: int) -> list[int]:
    """How many images each class gives, of those it has, so that ``count`` of more come together."""
    level = 0  # what every class gives that has it
    while sum(min(have, level + 1) for have in available) <= count:
        level += 1
    shares = [min(have, level) for have in available]
    rest = count - sum(shares)
    for label in [label for label, have in enumerate(available) if have > level][:rest]:
        shares[label] += 1
    return shares
