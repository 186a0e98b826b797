"""Decoded datasets on disk, so that images are decoded once and then read in a fraction of a second.

An entry is a folder of ``.npy`` files and a ``meta.json``. Its name comes from where the data are; what was
found there (files, sizes, times) stands in ``meta.json``, so a source that changed replaces its entry and leaves
none behind. Nothing is trusted: the fingerprint is computed again on every load, and an entry that does not match
is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from resbench.untrusted import user_path

FORMAT_VERSION = 1
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
IMAGE_HASHES = "image_hashes.npy"
"""Beside them in an entry. What an older resbench wrote gets it the first time that it is read."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A dataset's pixels and labels, as they are cached.

    Attributes:
        classes: Class names; a label is an index into them.
        train_images: uint8 ``[N, H, W, C]``.
        train_labels: int64 ``[N]``.
        test_images: uint8 ``[M, H, W, C]``.
        test_labels: int64 ``[M]``.
        resized: Whether images of mixed sizes were brought to one size while they were decoded.
    """

    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    resized: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hexadecimal) of the pixels and labels of both splits, each with its shape."""
        digest = hashlib.sha256()
        for name in ARRAYS:
            dtype = np.dtype("u1" if name.endswith("images") else "<i8")
            array = np.ascontiguousarray(getattr(self, name), dtype=dtype)
            digest.update(f"{name}{list(array.shape)}".encode())
            digest.update(array.data)
        return digest.hexdigest()

    @cached_property
    def image_hashes(self) -> np.ndarray:
        """uint64 ``[N + M]``: equal for images whose pixels are; first those of the training images."""
        both = (np.ascontiguousarray(images) for images in (self.train_images, self.test_images))
        digests = b"".join(hashlib.blake2b(image, digest_size=8).digest() for images in both for image in images)
        return np.frombuffer(digests, dtype="<u8")

    def check(self) -> None:
        """Checks what a fingerprint says nothing of, where the arrays come from a file.

        Raises:
            ValueError: Images are not bytes [N, H, W, C], or a label is none of the classes.
        """
        for name in ARRAYS:
            array = getattr(self, name)
            axes, kind = (4, np.uint8) if name.endswith("images") else (1, np.int64)
            if array.ndim != axes or array.dtype != kind or not array.size:
                raise ValueError(f"{name} is {array.dtype}{list(array.shape)}")
            if axes == 1 and not 0 <= array.min() <= array.max() < len(self.classes):
                raise ValueError(
                    f"{name} has the labels {array.min()} to {array.max()} and there are {len(self.classes)} classes"
                )


def cache_root() -> Path:
    """Where resbench keeps what it can make or fetch again: ``$RESBENCH_CACHE`` or the user's cache folder."""
    return user_path(os.environ.get("RESBENCH_CACHE") or platformdirs.user_cache_dir("resbench"))


def entry_path(name: str, identity: tuple[object, ...]) -> Path:
    """The folder of one entry.

    Args:
        name: The dataset's name; it makes the folder's name readable.
        identity: Where the data come from and how they are decoded: whatever makes an entry a different one.
    """
    key = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
    return cache_root() / "decoded" / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:64]}-{key}"


def load(entry: Path, contents: str, report: Callable[[str], None]) -> Decoded | None:
    """Reads an entry and checks it.

    Args:
        entry: The entry's folder.
        contents: Digest of what the source holds now; an entry made from anything else is stale.
        report: Told why an entry that exists is not used.

    Returns:
        The dataset, or None when it has to be decoded (again).
    """
    if not entry.exists():
        return None
    try:
        meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
        if meta["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {meta['format_version']}, this resbench writes {FORMAT_VERSION}")
        if meta["contents"] != contents:
            raise ValueError("its source has changed")
        arrays = {name: np.load(entry / f"{name}.npy", allow_pickle=False) for name in ARRAYS}
        decoded = Decoded(classes=tuple(meta["classes"]), resized=bool(meta["resized"]), **arrays)
        if decoded.fingerprint != meta["fingerprint"]:
            raise ValueError("its fingerprint does not match")
        decoded.check()
    except Exception as error:  # a damaged file can make its reader raise almost anything
        report(f"decoding again: the cached copy in {entry} cannot be used ({error})")
        shutil.rmtree(entry, ignore_errors=True)
        return None
    vars(decoded)["image_hashes"] = _image_hashes(entry, decoded)
    return decoded


