from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from benchmarks.harness.rows import Row
from benchmarks.harness.table import Machine, Rows, rich_table

MACHINE = Machine(
    "NVIDIA H200", "A Xeon x16", 16, "3.12.1", "2.11.0", "13.0", "0123456789abcdef", False, "2026-11-22T10:00"
)
OTHER = Machine("A Xeon x2", "A Xeon x2", 1, "3.11.7", "2.11.0", None, None, None, "2026-11-23T10:00")
ROW = Row("harness / bare step", "resnet50 | eager", "ratio", 0.98765, 0.9, 1.0, 5, ">= 0.98", "harness 1, bare 2")
SLOW = Row("start-up", "resbench list", "s", 0.7, 0.6, 0.9, 5, "< 0.6")
INFORMS = Row("bf16 / fp32", "cnn", "ratio", 2.0, 1.0, 3.0, 5)


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    rows = Rows(tmp_path / "new" / "harness")
    for row in (ROW, SLOW):
        rows.keep(row, MACHINE)
    rows.keep(INFORMS, OTHER)
    return rows


def test_every_field_is_in_the_file(rows):
    first = rows.read().iloc[0]
    assert {name: first[name] for name in ROW.to_dict()} == {**ROW.to_dict(), "met": True}
    assert {name: first[name] for name in vars(MACHINE)} == vars(MACHINE)


def test_a_second_measurement_takes_the_place_of_the_first_on_the_same_machine_only(rows):
    rows.keep(Row(*["start-up", "resbench list", "s", 0.5, 0.4, 0.6, 5, "< 0.6"]), MACHINE)
    rows.keep(SLOW, OTHER)
    frame = rows.read()
    startup = frame[frame.benchmark == "start-up"]
    assert list(zip(startup.device_name, startup["median"], strict=True)) == [("NVIDIA H200", 0.5), ("A Xeon x2", 0.7)]
    assert len(frame) == 4


def test_the_page_names_each_machine_and_shows_its_rows(rows):
    (rows.folder / "NOTES.md").write_text("Measured at night.\n")
    rows.write_page()
    page = (rows.folder / "README.md").read_text()
    assert "Measured at night." in page
    assert (
        "**NVIDIA H200**, host A Xeon x16, 16 threads, torch 2.11.0, CUDA 13.0, Python 3.12.1, commit 012345678" in page
    )
    assert "**A Xeon x2**, 1 thread, torch 2.11.0, Python 3.11.7, 2026-11-23" in page
    (line,) = [line for line in page.splitlines() if "bare step" in line]
    assert [cell.strip() for cell in line.strip("|").replace(r"\|", "/").split("|")] == [
        "harness / bare step",
        "resnet50 / eager",
        "0.988",
        "0.900 .. 1.00 (n=5)",
        "&gt;= 0.98",
        "yes",
        "harness 1, bare 2",
    ]
    (line,) = [line for line in page.splitlines() if "resbench list" in line]
    assert "0.700 s" in line
    assert "**no**" in line


def test_the_terminal_shows_the_same(rows):
    console = Console(width=200, record=True, file=None, color_system=None)
    with console.capture() as captured:
        console.print(rich_table(rows.read()))
    text = captured.get()
    assert "0.700 s" in text
    assert text.count("yes") == 1
    assert "**" not in text


def test_a_file_that_pandas_wrote_reads_back_alike(rows):
    before = rows.read()
    before.to_csv(rows.path, index=False)
    pd.testing.assert_frame_equal(rows.read(), before)
