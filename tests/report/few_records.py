"""Results folders and groups of a few records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from records import make_record, make_trial

from resbench.report.groups import Group, comparable_groups
from resbench.store import Results, Store, load_results


def results_of(folder: Path, *records: dict[str, Any]) -> Results:
    """Writes the records of trials and reads them back."""
    store = Store(folder, create=True)
    for record in records:
        store.append("trial", record)
    return load_results(folder)


def group_of(folder: Path, *records: dict[str, Any]) -> Group:
    """The one group of the records."""
    (group,) = comparable_groups(results_of(folder, *records).trials)
    return group


def accuracies(model: str, *values: float | None, **changes: Any) -> list[dict[str, Any]]:
    """The records of a model, one a seed from 0; a seed without an accuracy ran out of memory."""
    return [
        make_record(
            make_trial(model, seed),
            **{"test_accuracy": value, "status": "oom" if value is None else "ok", **changes},
        )
        for seed, value in enumerate(values)
    ]
