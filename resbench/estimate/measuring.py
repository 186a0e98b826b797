"""Measures the networks of a plan, each in a process of its own, and stops where that takes too long."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from resbench.conduct import Conduct
from resbench.estimate.arithmetic import kept_mib, scaled
from resbench.estimate.job import measure_job
from resbench.estimate.measurement import Measurement
from resbench.executors.child import available_memory_mib
from resbench.executors.process import run_in_process
from resbench.measure.flops import count_flops
from resbench.measure.profile import Subject
from resbench.plugins import with_code
from resbench.recipes import get_recipe
from resbench.registry import without_memory
from resbench.schema import Trial

NETWORK_LIMIT_S = 60.0
"""A network that is not measured by then could not be measured."""
LIMIT_S = 90.0
"""What is left after this long is scaled from what was measured."""
LEAST_LEFT_S = 5.0
"""With less than this left, no further network is begun."""


@dataclass(frozen=True)
class Outcome:
    """What became of measuring a network."""

    basis: str
    """``measured``, ``scaled``, ``out of memory`` or ``failed``."""
    measured: Measurement | None = None
    reason: str = ""
    """Of the last two, in one line."""


def network_of(trial: Trial) -> Trial:
    """Returns the trial less all that changes no time and no memory of a step: what is measured once."""
    return replace(trial, seed=0, budget="", weights="random")


def measure_networks(trials: Sequence[Trial], stored: tuple[int, int, int], conduct: Conduct) -> dict[Trial, Outcome]:
    """Measures the network of each trial once.

    Args:
        trials: Whose networks are measured, in their order.
        stored: Channels, height, width of the dataset's images.
        conduct: The limit on memory that the trials are going to have.

    Returns:
        What became of each, by :func:`network_of`.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C; the process has been ended.
        OSError: There is no place for a log.
    """
    outcomes: dict[Trial, Outcome] = {}
    left_out: list[Trial] = []
    deadline = monotonic() + LIMIT_S
    with tempfile.TemporaryDirectory(prefix="resbench-") as scratch:
        for number, network in enumerate(dict.fromkeys(map(network_of, trials))):
            left = deadline - monotonic()
            limit = min(NETWORK_LIMIT_S, left)
            outcome = None
            if left >= LEAST_LEFT_S:
                outcome = _measure(network, stored, conduct, limit, Path(scratch) / f"{number}.log")
            if outcome is None:
                left_out.append(network)
            else:
                outcomes[network] = outcome
    known = [(network, outcome.measured) for network, outcome in outcomes.items() if outcome.measured]
    for network in left_out:
        outcomes[network] = _scale(network, known)
    return outcomes


def _measure(
    network: Trial, stored: tuple[int, int, int], conduct: Conduct, limit_s: float, log: Path
) -> Outcome | None:
    """Measures one network; None where the time that is left for all of them did not suffice."""
    began = monotonic()
    said: dict[str, dict[str, Any]] = {}
    started: list[float] = []

    def note(kind: str, data: dict[str, Any]) -> None:
        said[kind] = data
        if kind == "started":
            started.append(monotonic() - began)

    memory = conduct.memory_limit_mib
    if memory is None and network.engine.device == "cpu":
        memory = available_memory_mib()
    job, arguments = with_code([network.model], measure_job, (network, stored))
    ended = run_in_process(job, arguments, log=log, on_message=note, limit_s=limit_s, memory_limit_mib=memory)
    if "measurement" in said:
        starts = 1 if network.engine.devices == 1 else 2  # the trial's process starts those of its ranks
        return Outcome("measured", replace(Measurement.from_dict(said["measurement"]), start_s=starts * started[0]))
    if "out_of_memory" in said:
        return Outcome("out of memory", reason=said["out_of_memory"]["error"])
    if ended.timed_out_after_s is not None and limit_s < NETWORK_LIMIT_S:
        return None
    return Outcome("out of memory" if ended.out_of_memory else "failed", reason=str(ended))


def _scale(network: Trial, known: Sequence[tuple[Trial, Measurement]]) -> Outcome:
    """Estimates a network that was not measured."""
    if not known:
        return Outcome("failed", reason=f"measuring the networks before it took {LIMIT_S:g} s")
    subject = Subject(
        network.model, network.stem, network.input, network.num_classes, network.batch_size, network.engine
    )
    counted = [(one, measured) for one, measured in known if measured.train_flops_per_image]
    flops = count_flops(subject.build, network.input, passes=["training"])
    if not (counted and flops.training):
        reason = flops.failure or "it is scaled by its FLOPs, and none are counted of it or of the others"
        return Outcome("failed", reason=reason)
    skeleton = without_memory(subject.build)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in skeleton.parameters()]
    state = kept_mib(
        get_recipe(network.recipe),
        params=sum(size for size, _ in sizes),
        trainable=sum(size for size, trained in sizes if trained),
    )
    return Outcome("scaled", scaled(counted, network, flops.training, state_mib=state))
