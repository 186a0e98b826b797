from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from resbench.report.profiles import profile_table
from resbench.schema import ProfileRecord, columns


def frame(**changes: Any) -> pd.DataFrame:
    figures = dict.fromkeys(columns(ProfileRecord), 12_345.0)
    words = {"device_name": "a processor", "precision": "fp32", "stem": "source", "input": "3x32x32", "batch_size": 64}
    return pd.DataFrame(
        [{**figures, **words, "model": "resnet152_frozen", "params": 58_164_298, "macs": 234_950_656, **changes}]
    )


def shown(table_frame: pd.DataFrame, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(profile_table(table_frame, width=width))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 140, 1000])
def test_no_number_is_cut_at_any_width(width: int) -> None:
    text = shown(frame(), width)
    assert "…" not in text
    assert "resnet152_frozen" in text
    assert ("left out" in text) == (width < 140)


def test_what_was_not_measured_is_an_empty_cell_and_markup_in_a_name_is_text() -> None:
    text = shown(frame(model="[red]x[/red]", forward_ms=None), 1000)
    assert "[red]x[/red]" in text
    assert "nan" not in text.lower()
