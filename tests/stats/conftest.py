from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

# ``records`` lies one folder up, which pytest puts on the path only when it collects from there.
sys.path.insert(0, str(Path(__file__).parents[1]))

from records import make_record, make_trial

from resbench.frames import collect


@pytest.fixture
def trials_of() -> Callable[..., pd.DataFrame]:
    """Makes the columns of ``trials.csv`` of records."""

    def trials_of(*records: dict[str, Any]) -> pd.DataFrame:
        return collect({"event": "trial", **record} for record in records).trial_frame()

    return trials_of


@pytest.fixture
def accuracies() -> Callable[..., list[dict[str, Any]]]:
    """Makes the records of a model, one a seed from 0; a seed without an accuracy did not end ok."""

    def accuracies(model: str, *values: float | None, **changes: Any) -> list[dict[str, Any]]:
        return [
            make_record(
                make_trial(model, seed), test_accuracy=value, status="oom" if value is None else "ok", **changes
            )
            for seed, value in enumerate(values)
        ]

    return accuracies
