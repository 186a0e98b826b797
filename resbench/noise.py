"""The noise floor: one trial's speed and memory, measured again in the same way between the others (A/A).

The same network on the same machine differs from itself by so much; a difference between two networks, or between two
versions of the code, that is no larger says nothing. How far readings deviate takes several of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from resbench.conduct import Attempt
from resbench.inputs import Inputs
from resbench.ranks import ALONE, Ranks
from resbench.schema import Trial
from resbench.trial import ALONE_STEPS, TrialRun

METRICS = (
    "train_images_per_second",
    "inference_images_per_second",
    "latency_ms_p50",
    "step_ms_p50",
    "peak_memory_allocated_mib",
    "inference_memory_mib",
)
"""Columns of a trial's row that are measured again."""
REPEATS = 3
"""How often a trial is measured again in a folder: about one third through the trials, two thirds, and after the last.
With the trial's own reading that leaves 3 degrees of freedom, and a comparison of two folders 6."""
LEAST_STEPS, MOST_SECONDS = 10, 10.0
"""Training steps that are measured again at least, and for how long at most where there are more."""


def again_job(trial: Trial, inputs: Inputs, how: dict[str, Any], emit: Callable[[str, dict[str, Any]], None]) -> None:
    """Measures a trial's network as its own process did, on as many devices, and emits ``again``.

    Args:
        trial: What to measure.
        inputs: Where its data and weights are.
        how: From :func:`how_to_repeat`.
        emit: Told of the figures.
    """
    if trial.engine.devices > 1:
        from resbench.executors.ranks import run_ranks  # torchrun: nothing that one device needs

        run_ranks(again_on_rank, (trial, inputs, how), trial.engine, emit)
    else:
        again_on_rank(trial, inputs, how, emit, ALONE)


def again_on_rank(
    trial: Trial, inputs: Inputs, how: dict[str, Any], emit: Callable[[str, dict[str, Any]], None], ranks: Ranks
) -> None:
    """Measures a trial's network together with the other ranks, trains it for a few steps, and emits ``again``.

    Where features are cached the few steps stand for the whole training, see
    :func:`~resbench.training.alone.train_alone`: that is what the trial's row tells of.
    """
    run = TrialRun(trial, inputs, lambda kind, data: None, Attempt(), ranks)
    run.set_up()
    dataset = run.load()
    engine, pipeline = run.build(dataset, run.profile())
    run.recorder.speed(run.train_alone(engine, pipeline, **how))
    figures = {name: getattr(run.recorder.record, name) for name in METRICS}
    emit("again", {**figures, "reasons": [*dict.fromkeys(run.recorder.doubts)]})


def how_to_repeat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns how to measure a trial's training again in the way in which its row came about.

    A trial's own steps are not preceded by a copy of everything that they change, unless seeds trained at once. The
    first step of a process is slow: it counts where it is one of few in the row too.
    """
    steps = steps_to_repeat(row)
    return {
        "steps": steps,
        "skip": int((row["steps"] or 0) > steps),
        "preserve": (row.get("concurrent_seeds") or 1) > 1,
    }


def steps_to_repeat(row: Mapping[str, Any]) -> int:
    """Returns how many training steps to measure again of a trial, by its row."""
    step_s = (row["step_ms_p50"] or 0.0) / 1000
    affordable = int(MOST_SECONDS / step_s) if step_s else ALONE_STEPS
    return min(ALONE_STEPS, max(LEAST_STEPS, affordable), max(1, row["steps"] or 1))


def noise_floor(row: Mapping[str, Any], again: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the data of a ``noise_floor`` event.

    Args:
        row: Of the first trial.
        again: The same figures, measured again.

    Returns:
        Both, and ``relative``: for each figure that both have, ``|again / first - 1|``; and why it is ``suspect``,
        where the machine was not left alone.
    """
    first = {name: row[name] for name in METRICS}
    relative = {name: abs(again[name] / first[name] - 1) for name in METRICS if first[name] and again[name]}
    identity = {name: row[name] for name in ("trial_id", "model", "device_name")}
    reasons = [*dict.fromkeys((*row["verdict_reasons"], *again["reasons"]))]
    figures = {name: again[name] for name in METRICS}
    verdict = {"verdict": "suspect" if reasons else "valid", "verdict_reasons": reasons}
    return {**identity, "first": first, "again": figures, "relative": relative, **verdict}


def describe_floor(event: Mapping[str, Any]) -> str:
    """Says a noise floor in one line."""
    names = {"train_images_per_second": "train images/s", "latency_ms_p50": "latency p50", "step_ms_p50": "step p50"}
    parts = [f"{words} {event['relative'][name]:.1%}" for name, words in names.items() if name in event["relative"]]
    doubt = " (suspect: the machine was busy with other things)" if event["verdict"] == "suspect" else ""
    return f"noise floor, {event['model']} against itself: {', '.join(parts) or 'nothing to compare'}{doubt}"
