"""On a node, one for each run: says whether the node is fit, keeps what trials read, and holds its processor.

A Ray actor that costs nothing while trials run. It ends with the run, and its lock with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from resbench.data.cache import Decoded, cache_root
from resbench.executors.ray_cluster import shipping
from resbench.executors.ray_cluster.shipping import Manifest, ShippedFile
from resbench.executors.ray_cluster.worker import take_priority_of
from resbench.inputs import Inputs
from resbench.locks import LockedError, device_lock, host_name

KEPT_S = 14 * 24 * 3600.0
"""After which what a run left on a node is removed: checkpoints that nobody came back for."""


@dataclass(frozen=True)
class Found:
    """What a node is and holds."""

    software: dict[str, str | None]
    inputs: Inputs
    """Where the trials' data are on it, once it holds them."""
    folder: Path
    """The run's own on it."""
    checkpoints: frozenset[str]
    """Ids of trials that an earlier driver of this run left unfinished."""
    images_missing: bool
    files_missing: tuple[ShippedFile, ...]
    low_priority: bool
    """Whether its workers have a priority that spoils times."""


class Keeper:
    """See the module."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()

    def look(self, run: str, inputs: Inputs, manifest: Manifest) -> Found:
        """Says what this node is and holds.

        Args:
            run: Names the results folder, whatever its path.
            inputs: Where the data are on the driver's machine.
            manifest: What trials read.
        """
        root = cache_root() / "cluster" / host_name()
        _remove_old(root, besides=run)
        folder = root / run
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        images_missing, files_missing = shipping.missing(manifest)
        return Found(
            software=manifest.software(),
            inputs=shipping.inputs_here(inputs, manifest),
            folder=folder,
            checkpoints=frozenset(path.stem for path in (folder / "checkpoints").glob("*.pt")),
            images_missing=images_missing,
            files_missing=files_missing,
            low_priority=not take_priority_of(psutil.Process(os.getppid())),
        )

    def take_images(self, manifest: Manifest, decoded: Decoded) -> None:
        """Keeps the images."""
        shipping.take_images(manifest, decoded)

    def take_file(self, file: ShippedFile, contents: bytes) -> None:
        """Keeps a file."""
        shipping.take_file(file, contents)

    def hold(self, device: str, *, wait: bool) -> str | None:
        """Holds this node's processor for the run; a GPU is held by the trial that is given it.

        Args:
            device: What trials compute on.
            wait: Whether to wait for it.

        Returns:
            Who holds it, where it is not free and is not waited for.
        """
        if device.startswith("cuda"):
            return None

        def refuse(text: str) -> None:
            if not wait:
                raise LockedError(text)

        try:
            self._held.enter_context(device_lock(device, on_wait=refuse))
        except LockedError as error:
            return str(error)
        return None


def _remove_old(root: Path, *, besides: str) -> None:
    """Removes what runs of long ago left in this node's cache."""
    for folder in root.glob("*/"):
        with contextlib.suppress(OSError):
            newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
            if folder.name != besides and time.time() - newest > KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)


def differing_software(mine: dict[str, str | None], theirs: dict[str, str | None]) -> str | None:
    """Says in what a node's software differs from the driver's; None where it does not.

    A figure of other software is another measurement.
    """
    differences = [
        f"{name} is {theirs.get(name) or 'none'} there and {value or 'none'} here"
        for name, value in mine.items()
        if theirs.get(name) != value
    ]
    return ", ".join(differences) or None
