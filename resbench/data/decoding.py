"""Pixels of image files, decoded with Pillow into one array.

Everything becomes RGB (palette and CMYK are converted, transparency is dropped), except that a dataset whose every
file is 8-bit grayscale keeps its one channel. EXIF rotation is not applied, as in torchvision's ``ImageFolder``. Of
an animation the first frame is taken. 16-bit colour keeps the upper eight bits of each channel; 16-bit grayscale,
which Pillow would clip at 255, is refused.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from resbench.errors import InputError

COMMON_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")  # tried before the others
NOT_READ = frozenset(
    # EPS runs Ghostscript, on a program that the file holds. WMF draws through Windows. IPTC, FPX and MIC hold a file
    # of another format, which Pillow opens whatever it is. BUFR, GRIB, HDF5 and MPEG are recognised and not decoded.
    {"EPS", "WMF", "IPTC", "FPX", "MIC", "BUFR", "GRIB", "HDF5", "MPEG"}
)
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow would clip these to 8 bits without a word
CHUNK = 256  # images a task of the thread pool
SMALL_PIXELS = 64 * 64  # up to this, most of the work is Python's own and threads only hinder each other


@dataclass(frozen=True)
class _Target:
    """What every image is to be: checked where ``strict``, brought about otherwise."""

    size: tuple[int, int]  # (width, height), as Pillow has them
    mode: str  # "L" or "RGB"
    strict: bool


class _MixedError(Exception):
    """An image is not like the first one."""


@cache
def image_suffixes() -> dict[str, str]:
    """Returns the suffixes that the installed Pillow reads, in lower case with their dot, and the format of each."""
    formats = {suffix: "JPEG" if name == "MPO" else name for suffix, name in Image.registered_extensions().items()}
    return {suffix: name for suffix, name in formats.items() if name in Image.OPEN and name not in NOT_READ}


@cache
def _formats(suffix: str) -> tuple[str, ...]:
    """Returns what a file may hold: any format that has a mark of its own, whatever the suffix says.

    TGA has none, and nearly any bytes may pass for it: such a format is tried only under its own suffix.
    """
    own = image_suffixes().get(suffix)
    others = (name for name in sorted({*image_suffixes().values()}) if Image.OPEN[name][1] is not None)
    return tuple(dict.fromkeys((*COMMON_FORMATS, *others, *((own,) if own else ()))))


def decode(paths: list[Path], resize: tuple[int, int] | None) -> tuple[np.ndarray, bool]:
    """Decodes images into one array.

    Args:
        paths: At least one image file.
        resize: (height, width) that images of mixed sizes are resized to (bilinear, antialiased); it changes
            nothing where all images have one size.

    Returns:
        uint8 ``[N, H, W, C]`` with C 1 or 3, and whether the images were resized.

    Raises:
        InputError: A file is broken, deeper than 8 bits or larger than Pillow thinks safe (twice
            ``Image.MAX_IMAGE_PIXELS``), sizes are mixed and ``resize`` is None, or memory does not hold all of them.
    """
    first_size, first_mode = _header(paths[0])
    try:
        return _decode_as(_Target(first_size, first_mode, strict=True), paths), False
    except _MixedError:
        headers = [_header(path) for path in paths]  # rarely needed: it costs as much as decoding
    mode = "L" if all(mode == "L" for _, mode in headers) else "RGB"
    other = next((index for index, (size, _) in enumerate(headers) if size != first_size), None)
    if other is None:
        return _decode_as(_Target(first_size, mode, strict=False), paths), False
    if resize is None:
        sizes = [
            f"{path} is {size[1]}x{size[0]}"
            for path, size in ((paths[0], first_size), (paths[other], headers[other][0]))
        ]
        raise InputError(
            f"the images have different sizes: {' and '.join(sizes)} (height x width). "
            "Say to which size they are to be resized, for instance --input 3x224x224."
        )
    height, width = resize
    return _decode_as(_Target((width, height), mode, strict=False), paths), True


def _decode_as(target: _Target, paths: list[Path]) -> np.ndarray:
    width, height = target.size
    shape = (len(paths), height, width, 1 if target.mode == "L" else 3)
    try:
        pixels = np.empty(shape, dtype=np.uint8)
    except (MemoryError, ValueError) as error:  # ValueError: more bytes than there are addresses
        raise InputError(
            f"{len(paths)} images of {height}x{width} pixels take {math.prod(shape) / 2**30:,.1f} GiB when decoded, "
            "which this machine cannot give. Use smaller images, or fewer."
        ) from error

    def decode_chunk(start: int) -> None:
        for index, path in enumerate(paths[start : start + CHUNK], start):
            pixels[index] = _decode_one(path, target).reshape(pixels.shape[1:])

    workers = 1 if width * height <= SMALL_PIXELS else min(8, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(workers)
    try:
        for _ in pool.map(decode_chunk, range(0, len(paths), CHUNK)):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    return pixels


def _decode_one(path: Path, target: _Target) -> np.ndarray:
    with _opened(path) as image:
        if target.strict and (image.size, _mode(image)) != (target.size, target.mode):
            raise _MixedError
        if "transparency" in image.info and image.mode == "P":
            image = image.convert("RGBA")  # Pillow warns of the direct way
        image = image.convert(target.mode)
        if image.size != target.size:
            image = image.resize(target.size, Image.Resampling.BILINEAR)  # antialiases where it shrinks
        return np.asarray(image)


def _header(path: Path) -> tuple[tuple[int, int], str]:
    with _opened(path) as image:
        return image.size, _mode(image)


def _mode(image: Image.Image) -> str:
    """The mode an image is kept in, were all the others like it."""
    if image.mode in DEEP_MODES:
        raise InputError(
            f"the image {getattr(image, 'filename', '')} has more than 8 bits a channel (mode {image.mode}). "
            "Convert the images to 8 bits first."
        )
    return "L" if image.mode == "L" else "RGB"


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An open image; whatever a broken file makes Pillow raise becomes an error that names the file."""
    try:
        with Image.open(path, formats=_formats(path.suffix.lower())) as image:
            yield image
    except (_MixedError, InputError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise InputError(
            f"the image {path} is too large ({str(error).rstrip('.')}). Make it smaller, or remove it from the dataset."
        ) from error
    except Exception as error:  # OSError, SyntaxError, struct.error, ... : each format has its own
        raise InputError(
            f"cannot read the image {path} ({error}). Replace the file, or remove it from the dataset."
        ) from error
