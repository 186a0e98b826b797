from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from resbench.report.profiles import SETTINGS, profile_page_table, profile_sets, profile_table
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


FIGURES = {
    "macs": 1e6, "macs_fvcore": 2e6, "activations": 3e6, "latency_ms_p50": 4.0, "latency_ms_p90": 40.0,
    "inference_ms_p50": 41.0, "inference_ms_p90": 42.0, "inference_images_per_second": 5.0, "forward_ms": 6.0,
    "backward_ms": 7.0, "train_images_per_second": 8.0, "inference_memory_mib": 9.0, "peak_memory_allocated_mib": 10.0,
    "peak_memory_reserved_mib": 43.0, "params": 11e6, "trainable_params": 44e6,
}  # fmt: skip


def test_every_figure_stands_below_its_own_heading() -> None:
    table = profile_table(frame(**FIGURES), width=1000)
    (page,) = profile_sets(frame(**FIGURES))
    in_terminal = {
        str(column.header).replace("\n", " "): float(str(next(column.cells))) for column in table.columns[2:]
    }
    made = profile_page_table(page)
    on_page = {header: float(cell.text) for header, cell in zip(made.headers[2:], made.rows[0][2:], strict=True)}
    shared = {"params": 11, "MACs": 1, "activations": 3}
    assert in_terminal == {f"{name} M": figure for name, figure in shared.items()} | {
        "fvcore M": 2, "latency ms": 4, "inference images/s": 5, "forward ms": 6, "backward ms": 7,
        "training images/s": 8, "inference MiB": 9, "training MiB": 10,
    }  # fmt: skip
    assert on_page == {f"{name} (M)": figure for name, figure in shared.items()} | {
        "latency p50 (ms)": 4, "inference images/s": 5, "forward (ms)": 6, "backward (ms)": 7, "train images/s": 8,
        "inference memory (MiB)": 9, "train memory (MiB)": 10,
    }  # fmt: skip


OTHER: dict[str, Any] = {
    "device_name": "another", "precision": "bf16", "stem": "cifar", "input": "3x64x64", "num_classes": 100,
    "memory_format": "contiguous", "compiled": 1.0, "compile_mode": "max-autotune", "cuda_graph": 1.0,
    "lowering": "auto",
}  # fmt: skip


@pytest.mark.parametrize("setting", OTHER)
def test_what_was_measured_otherwise_stands_in_a_table_of_its_own(setting: str) -> None:
    profile = pd.concat([frame(), frame(**{setting: OTHER[setting]})])
    assert [len(found.rows) for found in profile_sets(profile)] == [1, 1]
    assert {*SETTINGS} == OTHER.keys()
