"""How a verb ends: the project's errors become one message on stderr and an exit code."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from resbench.console import complain
from resbench.errors import InputError, ResbenchError

FAILED_TRIALS = 3
INTERRUPTED = 130

P = ParamSpec("P")
R = TypeVar("R")


def with_exit_codes(command: Callable[P, R]) -> Callable[P, R]:
    """Turns the project's errors into one message on stderr and their exit code."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ResbenchError as error:
            complain(str(error), label="error")
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            complain("interrupted; what ended before is recorded")
            raise typer.Exit(INTERRUPTED) from error
        except OSError as error:
            if error.filename is None:
                raise
            from resbench.data.cache import cache_root

            where = "" if str(cache_root()) not in str(error.filename) else " RESBENCH_CACHE=DIR names another cache."
            complain(f"cannot use {str(error.filename)!r}: {error.strerror}.{where}", label="error")
            raise typer.Exit(InputError.exit_code) from error

    return guarded
