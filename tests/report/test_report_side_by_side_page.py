"""The files of several folders side by side, and the same tables as text."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from side_folders import side_by_side, write

from resbench.errors import InputError
from resbench.report.groups import MOST_SHOWN
from resbench.report.printed import FORMATS, printed_report
from resbench.report.side_by_side import printed_side_by_side, write_side_by_side
from resbench.report.side_by_side.long import COLUMNS, long_csv
from resbench.report.side_by_side.plots import accuracy_figure, ratio_figure
from resbench.report.style import plot_settings

ACCURACIES = {"net_a": (0.90, 0.91, 0.92), "b|<i>": (0.80, 0.81, 0.83)}
OTHER_GPU = {"device_name": "another GPU", "train_images_per_second": 22_000.0}


@pytest.fixture
def pair(tmp_path: Path):
    first, second = write(tmp_path / "one", ACCURACIES), write(tmp_path / "two", ACCURACIES, **OTHER_GPU)
    return side_by_side(first, second)


def test_a_page_has_its_plots_its_csv_and_nothing_of_the_folders_is_touched(tmp_path: Path, pair, markdown_table):
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    out = tmp_path / "new" / "page"
    written = write_side_by_side(pair, out)
    assert {path.name for path in written} == {
        "README.md",
        "report.html",
        "side_by_side.csv",
        *(f"{kind}.{end}" for kind in ("accuracy_by_folder", "throughput_ratio") for end in ("png", "svg")),
    }
    assert all(path.is_file() for path in written)
    assert {path: path.read_bytes() for path in before} == before
    page = written[0].read_text()
    assert all((out / link).is_file() for link in re.findall(r"\]\(([^)]+)\)", page))
    assert "<i>" not in page
    assert str(tmp_path) not in page
    assert [row["model"] for row in markdown_table(page, "### Test accuracy")] == ["net_a", "b\0&lt;i&gt;"]
    assert markdown_table(page, "### Speed")[0]["two / one"] == "0.500 §"
    svg = (out / "plots" / "throughput_ratio.svg").read_text()
    assert "machines or settings differ" in svg


def test_a_page_written_again_is_the_same_and_loses_old_plots(tmp_path: Path, pair):
    write_side_by_side(pair, tmp_path / "out")
    (tmp_path / "out" / "plots" / "2-throughput_ratio.svg").write_text("of an earlier page")
    first = {path: path.read_bytes() for path in write_side_by_side(pair, tmp_path / "out")}
    assert {path: path.read_bytes() for path in write_side_by_side(pair, tmp_path / "out")} == first
    assert len(list((tmp_path / "out" / "plots").iterdir())) == 4


def test_no_results_folder_loses_its_page(tmp_path: Path, pair):
    with pytest.raises(InputError, match="page of its own"):
        write_side_by_side(pair, tmp_path / "one")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="another --out"):
        write_side_by_side(pair, tmp_path / "file")


def test_every_figure_is_a_row_with_what_stands_between_it_and_the_first_folder(tmp_path: Path):
    first = write(tmp_path / "one", {"net": (0.90, 0.91, 0.92), "gone": (0.5,)})
    second = write(tmp_path / "two", {"net": (0.95,), "new": (0.5,)}, **OTHER_GPU)
    third = write(tmp_path / "three", {"net": (0.7, None)}, trial={"recipe": "d2l"})
    rows = list(csv.DictReader(io.StringIO(long_csv(side_by_side(first, second, third)))))
    assert tuple(rows[0]) == COLUMNS
    found = {(row["folder"], row["model"], row["metric"]): row for row in rows}
    assert len(found) == len(rows) == 5 * 8
    accuracy = found["one", "net", "test_accuracy"]
    assert (accuracy["n"], float(accuracy["mean"]), float(accuracy["sd"])) == ("3", 0.91, pytest.approx(0.01))
    assert float(accuracy["ci95"]) == pytest.approx(4.302653 * 0.01 / 3**0.5, rel=1e-6)
    assert (accuracy["comparable"], accuracy["why_not"]) == ("first", "")
    assert found["two", "net", "test_accuracy"]["comparable"] == "yes"
    speed = found["two", "net", "train_images_per_second"]
    assert (speed["comparable"], speed["why_not"]) == ("no", "device_name: NVIDIA H200 -> another GPU")
    assert found["two", "new", "test_accuracy"]["why_not"] == "not in one"
    assert found["three", "net", "train_clock_s"]["why_not"] == "recipe: baseline -> d2l"
    assert found["three", "net", "test_accuracy"]["n"] == "1"


@pytest.mark.parametrize(
    ("form", "begins"), [("markdown", "**Test accuracy**"), ("latex", "% needs"), ("csv", "folder,")]
)
def test_the_tables_can_be_pasted(pair, form: str, begins: str):
    text = printed_side_by_side(pair, form)
    assert text.startswith(begins)
    assert text.endswith("\n")
    only = printed_side_by_side(pair, form, ["throughput"])
    assert "test_accuracy" not in only
    assert "Test accuracy" not in only
    assert "22,000" in only or ",22000," in only


def test_each_set_of_what_was_trained_alike_has_plots_of_its_own(tmp_path: Path):
    folders = [write(tmp_path / name, ACCURACIES) for name in ("one", "two")]
    for folder in folders:
        write(folder, ACCURACIES, trial={"budget": "1ep"})
    found = side_by_side(*folders)
    names = {path.name for path in write_side_by_side(found, tmp_path / "out") if path.suffix == ".svg"}
    assert names == {f"{number}-{kind}.svg" for number in (1, 2) for kind in ("accuracy_by_folder", "throughput_ratio")}
    page = (tmp_path / "out" / "README.md").read_text()
    assert "## Budget 26ep" in page
    assert "## Budget 1ep" in page


def test_dots_stand_at_the_means_and_folders_apart(pair):
    with plot_settings():
        axes = accuracy_figure(pair, pair.alike[0], "").axes[0]
        ratios = ratio_figure(pair, pair.alike[0], "")
    dots = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines if line.get_marker() in "os"
    ]
    assert [x for x, _ in dots] == pytest.approx([91.0, 81.3333333, 91.0, 81.3333333])
    assert len({y for _, y in dots}) == 4
    assert [panel.get_title(loc="left") for panel in ratios.axes] == ["Training throughput", "Inference throughput"]
    assert [text.get_text() for text in ratios.axes[0].texts] == ["0.500", "0.500"]


def test_of_many_models_a_plot_shows_the_most_accurate_and_says_so(tmp_path: Path):
    many = {f"net{index:02}": (0.5 + index / 100,) for index in range(MOST_SHOWN + 6)}
    found = side_by_side(write(tmp_path / "one", many), write(tmp_path / "two", many))
    with plot_settings():
        for figure in (accuracy_figure(found, found.alike[0], ""), ratio_figure(found, found.alike[0], "")):
            names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
            assert names == list(many)[6:]
            title = figure.get_suptitle() or figure.axes[0].get_title(loc="left")
            assert f"the {MOST_SHOWN} most accurate of {MOST_SHOWN + 6} models" in title


def test_a_strangers_name_commands_no_terminal_in_any_form(tmp_path: Path):
    folders = [write(tmp_path / name, {"a\x1b[31m\u202eb": (0.5,)}) for name in ("one", "two")]
    found = side_by_side(*folders)
    for form in FORMATS:
        for text in (printed_side_by_side(found, form), printed_report(found.folders[0].results, form)):
            assert not {"\x1b", "\u202e"} & {*text}
            assert "x1b" in text
