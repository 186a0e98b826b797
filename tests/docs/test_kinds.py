"""What blocks show: parts of pages as the pages have them, and what there is."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from documents import ROOT

from benchmarks.docs.blocks import Block, DocumentError
from benchmarks.docs.columns import FILES, escape_words
from benchmarks.docs.excerpts import harness, headline, plot, table
from benchmarks.docs.kinds import KINDS, make_block
from benchmarks.docs.listings import commands, networks

PAGE = """# Results: one

2 of 2 planned trials ended ok.

## Budget 3ep

> **Note:** something.

No model can be named the most accurate.

| model | params |
|:------|-------:|
| cnn   |   0.13 |

Every row is one run.

| another | table |
|---------|-------|

## Budget 9ep

Nothing ran.
"""

HARNESS = """# What the harness costs

| benchmark | measured | median | target | met | figures |
|:--|:--|--:|:--|:--|:--|
| step | resnet50, batch 8 | 0.9 | >= 1 | **no** | a of b |
| step | cnn, batch 8 | 1.1 | >= 1 | yes | |
| floor | cnn | 0.2 | | | informs only |

| benchmark | measured | median | target | met | figures |
|:--|:--|--:|:--|:--|:--|
| step | resnet50, batch 8; 3 processes | 1.2 | >= 1 | yes | again |
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one results folder and one of the harness."""
    for name, page in (("one", PAGE), ("harness", HARNESS)):
        (tmp_path / "results" / name / "plots").mkdir(parents=True)
        (tmp_path / "results" / name / "README.md").write_text(page)
    (tmp_path / "results/one/plots/throughput.png").touch()
    (tmp_path / "Makefile").write_text("bench: x ## Run a suite\nhidden: y\n")
    return tmp_path


def test_a_table_is_the_first_below_its_heading(root: Path) -> None:
    shown = "| model | params |\n|:------|-------:|\n| cnn   |   0.13 |"
    assert table(root, "results/one", "Budget 3ep") == shown
    assert table(root, "results/one") == shown


def test_a_headline_is_what_stands_above_the_table(root: Path) -> None:
    assert headline(root, "results/one", "Budget 3ep") == "No model can be named the most accurate."


def test_a_plot_is_a_picture_that_links_to_the_page(root: Path) -> None:
    shown = "[![Speed](results/one/plots/throughput.png)](results/one/README.md)"
    assert plot(root, "results/one", "throughput", "Speed") == shown


def test_of_the_harness_the_rows_with_a_target_are_shown_as_measured_last(root: Path) -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in harness(root, "results/harness").splitlines()
    ]
    assert [rows[0], *rows[2:]] == [
        ["benchmark", "measured", "median", "target", "met"],
        ["step", "resnet50, batch 8; 3 processes", "1.2", ">= 1", "yes"],
        ["step", "cnn, batch 8", "1.1", ">= 1", "yes"],
    ]


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        ("tabel", (), "unknown block 'tabel'. Known: table, headline, plot, harness"),
        ("table", (), "table takes FOLDER HEADING, and nothing was given"),
        ("networks", ("all",), "networks takes no words, and all was given"),
        ("table", ("results/two",), "cannot read results/two/README.md"),
        ("table", ("results/one", "Budget 4ep"), "no heading 'Budget 4ep' (it has: 'Budget 3ep', 'Budget 9ep')"),
        ("table", ("results/one", "Budget 9ep"), "no table below 'Budget 9ep'"),
        ("plot", ("results/one", "speed", "Speed"), "no results/one/plots/speed.png (plots there: throughput)"),
        ("harness", ("results/one",), "no row with a target"),
        ("columns", ("trails",), "unknown CSV file 'trails'. Did you mean trials?"),
    ],
)
def test_what_cannot_be_shown_is_named_with_its_line(
    root: Path, kind: str, arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(DocumentError) as error:
        make_block(root, "README.md", Block(kind, arguments, line=7, end=8, text=""))
    assert str(error.value).startswith("README.md, line 7: ")
    assert said in str(error.value)


def test_networks_are_listed_with_published_counts() -> None:
    rows = {line.split("`")[1]: line for line in networks(ROOT).splitlines() if line.startswith("| `")}
    assert "| 11,184,650 |" in " ".join(rows["d2l_resnet18"].split())  # of Dive into Deep Learning, for 10 classes
    assert len(rows) == 9
    assert rows["cnn"].count("14.4 M") == 2  # it has no stem to choose


def test_commands_say_what_their_help_says(root: Path) -> None:
    lines = [" ".join(line.split()) for line in commands(root).splitlines()]
    assert "| `resbench list [PATTERN]` | List the networks of the registry |" in lines
    assert "| `make bench` | Run a suite |" in lines
    assert not any("hidden" in line for line in lines)


@pytest.mark.parametrize("file", FILES)
def test_every_column_of_a_file_is_explained(file: str) -> None:
    lines = KINDS["columns"](ROOT, file).splitlines()
    shown = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert shown == [field.name for field in fields(FILES[file])]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| `")]
    assert all(len(row) == 3 and row[1] and len(row[2]) > 3 for row in cells)


def test_words_of_a_docstring_are_safe_in_a_cell() -> None:
    assert escape_words("a | b,\n    ``logs/<id>.log`` or <none>") == "a \\| b, `logs/<id>.log` or &lt;none>"
