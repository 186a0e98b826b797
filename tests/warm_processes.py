"""Processes of trials that find torch imported: a server imports it once, and each of them is a fork of that.

A spawned process imports torch anew, which takes longer than all that a tiny trial does. What a process of its own is
good for stays as it is: its log, its limits, its group, its environment, and that it shares nothing with the next.
Tests of just that spawn theirs, as ``bench`` does.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

IMPORTED = [
    *("resbench.executors.job", "resbench.trial", "resbench.models.cnn", "resbench.models.d2l", "fvcore.nn"),
    "resbench.executors.ranks",  # imports torchrun
    *("torch._dynamo", "torch.fx.experimental.symbolic_shapes"),  # any optimizer; networks on the meta device
]


@contextmanager
def warm_processes() -> Iterator[None]:
    """Forks the processes of trials from the server until the end."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(IMPORTED)

    def process(target: Callable[..., None], args: tuple[Any, ...], daemon: bool) -> Any:
        return server.Process(target=as_if_spawned, args=(dict(os.environ), target, args), daemon=daemon)

    context = SimpleNamespace(Pipe=server.Pipe, Process=process)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resbench.executors.process.multiprocessing", SimpleNamespace(get_context=lambda how: context))
        yield


def as_if_spawned(environment: dict[str, str], target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Runs in the fork: it has the environment of the process that wants it, not of the server."""
    os.environ.clear()
    os.environ.update(environment)
    gc.freeze()  # what the server has imported is no garbage of the trial's
    target(*arguments)
