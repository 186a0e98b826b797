"""Collections of synthetic records: folders that look like those of ``resbench bench sources``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from records import make_epochs, make_record, make_trial

from resbench.report.experiments.reading import read_run
from resbench.report.experiments.runs import ExperimentRun
from resbench.report.experiments.stored import Experiment
from resbench.store import Store

SOURCE = {"title": "A tutorial", "said": ["It trains for 12 epochs."], "claims": []}
ASKED = {"question": "What does it add?", "arm": "se", "against": "plain"}


def experiment(*arms: str, **tables: Any) -> dict[str, Any]:
    """Returns the tables of a suite whose arms differ in the network, which has the arm's name and a prefix."""
    named = [{"name": name, "model": f"net_{name}"} for name in arms or ("se", "plain")]
    return {"description": "words", "source": SOURCE, "arms": named, "compare": [ASKED], **tables}


def claim(column: str, value: float, **more: Any) -> dict[str, Any]:
    """Returns a source with one claim about the arm ``se``."""
    return {**SOURCE, "claims": [{"arm": "se", "column": column, "value": value, **more}]}


def arm(model: str, *accuracies: float | None, done: int = 0, trial: Any = None, **changes: Any) -> list[Any]:
    """Returns the trials of an arm, one a seed, each as (trial, record, epochs); no accuracy means out of memory."""
    found = []
    for seed, accuracy in enumerate(accuracies):
        planned = make_trial(model, seed, **{"recipe": "common", **(trial or {})})
        rows = make_epochs(planned, accuracy=accuracy or 0.1, seconds=30.0, epochs=done)
        outcome = {"test_accuracy": accuracy, **({"epochs": float(done)} if done else {})}
        if accuracy is None:
            outcome |= {"status": "oom", "phase": "train", "error": "x\nOutOfMemoryError: a | b"}
        found.append((planned, make_record(planned, **{**outcome, **changes}), rows))
    return found


def write_suite(
    folder: Path,
    arms: dict[str, list[Any]],
    /,
    *,
    with_arms: bool = True,
    without_records: Iterable[str] = (),
    **event: Any,
) -> Path:
    """Writes the records of a suite into a folder; arms in ``without_records`` were planned and never ran."""
    store = Store(folder, create=True)
    trials = {each[0].trial_id: each[0] for found in arms.values() for each in found}
    data = {"suite": {"name": folder.name}, "trials": [trial.to_dict() for trial in trials.values()], **event}
    if with_arms:
        data["arms"] = [
            {"name": name, "trial_ids": [trial.trial_id for trial, _, _ in found]} for name, found in arms.items()
        ]
    store.append("suite", data)
    for name, found in arms.items():
        for _, record, rows in found if name not in without_records else ():
            for row in rows:
                store.append("epoch", row)
            store.append("trial", record)
    return folder


def write_collection(folder: Path, experiments: dict[str, dict[str, Any]], **keys: Any) -> Path:
    """Writes ``collection.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {"name": "sources", "description": "Six sources.", "suites": [*experiments], "experiments": experiments}
    (folder / "collection.json").write_text(json.dumps({**data, **keys}))
    return folder


def read(
    folder: Path, arms: dict[str, list[Any]], tables: dict[str, Any] | None = None, /, **event: Any
) -> ExperimentRun:
    """Writes a suite and reads it back as one experiment."""
    write_suite(folder, arms, **event)
    return read_run(folder.name, Experiment.model_validate(tables or experiment()), folder)
