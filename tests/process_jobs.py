"""Jobs for spawned processes: functions at module level of a module that a child can import."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

Emit = Callable[[str, dict[str, Any]], None]
BLOCK = "x" * 8_000_000
"""More than a pipe holds."""


def emit_numbers(count: int, emit: Emit) -> None:
    """Emits 0, 1, ... as fast as it can."""
    for number in range(count):
        emit("number", {"number": number})


def fail(emit: Emit) -> None:
    """Emits once, then raises."""
    emit("phase", {"phase": "train"})
    raise ValueError("the reason")


def leave(emit: Emit) -> None:
    """Prints, emits, and ends without any cleaning up."""
    print("last words")
    emit("phase", {"phase": "train"})
    os._exit(7)


def kill_itself(number: int, emit: Emit) -> None:
    """Prints, emits, and dies of a signal."""
    print("last words")
    emit("phase", {"phase": "train"})
    os.kill(os.getpid(), number)


def die_inside_a_message(emit: Emit) -> None:
    """Is killed while a message that is larger than the pipe is on its way."""
    emit("phase", {"phase": "train"})
    signal.setitimer(signal.ITIMER_REAL, 0.2)  # SIGALRM's default action ends the process
    emit("block", {"block": BLOCK})


def have_a_child(emit: Emit) -> None:
    """Starts a process of Python's own, as a trial on several devices does, and says how that ended."""
    child = multiprocessing.get_context("spawn").Process(target=print)
    child.start()
    child.join()
    emit("child", {"exit_code": child.exitcode})


def never_end(emit: Emit) -> None:
    """Says its process id and waits for what never comes, deaf to requests to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    emit("pid", {"pid": os.getpid()})
    while True:
        signal.pause()


def wait_to_be_ended(emit: Emit) -> None:
    """Says its process id and waits for what never comes, ready to end."""
    emit("pid", {"pid": os.getpid()})
    while True:
        signal.pause()


def hang_with_a_child(own_group: bool, emit: Emit) -> None:
    """Starts a process, says its id, and computes without end."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=own_group)
    emit("child", {"pid": child.pid})
    while True:
        pass


def allocate_without_end(emit: Emit) -> None:
    """Takes memory until it gets no more."""
    kept = []
    try:
        while True:
            kept.append(bytearray(16 * 2**20))
    except MemoryError:
        emit("held", {"mib": 16 * len(kept)})
        raise


def pass_the_gate(name: str, emit: Emit) -> None:
    """Says its name before and after the gate."""
    emit("before", {"name": name})
    emit("gate", {})
    emit("after", {"name": name})


def die_before_the_gate(name: str, emit: Emit) -> None:
    """Says its name and is killed."""
    emit("before", {"name": name})
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_the_gate(name: str, emit: Emit) -> None:
    """Says its name and is killed while it stands at the gate, or where that opens too early, right behind it."""
    emit("before", {"name": name})
    signal.setitimer(signal.ITIMER_REAL, 0.05)  # SIGALRM's default action ends the process
    emit("gate", {})
    signal.pause()


def leave_a_child(emit: Emit) -> None:
    """Ends at once and leaves a process behind that holds the pipe open."""
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    emit("child", {"pid": child})
    os._exit(5)


def trial_without_profile(trial: Any, inputs: Any, attempt: Any, emit: Emit) -> None:
    """Runs a real trial, less its longest part for a large network."""
    import resbench.trial
    from resbench.executors.job import trial_job

    resbench.trial.TrialRun.profile = lambda self: self.subject.engine_for(  # type: ignore[method-assign]
        self.recipe, self.device
    )
    trial_job(trial, inputs, attempt, emit)


def die_in_training(trial: Any, inputs: Any, attempt: Any, emit: Emit) -> None:
    """Stands in for a trial: emits as one does and is killed; the seed says whether it is."""
    emit("phase", {"phase": "build"})
    emit("phase", {"phase": "train"})
    if trial.seed == 0:
        print("out of patience")
        os.kill(os.getpid(), signal.SIGKILL)
    from resbench.store import planned_record

    record = planned_record(trial, source="test")
    record.status, record.phase = "diverged", "train"
    emit("trial", record.to_dict())


def trial_behind_a_gate(trial: Any, inputs: Any, attempt: Any, emit: Emit) -> None:
    """Stands in for a trial on a node: says its process id, waits for a file to be gone, and ends well.

    The file is named by the trial's recipe.
    """
    import time

    from resbench.store import planned_record

    print(f"seed {trial.seed} runs")
    given = {"threads": os.environ.get("OMP_NUM_THREADS"), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}
    emit("pid", {"pid": os.getpid(), "parent": os.getppid(), **given})
    while os.path.exists(trial.recipe):  # noqa: PTH110
        time.sleep(0.02)
    record = planned_record(trial, source="test")
    record.status, record.phase, record.test_accuracy = "ok", "done", trial.seed / 100
    record.micro_batch_size = trial.batch_size
    if attempt.checkpoint is not None:
        attempt.checkpoint.write_text("left behind")
    emit("trial", record.to_dict())
