"""What a trial's process runs. Nothing here imports torch: only the process itself does."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resbench.conduct import Attempt
    from resbench.inputs import Inputs
    from resbench.ranks import Ranks
    from resbench.recorder import Emit
    from resbench.schema import Trial


def trial_job(trial: Trial, inputs: Inputs, attempt: Attempt, emit: Emit) -> None:
    """Runs a trial in this process, or in one for each of its devices, and emits its record."""
    if trial.engine.devices > 1:
        from resbench.executors.ranks import run_ranks  # torchrun: nothing that one device needs

        run_ranks(trial_on_rank, (trial, inputs, attempt), trial.engine, emit)
    else:
        from resbench.ranks import ALONE

        trial_on_rank(trial, inputs, attempt, emit, ALONE)


def trial_on_rank(trial: Trial, inputs: Inputs, attempt: Attempt, emit: Emit, ranks: Ranks) -> None:
    """Runs a trial together with the other ranks and emits its record."""
    from resbench.trial import run_trial

    gc.freeze()  # what the imports hold is no garbage: every collection from here on is the shorter for it
    emit("trial", run_trial(trial, inputs, emit, attempt, ranks=ranks).to_dict())
