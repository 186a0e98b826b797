"""`resbench report`: of one folder, of several, and as text to paste."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from profile_records import profile_record, write_profiles
from records import make_record, make_trial, write_folder
from typer.testing import Result

from resbench.store import Store

Invoke = Callable[..., Result]
TWO_MODELS = {"cnn": (1_000_000, 2_000_000, 0.5, 100.0, 1.0), "resnet34": (3_000_000, 4_000_000, 0.6, 50.0, 2.0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "here", models=TWO_MODELS, seeds=2, epochs=1)


def files_of(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def assert_refused(result: Result, said: str) -> None:
    assert result.exit_code == 2, result.output
    assert (result.stdout, len(result.stderr.strip().splitlines())) == ("", 1)
    assert said in result.stderr


@pytest.mark.parametrize(
    ("form", "first"),
    [("markdown", "| model"), ("latex", r"% needs \usepackage{booktabs}"), ("csv", "model,params (M),")],
)
def test_a_format_prints_the_tables_and_nothing_else_and_writes_nothing(
    invoke: Invoke, folder: Path, form: str, first: str
) -> None:
    before = files_of(folder)
    result = invoke("report", folder, "--format", form)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(first)
    assert "written" not in result.stdout
    assert files_of(folder) == before


def test_columns_can_be_chosen(invoke: Invoke, folder: Path) -> None:
    text = invoke("report", folder, "--format", "csv", "--columns", "macs,status").stdout
    assert next(csv.reader(io.StringIO(text))) == ["model", "MACs (M)", "ok", "planned"]
    assert_refused(invoke("report", folder, "--format", "csv", "--columns", "mcas"), "Did you mean macs")
    assert_refused(invoke("report", folder, "--columns", "macs"), "give a --format")


def test_several_folders_are_printed_without_out(invoke: Invoke, folder: Path, tmp_path: Path) -> None:
    other = write_folder(
        tmp_path / "there", models=TWO_MODELS, seeds=2, epochs=1, record_changes={"device_name": "another GPU"}
    )
    before = files_of(tmp_path)
    result = invoke("report", folder, other)
    assert result.exit_code == 0, result.output
    for words in ("there minus here (points)", "there / here", "device_name: NVIDIA H200 -> another GPU"):
        assert words in result.stdout
    assert files_of(tmp_path) == before
    named = invoke("report", folder, other, "--names", "before, after", "--format", "csv", "--columns", "latency")
    assert [row[0] for row in csv.reader(io.StringIO(named.stdout))] == ["folder", *["before"] * 2, *["after"] * 2]


def test_several_folders_get_a_page_with_out(invoke: Invoke, folder: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "there", models=TWO_MODELS, seeds=2, epochs=1)
    result = invoke("report", folder, other, "--out", tmp_path / "page")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip().endswith(f"7 files written in {tmp_path / 'page'}")
    assert (tmp_path / "page" / "side_by_side.csv").is_file()
    both = invoke("report", folder, other, "--out", tmp_path / "page", "--format", "csv")
    assert both.stdout == (tmp_path / "page" / "side_by_side.csv").read_text()
    assert "7 files written" in both.stderr


def test_what_report_cannot_do_is_said_in_one_line(invoke: Invoke, folder: Path, tmp_path: Path) -> None:
    collection = tmp_path / "all"
    write_folder(collection / "suite", models=TWO_MODELS, epochs=1)
    (collection / "collection.json").write_text("{}")
    assert_refused(invoke("report", folder, folder), "given twice")
    assert_refused(invoke("report", folder, "/nowhere"), "no records.jsonl in '/nowhere'")
    assert_refused(invoke("report", folder, collection), "is a collection")
    assert_refused(invoke("report", collection, "--format", "csv"), "is a collection")
    assert_refused(invoke("report", folder, "--out", tmp_path / "page"), "several")
    assert_refused(invoke("report", folder, "--format", "latx"), "Did you mean latex")
    assert_refused(invoke("report", folder, collection / "suite", "--names", "a"), "1 name given for 2")
    assert_refused(invoke("report", folder, collection / "suite", "--out", folder), "another --out")


def test_nothing_measured_has_exit_code_4_in_every_form(invoke: Invoke, tmp_path: Path) -> None:
    folders = []
    for name in ("a", "b"):
        Store(tmp_path / name, create=True).append("trial", make_record(make_trial(), status="oom", test_accuracy=None))
        folders.append(tmp_path / name)
    for arguments in ([folders[0]], [folders[0], "--format", "latex"], folders, [*folders, "--format", "csv"]):
        assert invoke("report", *arguments).exit_code == 4


def test_a_folder_of_profiles_is_reported(invoke: Invoke, tmp_path: Path) -> None:
    write_profiles(tmp_path, *(profile_record("resnet34", size, device_name="a GPU") for size in (1, 64)))
    result = invoke("report", tmp_path)
    assert result.exit_code == 0, result.output
    assert "a GPU, bf16, cifar stem, 3x32x32" in result.stdout
    assert "4 files written" in result.stdout
    assert (tmp_path / "plots" / "batch_size.svg").is_file()
