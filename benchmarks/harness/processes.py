"""Measuring in a process that has run nothing else: no allocator, cache or thread pool is left from before."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def in_fresh_process(function: Callable[P, R], *arguments: P.args, **keywords: P.kwargs) -> R:
    """Calls a function of a module in a spawned process and returns what it returned.

    Raises:
        BrokenProcessPool: The process died.
        Exception: Whatever the function raised.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments, **keywords).result()
