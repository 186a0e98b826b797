"""How long the command line takes before it answers, as a whole process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.harness.rows import Row, Setting, row_of

COMMANDS = {("--help",): "< 0.4", ("list",): "< 0.6"}
"""Arguments of resbench, and the seconds that they may take."""


def startup(setting: Setting) -> Iterator[Row]:
    """Runs each command again and again; the first run, which reads files from the disk, is dropped."""
    for arguments, target in COMMANDS.items():
        seconds = [run_s(*arguments) for _ in range(setting.repeats + 1)][1:]
        yield row_of("start-up", f"resbench {' '.join(arguments)}", seconds, unit="s", target=target)


def run_s(*arguments: str) -> float:
    """Runs resbench with these arguments and returns the seconds until it has ended.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "resbench", *arguments], check=True, capture_output=True)
    return time.perf_counter() - began
