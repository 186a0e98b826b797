"""Checkpoints: where a trial stands, on disk, so that one that was cut short goes on from there.

A checkpoint holds everything that decides how the training goes on: weights, statistics, the optimizer's state, the
generators, the budget that is spent, the epochs so far and the time ledger. On a processor a trial that went on from
one ends with the same bits as one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from resbench.errors import in_one_line

State = dict[str, Any]

FORMAT_VERSION = 3


class Checkpoints:
    """The checkpoint of one trial: a file that is replaced as a whole.

    Args:
        path: The file. Its folder is made where there is none.
        made_with: What must be the same for a training to go on: the trial, the software, the device.
        every_s: Seconds between two checkpoints.
        on_failure: Told where one cannot be written; the training goes on without.

    Attributes:
        resumed: How often the training has gone on from a checkpoint.
    """

    def __init__(
        self,
        path: Path,
        made_with: dict[str, str],
        *,
        every_s: float,
        on_failure: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.path, self.made_with, self.every_s, self.on_failure = path, made_with, every_s, on_failure
        self.resumed = 0
        self._last = time.perf_counter()

    def due(self) -> bool:
        """Returns whether it is time for the next one."""
        return time.perf_counter() - self._last >= self.every_s

    def save(self, state: State) -> None:
        """Replaces the checkpoint, and has the new one on disk before it does.

        If the disk refuses it, or it holds what no loader of plain data reads back (a network's extra state may), the
        one before is intact, and no further one is tried.

        Args:
            state: Tensors on the host, numbers and texts, in dicts and lists.
        """
        temporary = self.path.with_name(f".{self.path.name}-{os.getpid()}")
        kept = {"format": FORMAT_VERSION, "made_with": self.made_with, "resumed": self.resumed, "state": state}
        try:
            self.path.parent.mkdir(exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(kept, file)
                file.flush()
                os.fsync(file.fileno())
            torch.load(temporary, map_location="cpu", mmap=True, weights_only=True)  # numbers stay on the disk
            temporary.replace(self.path)
        except Exception as error:  # torch's writer wraps what the disk says, and any object says why it is not written
            self.every_s = math.inf
            self.on_failure(f"no checkpoint can be written ({in_one_line(error)}): the training goes on without")
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        self._last = time.perf_counter()

    def load(self) -> tuple[State | None, str | None]:
        """Reads the checkpoint, by torch's loader of plain data: nothing in the file is ever run.

        Returns:
            The state, or None where there is none that the trial can go on from; and why not, where there is one.
        """
        try:
            kept = torch.load(self.path, map_location="cpu", weights_only=True)
            if kept["format"] != FORMAT_VERSION:
                return None, f"the checkpoint has format {kept['format']}, this is {FORMAT_VERSION}: starting over"
            made_with, state, resumed = dict(kept["made_with"]), dict(kept["state"]), int(kept["resumed"])
        except FileNotFoundError:
            return None, None
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
            return None, f"the checkpoint cannot be read ({in_one_line(error)}): starting over"
        for name, here in self.made_with.items():
            if made_with.get(name) != here:
                return None, f"the checkpoint is of {name} {made_with.get(name)}, this is {here}: starting over"
        self.resumed = resumed + 1
        return state, None
