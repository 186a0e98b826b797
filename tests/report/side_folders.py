"""Results folders to put side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from records import make_record, make_trial

from resbench.report.side_by_side import read_side_by_side
from resbench.report.side_by_side.gather import SideBySide
from resbench.store import Store


def write(folder: Path, accuracies: dict[str, tuple[float | None, ...]], *, trial: dict[str, Any] | None = None,
          **changes: Any) -> Path:  # fmt: skip
    """A folder with one trial for each accuracy, of seeds from 0; one without an accuracy ran out of memory."""
    store = Store(folder, create=True)
    for model, values in accuracies.items():
        for seed, value in enumerate(values):
            ended = {"test_accuracy": value, "status": "oom" if value is None else "ok"}
            store.append("trial", make_record(make_trial(model, seed, **(trial or {})), **{**ended, **changes}))
    return folder


def side_by_side(*folders: Path, **options: Any) -> SideBySide:
    """Reads them."""
    return read_side_by_side(folders, **options)
