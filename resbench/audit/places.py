"""Where in a network's own code something happened: the line and the layer, not torch's or this project's."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import torch
from torch import nn

import resbench
from resbench.errors import in_one_line

_HARNESS = str(Path(resbench.__file__).parent) + "/"
_NETWORKS = f"{_HARNESS}models/"
"""The only part of this project that is a network's code."""
_TORCH = str(Path(torch.__file__).parent) + "/"
_PYTHON = str(Path(traceback.__file__).parent) + "/"


def is_own(filename: str) -> bool:
    """Returns whether a file is a network's: not torch's, Python's, or this project's outside its networks."""
    if filename.startswith(_NETWORKS):
        return True
    if filename.startswith((_HARNESS, _TORCH, "<frozen ")):
        return False
    return "-packages/" in filename or not filename.startswith(_PYTHON)  # which may lie inside Python's own folder


def own_line(frames: Iterable[tuple[str, int | None]]) -> str:
    """Returns ``file:line`` of the innermost frame of a network's own code.

    Args:
        frames: File and line, the innermost last.

    Returns:
        The file, from its package on where it is installed and else its last two parts, and the line; empty where no
        frame is a network's.
    """
    own = [(filename, line) for filename, line in frames if is_own(filename)]
    if not own:
        return ""
    filename, line = own[-1]
    package = filename.rpartition("-packages/")[2]
    return f"{package if package != filename else '/'.join(Path(filename).parts[-2:])}:{line}"


def describe(error: BaseException) -> str:
    """Says what was raised, and in which layer and line of the network."""
    frames = list(traceback.walk_tb(error.__traceback__))
    line = own_line([(frame.f_code.co_filename, number) for frame, number in frames])
    layer = _layer(error.__traceback__)
    place = ", ".join([f"layer {layer}"] * bool(layer) + [f"at {line}"] * bool(line))
    return f"{in_one_line(error)}" + (f" ({place})" if place else "")


def _layer(trace: TracebackType | None) -> str:
    """Returns the name and the kind of the innermost module whose code was running."""
    running = [
        frame.f_locals["self"]
        for frame, _ in traceback.walk_tb(trace)
        if isinstance(frame.f_locals.get("self"), nn.Module)
    ]
    if not running:
        return ""
    names = {id(module): name for name, module in running[0].named_modules()}
    name = names.get(id(running[-1]))
    return f"{name} ({type(running[-1]).__name__})" if name else ""
