"""Runs trials one after another on this machine, each in a process of its own.

A fresh process a trial: what one network leaves in an allocator or in cuDNN's choices never reaches the next, and
a trial that dies takes only itself along. The parent sleeps until a child says something or ends. Seeds of one network
may train side by side where that is asked for; what is measured of them is measured before, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from resbench.conduct import Attempt, Conduct
from resbench.errors import StorageError
from resbench.executors.child import available_memory_mib
from resbench.executors.deadline import Deadline
from resbench.executors.followed import Followed, OnMessage
from resbench.executors.interrupts import ignoring_interrupts
from resbench.executors.job import trial_job
from resbench.executors.process import Task, run_in_processes
from resbench.inputs import Inputs
from resbench.schema import Trial
from resbench.store import Store

__all__ = ["OnMessage", "run_trials", "trial_job"]


def run_trials(
    trials: list[Trial],
    inputs: Inputs,
    store: Store,
    *,
    on_message: OnMessage = lambda trial, kind, data: None,
    conduct: Conduct | None = None,
    deadline: Deadline | None = None,
    between: Callable[[], None] = lambda: None,
) -> None:
    """Runs trials in order and puts what they leave into the store.

    Args:
        trials: Planned, not yet finished.
        inputs: Where their data is.
        store: Gets what they emit as it comes, and a ``trial`` event for every trial, however it ended.
        on_message: Told of everything that is emitted, after it is stored.
        conduct: Limits, checkpoints, and how many seeds train at once.
        deadline: Trials that would not be over by then are not begun; the others are.
        between: Called after each trial, or those that run together, while none runs.

    Raises:
        KeyboardInterrupt: After the trials in flight have been recorded as ``interrupted``.
        OutOfTime: After those that may be begun have been run: others wait for more time.
        StorageError: The records cannot be written any more.
    """
    conduct, waits = conduct or Conduct(), False
    for group in _groups(trials, conduct.concurrent_seeds):
        if deadline is not None and not deadline.lets_begin(group[0]):
            waits = True
            continue
        began = deadline.now() if deadline is not None else 0.0
        followed = [Followed(trial, store, on_message, conduct) for trial in group]
        _run_group(followed, inputs, conduct, deadline)
        for one in followed:
            while one.in_smaller_parts():
                _run_group([one], inputs, conduct, deadline)
        if deadline is not None and all(one.status == "ok" for one in followed):
            deadline.learn(group[0], deadline.now() - began)
        between()
    if deadline is not None and waits:
        raise deadline.error()


def _groups(trials: list[Trial], size: int) -> list[list[Trial]]:
    """Returns trials that run together, in the order in which the first of each was planned."""
    seeds_of: dict[Trial, list[list[Trial]]] = {}
    groups = []
    for trial in trials:
        of_the_same = seeds_of.setdefault(replace(trial, seed=0), [])
        if not of_the_same or len(of_the_same[-1]) == size:
            of_the_same.append([])
            groups.append(of_the_same[-1])
        of_the_same[-1].append(trial)
    return groups


def _run_group(followed: list[Followed], inputs: Inputs, conduct: Conduct, deadline: Deadline | None) -> None:
    """Runs trials together; the process of each may end without a word, and its record is then written here."""
    tasks = [_task(one, inputs, conduct, together=len(followed)) for one in followed]
    for one in followed:
        one.announce()
    try:
        exits = run_in_processes(tasks, deadline=deadline)
    except KeyboardInterrupt as error:
        with ignoring_interrupts():
            how = f"by {error}" if str(error) else "by the user"
            for one in followed:
                begun = one.began or one is followed[0]
                one.record_unless_done("interrupted" if begun else "not_run", f"interrupted {how}")
        raise
    except OSError as error:  # a log that cannot be written
        raise StorageError(f"cannot write to {error.filename}: {error.strerror}. Nothing more is run.") from error
    for one, ended in zip(followed, exits, strict=True):
        one.record_exit(ended)


def _task(one: Followed, inputs: Inputs, conduct: Conduct, *, together: int) -> Task:
    """Returns a trial as a job for a process."""
    attempt = Attempt(together, one.micro_batch_size, one.checkpoint, conduct.checkpoint_every_s)
    limit = conduct.memory_limit_mib
    if limit is None and one.trial.engine.device == "cpu":
        limit = available_memory_mib()
    return Task(
        trial_job,
        (one.trial, inputs, attempt),
        log=one.log,
        on_message=one.handle,
        limit_s=conduct.trial_timeout_s,
        memory_limit_mib=limit,
        processes=one.trial.engine.devices,
    )
