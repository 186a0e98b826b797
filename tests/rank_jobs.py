"""Jobs for processes that run one trial together: functions at module level of a module that a child can import."""

from __future__ import annotations

import os
import signal
from typing import Any

import resbench.trial
from resbench.conduct import Attempt
from resbench.executors.job import trial_on_rank
from resbench.executors.ranks import run_ranks
from resbench.inputs import Inputs
from resbench.ranks import Ranks
from resbench.recorder import Emit
from resbench.schema import Trial


def with_a_killed_rank(trial: Trial, inputs: Inputs, attempt: Attempt, emit: Emit) -> None:
    """Stands in for a trial's job: the second rank is killed where training begins."""
    run_ranks(_killed_in_training, (trial, inputs, attempt), trial.engine, emit)


def _killed_in_training(trial: Trial, inputs: Inputs, attempt: Attempt, emit: Emit, ranks: Ranks) -> None:
    _leave_pid(attempt, ranks)
    resbench.trial.TrialRun.profile = lambda self: self.subject.engine_for(  # type: ignore[method-assign]
        self.recipe, self.device, ranks=self.ranks
    )
    trial_on_rank(
        trial, inputs, attempt, _at_training(emit, ranks, lambda: os.kill(os.getpid(), signal.SIGKILL)), ranks
    )


def _leave_pid(attempt: Attempt, ranks: Ranks) -> None:
    """Leaves a file that says which process a rank is, in the results folder."""
    assert attempt.checkpoint is not None
    (attempt.checkpoint.parent.parent / f"rank-{ranks.rank}").write_text(str(os.getpid()))


def _at_training(emit: Emit, ranks: Ranks, happen: Any) -> Emit:
    """Emits, until the second rank begins to train."""

    def emitting(kind: str, data: dict[str, Any]) -> None:
        if ranks.rank == 1 and (kind, data.get("phase")) == ("phase", "train"):
            happen()
        emit(kind, data)

    return emitting
