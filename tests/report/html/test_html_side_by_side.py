"""The page of several folders side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from records import make_record, make_trial

from resbench.report.html.charts.by_folder import folders_chart
from resbench.report.html.document import Charts, Figures
from resbench.report.html.side_by_side_page import side_by_side_document, write_side_by_side_html
from resbench.report.side_by_side import read_side_by_side
from resbench.report.side_by_side.gather import SideBySide
from resbench.store import Store


def folder_of(path: Path, accuracies: dict[str, list[float]], **changes: Any) -> Path:
    """A results folder: test accuracies by model, one a seed."""
    store = Store(path, create=True)
    recipe = changes.pop("recipe", "baseline")
    for model, values in accuracies.items():
        for seed, value in enumerate(values):
            store.append("trial", make_record(make_trial(model, seed, recipe=recipe), test_accuracy=value, **changes))
    return path


@pytest.fixture
def found(tmp_path: Path) -> SideBySide:
    """Two machines, and another recipe."""
    return read_side_by_side(
        [
            folder_of(tmp_path / "one", {"a": [0.80, 0.82], "b": [0.90, 0.92]}),
            folder_of(tmp_path / "two", {"a": [0.81, 0.83]}, device_name="another", train_images_per_second=22_000.0),
            folder_of(tmp_path / "three", {"a": [0.5]}, recipe="d2l"),
        ]
    )


def test_a_folder_is_a_colour_and_a_model_a_row(found: SideBySide) -> None:
    chart = folders_chart(found, found.alike[0], "set")
    accuracy = chart.views[0]
    by_name = {trace["name"]: trace for trace in accuracy.traces}
    assert by_name["one"]["x"] == pytest.approx([81.0, 91.0])
    assert by_name["two"]["x"] == pytest.approx([82.0])
    assert by_name["one"]["across"] == pytest.approx([12.706, 12.706], rel=1e-4)  # t of 1 degree of freedom, error 1
    assert accuracy.layout["yaxis"]["ticktext"] == ["a", "b"]
    assert [round(y) for y in by_name["one"]["y"]] == [0, 1]
    assert by_name["one"]["y"][0] < by_name["two"]["y"][0]
    assert "three" not in by_name
    (throughput,) = [view for view in chart.views if view.name == "throughput"]
    assert [trace["x"] for trace in throughput.traces] == [[44_000.0, 44_000.0], [22_000.0]]


def test_the_page_holds_the_tables_and_marks_what_differs(found: SideBySide) -> None:
    document = side_by_side_document(found)
    figures = {
        block.slug: block for section in document.sections for block in section.blocks if isinstance(block, Figures)
    }
    assert {"folders", "set-1-0", "set-1-1", "not-compared"} <= set(figures)
    assert figures["folders"].marks == "differs"
    marked = {row[0].text for row in figures["folders"].table.rows if any(cell.best for cell in row)}
    assert {"recipe", "device"} <= marked
    assert len([block for section in document.sections for block in section.blocks if isinstance(block, Charts)]) == 1
    assert document.title == "Side by side"


def test_it_is_one_file_beside_the_others(found: SideBySide, tmp_path: Path) -> None:
    page = write_side_by_side_html(found, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert page.name == "report.html"
    assert '<a href="side_by_side.csv">' in text
    assert 'class="text differs"' in text
