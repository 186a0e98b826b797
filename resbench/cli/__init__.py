"""The command line.

Exit codes: 0 all well; 1 ``compare`` found a regression, ``check`` found a fault, or ``reproduce`` is not within noise;
2 bad usage or input; 3 planned trials failed or are missing, or an instrument is wrong; 4 nothing measured or
comparable; 130 interrupted.
"""

from __future__ import annotations

import signal
import warnings
from pathlib import Path
from typing import Any

import typer

from resbench.cli.checking import check
from resbench.cli.reading import compare, env, list_command, report
from resbench.cli.running import bench, profile, reproduce
from resbench.console import complain

__all__ = ["app", "main"]

app = typer.Typer(
    help="Compare residual networks: accuracy, parameters, FLOPs, speed and memory under one fixed budget.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(list_command)
for _verb in (bench, profile, check, report, compare, reproduce, env):
    app.command()(_verb)


_show_warning = warnings.showwarning


def _tell(message: Warning | str, category: type[Warning], filename: str, *place: Any, **more: Any) -> None:
    """Shows a warning of resbench's own as its other messages, without the line of code; others as Python does."""
    if Path(filename).is_relative_to(Path(__file__).resolve().parents[1]):
        complain(str(message), label="warning")
    else:
        _show_warning(message, category, filename, *place, **more)


def main() -> None:
    """Runs the command line."""
    warnings.showwarning = _tell
    try:
        app(prog_name="resbench")
    finally:  # a Ctrl-C while Python tears itself down is too late to interrupt anything, and would hide how it ended
        signal.signal(signal.SIGINT, signal.SIG_IGN)
