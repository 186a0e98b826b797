"""How trials are watched over while they run; what they learn does not depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Conduct:
    """The ``[run]`` table of a suite, resolved."""

    trial_timeout_s: float | None = None
    """Wall time of a trial's process; None: as long as it takes."""
    checkpoint_every_s: float = 60.0
    accumulate: bool = False
    """Whether a trial that runs out of memory is run again in halves of its batch."""
    memory_limit_mib: int | None = None
    """What a trial may allocate on the host; None: what is there."""
    concurrent_seeds: int = 1
    calibrate: bool = True
    """Whether the instruments are tested first and the noise floor is measured."""
    executor: str = "local"
    """``local`` or ``ray``."""
    ray_address: str | None = None
    """Of a running cluster; None: ``RAY_ADDRESS``, or one that is started for the run on this machine."""
    cpus_per_trial: int | None = None
    """Of a cluster's node, for each trial and for torch; None: a node's processor runs one trial, with all of it."""
    retries: int = 2
    """How often a trial is run again whose worker or node died."""


@dataclass(frozen=True)
class Attempt:
    """What a trial's process is told besides the trial itself."""

    together: int = 1
    """How many trials train at once on the device. Beyond 1 the training's speed is measured before."""
    micro_batch_size: int | None = None
    """Images of one pass, where the whole batch did not fit."""
    checkpoint: Path | None = None
    """Where the trial leaves what it needs to go on; None: nowhere."""
    checkpoint_every_s: float = 60.0
    retell: bool = False
    """Whether a training that goes on tells of its earlier epochs again: who listened may have died before it heard all
    that the checkpoint holds. Of an epoch that is told twice the last word counts."""
