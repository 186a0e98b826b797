"""``torch.compile`` as the harness uses it: one version a shape, nothing given up in silence, code kept on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from resbench.data.cache import cache_root

CODE_FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""The environment variable that says where torch keeps generated code."""

P = ParamSpec("P")
R = TypeVar("R")


def compile_function(function: Callable[P, R], *, mode: str = "default") -> Callable[P, R]:
    """Returns the compiled function; compilation itself happens at its first call.

    The generated code is kept in resbench's cache folder (or where ``TORCHINDUCTOR_CACHE_DIR`` says), by what it
    computes and not by whose weights it reads: another seed of the same network finds it there.

    Args:
        function: Takes and returns tensors.
        mode: A mode of ``torch.compile``.

    Raises:
        RuntimeError: There is no compiler for this Python or platform.
    """
    if not _chosen(os.environ.get(CODE_FOLDER)):
        os.environ[CODE_FOLDER] = str(cache_root() / "compiled")
    # Dynamo runs a function eagerly, and says so only in a log, once it has too many versions of it.
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    # A version for every shape: one for all of them would be slower, and other arithmetic.
    compiled: Callable[P, R] = torch.compile(function, dynamic=False, mode=mode)
    return compiled


def _chosen(folder: str | None) -> bool:
    """Returns whether somebody chose where code is kept: torch names its own folder there as soon as it is imported.

    That may be long before anything is compiled: any optimizer imports what it takes to compile.
    """
    if folder is None:
        return False
    path = Path(folder)
    return not (path.parent == Path(tempfile.gettempdir()) and path.name.startswith("torchinductor_"))
