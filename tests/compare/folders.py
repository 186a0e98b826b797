"""Results folders for comparisons, from records alone and without a disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from records import make_record, make_trial

from resbench.frames import collect
from resbench.schema import Hits
from resbench.stats import summarise
from resbench.store import Results

READINGS = np.array([-1.5, -0.5, 0.5, 1.5])
"""Of one thing, measured four times."""


def measured_again(columns: dict[str, float]) -> list[dict[str, Any]]:
    """The events of a trial that was measured again three times, by column the deviation of its readings."""
    readings = {column: np.exp(READINGS * sd / READINGS.std(ddof=1)).tolist() for column, sd in columns.items()}
    first = {column: values[0] for column, values in readings.items()}
    return [
        {"trial_id": "x", "model": "resnet34", "relative": {}, "first": first}
        | {"again": {column: values[place] for column, values in readings.items()}}
        for place in (1, 2, 3)
    ]


def results_of(
    *records: dict[str, Any],
    floors: tuple[dict[str, float | None], ...] = (),
    deviations: dict[str, float] | None = None,
    images: int | None = None,
) -> Results:
    """What a folder of these records holds.

    Args:
        *records: Of trials.
        floors: For each a noise floor that says how large its differences were, and no more.
        deviations: By column, of a trial that was measured again.
        images: Of the test set; None leaves no hits.
    """
    collected = collect({"event": "trial", **record} for record in records)
    trials = collected.trial_frame()
    return Results(
        folder=Path("synthetic"),
        trials=trials,
        epochs=collected.epoch_frame(),
        profile=collected.profile_frame(),
        summary=summarise(trials),
        hits={record["trial_id"]: Hits(images, b"") for record in records} if images else {},
        noise_floors=(
            *({"model": "resnet34", "relative": relative} for relative in floors),
            *measured_again(deviations or {}),
        ),
    )


def seeds(column: str, *values: float | None, model: str = "resnet34", **changes: Any) -> list[dict[str, Any]]:
    """A record for each value, of seeds from 0."""
    return [make_record(make_trial(model, seed), **{column: value}, **changes) for seed, value in enumerate(values)]
