"""Running pieces in time: what is done is remembered in ``pieces.json``, what is not is run by the next call."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.headline.place import Command
from resbench.errors import InputError
from resbench.store import write_atomically

GRACE_S = 20.0
"""What an interrupted command gets for writing down what it has."""
RESERVE_S = 30.0
"""What ``--stop-after`` leaves a suite for its tables and plots, which come after its last trial."""


@dataclass(frozen=True)
class Ended:
    """How a command ended, as it stands in ``pieces.json``.

    Attributes:
        ended_at: UTC.
        seconds: Wall clock of this run of it.
        exit_code: 0: done. None: ended because the time was up. Any other: see what it printed.
    """

    ended_at: str
    seconds: float
    exit_code: int | None

    @property
    def done(self) -> bool:
        return self.exit_code == 0


class Ledger:
    """Which commands have ended, and how; one file, whole at every moment."""

    def __init__(self, path: Path) -> None:
        """Reads the file where there is one.

        Raises:
            InputError: It cannot be read.
        """
        self.path = path
        self.ended: dict[str, Ended] = {}
        if path.exists():
            try:
                stored = json.loads(path.read_text(encoding="utf-8"))
                self.ended = {name: Ended(**ended) for name, ended in stored.items()}
            except (ValueError, TypeError, AttributeError) as error:
                raise InputError(f"{path}: not a list of what is done ({error}). Remove it to run all again.") from None

    def done(self, command: Command) -> bool:
        """Says whether a command is done, and what it has made is still there."""
        there = command.makes is None or command.makes.exists()
        return there and command.name in self.ended and self.ended[command.name].done

    def failed(self, command: Command) -> bool:
        """Says whether a command ended badly and not because the time was up."""
        ended = self.ended.get(command.name)
        return ended is not None and ended.exit_code not in (0, None) and not command.ends_itself

    def keep(self, command: Command, ended: Ended) -> None:
        """Writes down how a command ended."""
        self.ended[command.name] = ended
        text = json.dumps({name: asdict(one) for name, one in self.ended.items()}, indent=1)
        write_atomically(self.path, lambda target: target.write_text(text + "\n", encoding="utf-8"))


def run_in_time(
    commands: Iterable[Command],
    ledger: Ledger,
    *,
    minutes: float,
    clock: Callable[[], float] = time.monotonic,
    on_message: Callable[[str], None] = lambda text: None,
) -> list[Command]:
    """Runs what is not done yet, one after another, until the time is up.

    A command that fails does not keep the next from being run, now or in the next call: it is tried again after those
    that have not failed.

    Returns:
        What is still not done, whatever the reason.
    """
    until = clock() + 60 * minutes
    waiting = [command for command in commands if not ledger.done(command)]
    left = []
    for command in sorted(waiting, key=ledger.failed):
        if (seconds := until - clock()) >= command.needs_s:
            on_message(f"{command.name}: {seconds / 60:.1f} of {minutes:g} minutes left")
            ledger.keep(command, run_command(command, seconds))
        if not ledger.done(command):
            left.append(command)
    return left


def run_command(command: Command, seconds: float) -> Ended:
    """Runs one command, and ends it where it is not over in time."""
    arguments = [sys.executable, "-m", *command.arguments]
    if command.ends_itself:
        arguments += ["--stop-after", f"{max(1, int(seconds - RESERVE_S))}s"]
    began = time.monotonic()
    if command.output:
        command.output.parent.mkdir(parents=True, exist_ok=True)
    with command.output.open("w") if command.output else nullcontext() as output:
        # A group of its own: what it has started ends with it, and nothing is left on the device. It listens to SIGINT
        # even if this process inherited that it is ignored, as background jobs do: nobody else sends it.
        listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(arguments, stdout=output, start_new_session=True, preexec_fn=listening)
        try:
            exit_code: int | None = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            exit_code = None
        finally:  # after Ctrl-C too
            _end(process)
    return Ended(datetime.now(UTC).isoformat(timespec="seconds"), round(time.monotonic() - began, 1), exit_code)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its group: asked to, and then for good."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=GRACE_S)
    with suppress(ProcessLookupError):  # nothing is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
