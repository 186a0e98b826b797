"""Datasets of a user's own, written by the tests: the same images as a folder and as two lists."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from image_samples import random_image
from PIL import Image

KINDS = ("folder", "filelist")
SIZE = (16, 16)
"""Height and width of every image that is not the odd one."""


def encoded(image: Image.Image, suffix: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, suffix, **options)
    return buffer.getvalue()


def png_16_bits(pixels: np.ndarray) -> bytes:
    """A PNG of uint16 [H, W] (grayscale) or [H, W, 3] (RGB), which Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def write_images(root: Path, *, mode: str = "RGB") -> list[Path]:
    """Writes one image of each of two classes into each split; returns them: two to train on, two to test on."""
    paths = [root / split / label / "a 1.png" for split in ("train", "test") for label in ("cat", "dog")]
    for seed, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        random_image(SIZE, mode, seed).save(path)
    return paths


def spec_of(root: Path, kind: str) -> str:
    """The dataset in ``root`` as a folder, or as lists of the very files of that folder."""
    if kind == "folder":
        return f"folder:{root}"
    for split in ("train", "test"):
        paths = sorted(path for path in root.glob(f"{split}/*/*"))
        lines = [f"{path.relative_to(root)} {path.parent.name}\n" for path in paths]
        (root / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
    return f"filelist:{root / 'train.txt'},{root / 'test.txt'}"


def with_odd(root: Path, kind: str, odd: bytes, *, name: str = "z.jpg", mode: str = "RGB") -> str:
    """A dataset whose one odd file is among the training images of the class cat: the last one, or the first."""
    write_images(root, mode=mode)
    (root / "train" / "cat" / name).write_bytes(odd)
    return spec_of(root, kind)