def _image_hashes(entry: Path, decoded: Decoded) -> np.ndarray:
    """Reads the hashes of an entry's images, or makes and keeps them; nothing but a warning depends on them."""
    path = entry / IMAGE_HASHES
    with contextlib.suppress(Exception):  # as in load
        stored = np.load(path, allow_pickle=False)
        if stored.dtype == np.uint64 and stored.shape == (len(decoded.train_labels) + len(decoded.test_labels),):
            return stored
    with contextlib.suppress(OSError):
        draft = path.with_name(f".{os.getpid()}.npy")
        np.save(draft, decoded.image_hashes, allow_pickle=False)
        draft.replace(path)
    return decoded.image_hashes


def save(entry: Path, decoded: Decoded, *, name: str, contents: str, report: Callable[[str], None]) -> None:
    """Writes an entry, replacing what was there; it appears whole or not at all.

    A cache that cannot be written costs time, not results: it is reported and nothing is raised.

    Args:
        entry: The entry's folder.
        decoded: What to keep.
        name: The dataset's name, for whoever looks into the folder.
        contents: Digest of what the source held when it was decoded.
        report: Told when the entry could not be written.
    """
    meta = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "contents": contents,
        "fingerprint": decoded.fingerprint,
        "classes": decoded.classes,
        "shapes": {array: getattr(decoded, array).shape for array in ARRAYS},
        "resized": decoded.resized,
    }
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=entry.parent, ignore_cleanup_errors=True) as folder:
            draft = Path(folder) / "entry"
            draft.mkdir()
            for array in ARRAYS:
                np.save(draft / f"{array}.npy", getattr(decoded, array), allow_pickle=False)
            np.save(draft / IMAGE_HASHES, decoded.image_hashes, allow_pickle=False)
            (draft / "meta.json").write_text(json.dumps(meta, indent=2), encoding="utf-8")
            shutil.rmtree(entry, ignore_errors=True)
            try:
                draft.replace(entry)
            except OSError:
                if not entry.exists():  # if it does, another process was quicker with the same images
                    raise
    except OSError as error:
        report(f"the decoded images cannot be cached in {entry} and will be decoded again next time ({error})")


def save_shipped(decoded: Decoded, *, name: str, report: Callable[[str], None]) -> None:
    """Writes images that were sent to this machine, whose source is elsewhere, so that their fingerprint finds them.

    Args:
        decoded: What to keep.
        name: The dataset's name.
        report: Told when it could not be written.
    """
    fingerprint = decoded.fingerprint
    save(entry_path(name, ("shipped", fingerprint)), decoded, name=name, contents=fingerprint, report=report)


def load_by_fingerprint(fingerprint: str, report: Callable[[str], None]) -> tuple[str, Decoded] | None:
    """Reads the entry that holds these images, wherever they came from.

    Args:
        fingerprint: As :attr:`Decoded.fingerprint` has it.
        report: Told why an entry is not used.

    Returns:
        The dataset's name and the dataset, or None where there is no such entry.
    """
    for entry, meta in _entries():
        if meta.get("fingerprint") == fingerprint:
            decoded = load(entry, str(meta.get("contents")), report)
            if decoded is not None and decoded.fingerprint == fingerprint:
                return str(meta.get("name")), decoded
    return None


def _entries() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields every entry's folder and what it says of itself."""
    for path in sorted((cache_root() / "decoded").glob("*/meta.json")):
        try:
            meta = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(meta, dict):
            yield path.parent, meta
