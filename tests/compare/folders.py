"""Results folders for comparisons, from records alone and without a disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from records import make_record, make_trial

from resbench.frames import collect
from resbench.stats import summarise
from resbench.store import Results


def results_of(*records: dict[str, Any], floors: tuple[dict[str, float | None], ...] = ()) -> Results:
    """What a folder of these records holds, with a noise floor for each of ``floors``."""
    collected = collect({"event": "trial", **record} for record in records)
    trials = collected.trial_frame()
    return Results(
        folder=Path("synthetic"),
        trials=trials,
        epochs=collected.epoch_frame(),
        profile=collected.profile_frame(),
        summary=summarise(trials),
        noise_floors=tuple({"model": "resnet34", "relative": relative} for relative in floors),
    )


def seeds(column: str, *values: float | None, model: str = "resnet34", **changes: Any) -> list[dict[str, Any]]:
    """A record for each value, of seeds from 0."""
    return [make_record(make_trial(model, seed), **{column: value}, **changes) for seed, value in enumerate(values)]
