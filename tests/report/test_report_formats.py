"""Tables as text to paste: what LaTeX and CSV hold, and that no name can break them."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess

import pytest
from few_records import accuracies, results_of
from hypothesis import given
from hypothesis import strategies as st
from records import make_record, make_trial, write_folder

from resbench.errors import InputError, NothingMeasuredError
from resbench.report.columns import HEADERS, parse_columns
from resbench.report.latex import escape_latex, latex
from resbench.report.printed import printed_report
from resbench.report.tables import Cell, Table, comparison_table, comparison_tables
from resbench.store import load_results

HOSTILE = [
    "a_b%c&d#e{f}g~h^i\\j",
    r"[x] \\ *y* <z>|$1$ --- `` '' ?`",
    "café Ñandú 中文 ‡† ± …",
    r"\end{tabular}\input{/etc/passwd}",
    "*star",
    "[2pt]",
]
# What LaTeX obeys: a command with its argument, a special character behind a backslash, or ~ and $.
COMMAND = re.compile(
    r"\\[A-Za-z]+\{\}|\\[`'^~=.\"urHvc]\{[A-Za-z]\}|\\[&%$#_{}]|\$\\?[A-Za-z^0-9-]+\$|\{[]*[-]?\}|~(?=\\%)"
)


def hostile_folder(path):
    records = [
        record for index, name in enumerate(HOSTILE) for record in accuracies(name, 0.5 + index / 20, 0.52 + index / 20)
    ]
    records[2] |= {"verdict": "suspect", "verdict_reasons": ["50 % & more_of #1 {"]}
    return results_of(path, *records)


def floats(text: str) -> list[str]:
    return re.findall(r"\\begin\{table\}.*?\\end\{table\}", text, flags=re.DOTALL)


def body(one: str) -> tuple[str, list[str]]:
    """The column specification of a float and its lines of cells, less the lines within a header."""
    flat = re.sub(r"\\begin\{tabular\}\[b\]\{[^}]*\}[lr]@\{\}\}(.*?)\\end\{tabular\}", "header", one)
    flat = re.sub(r"\\begin\{tabular\}\[b\]\{@\{\}[lr]@\{\}\}.*?\\end\{tabular\}", "header", flat)
    (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", flat)
    between = flat[flat.index(r"\toprule") : flat.index(r"\bottomrule")]
    return columns, [line for line in between.splitlines() if line.rstrip().endswith(r"\\")]


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=40))
def test_whatever_a_name_holds_latex_obeys_none_of_it(text: str) -> None:
    escaped = escape_latex(text)
    assert escaped.isascii()
    left = COMMAND.sub("", escaped)
    assert not set(left) & set('\\{}$&#%^_~[]<>|"*'), left


@pytest.mark.parametrize(
    ("given_text", "written"),
    [
        ("a_b & 5 %", r"a\_b \& 5~\%"),
        ("± 1.20 †", r"$\pm$ 1.20 \textdagger{}"),
        ("café Åse", r"caf\'{e} \r{A}se"),
        ("中", "U+4E2D"),
        ("a--b", "a-{}-b"),
        ("cifar -> d2l", r"cifar $\rightarrow$ d2l"),
        ("1,234.5", "1,234.5"),
        ("\x1b[31m\u202e", r"\textbackslash{}x1b{[}31m\textbackslash{}u202e"),
    ],
)
def test_a_text_reads_in_latex_as_it_did(given_text: str, written: str) -> None:
    assert escape_latex(given_text) == written


def test_every_line_of_a_float_has_its_columns_and_every_environment_ends(tmp_path) -> None:
    text = printed_report(hostile_folder(tmp_path), "latex")
    (one,) = floats(text)
    columns, lines = body(one)
    assert len(lines) == 1 + len(HOSTILE)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(columns) - 1}
    opened = re.findall(r"\\begin\{(\w+)\}", one)
    assert sorted(opened) == sorted(re.findall(r"\\end\{(\w+)\}", one))
    assert text.startswith(r"% needs \usepackage{booktabs} and \usepackage{graphicx}")
    assert r"\input{" not in text


def test_a_float_says_what_the_page_says(tmp_path) -> None:
    results = load_results(write_folder(tmp_path, seeds=3, epochs=1))
    (one,) = floats(printed_report(results, "latex", "accuracy,params"))
    assert r"\resizebox" not in one  # three columns fit
    assert r"\caption{On shapes10 with the budget 26ep on NVIDIA H200, " in one
    assert r"\label{tab:resbench-synthetic}" in one
    assert r"\textbf{87.01 $\pm$ 0.10 (n=3)}" in one
    assert r"\footnotesize" in one
    assert "Mean $\\pm$ standard deviation over n seeds." in one
    _, (header, *rows) = body(one)
    assert len(re.findall("&", header)) == 2
    assert r"d2l\_resnet18 & " in rows[0]


def test_a_negative_number_has_a_minus_and_a_name_its_hyphen() -> None:
    text = latex(Table("", ["a", "b"], [[Cell("se-net"), Cell("-0.52 ± 1.00", best=True)]]), "c", "l")
    assert r"se-net & \textbf{$-$0.52 $\pm$ 1.00} \\" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_the_float_compiles(tmp_path) -> None:
    text = printed_report(hostile_folder(tmp_path / "results"), "latex")
    source = r"\documentclass{article}\usepackage{booktabs}\usepackage{graphicx}\begin{document}" + text
    (tmp_path / "paper.tex").write_text(source + r"\end{document}", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]


def test_several_tables_have_a_title_a_caption_and_a_label_each(tmp_path) -> None:
    results = results_of(tmp_path, make_record(make_trial()), make_record(make_trial(budget="1ep")))
    labels = re.findall(r"\\label\{([^}]*)\}", printed_report(results, "latex"))
    assert labels == ["tab:resbench-budget-26ep", "tab:resbench-budget-1ep"]
    page = printed_report(results, "markdown")
    assert page.count("\n|:") == 2
    assert page.startswith("**budget 26ep**\n")


def test_csv_has_plain_numbers_in_the_units_of_its_header(tmp_path) -> None:
    spread = accuracies("net,1", 0.94, 0.96, data_s=10.0, step_s=90.0)
    results = results_of(tmp_path, *spread, make_record(make_trial("b", budget="1ep"), params=None))
    first, second = csv.DictReader(io.StringIO(printed_report(results, "csv")))
    assert (first["table"], second["table"]) == ("budget 26ep", "budget 1ep")
    assert first["model"] == "net,1"
    assert float(first["test accuracy (%)"]) == pytest.approx(95)
    assert float(first["standard deviation (points)"]) == pytest.approx(2**0.5)
    assert float(first["95 % interval, half width (points)"]) == pytest.approx(12.706, abs=1e-3)  # t of one degree
    assert (first["seeds"], first["ok"], first["planned"]) == ("2", "2", "2")
    assert float(first["train images/s"]) == 44_000
    assert float(first["train time (s)"]) == 100
    assert float(first["params (M)"]) == 21.289802
    assert second["params (M)"] == second["standard deviation (points)"] == ""


def test_columns_are_chosen_by_name_or_header_in_the_order_given() -> None:
    assert parse_columns("macs, test accuracy (%),LATENCY p50,train time") == ["macs", "accuracy", "latency", "time"]
    for wrong, said in (("acuracy", "Did you mean accuracy"), ("macs,MACs (M)", "twice"), (" , ", "no column")):
        with pytest.raises(InputError, match=said):
            parse_columns(wrong)


def test_a_table_of_chosen_columns_keeps_the_notes_of_what_it_shows(tmp_path) -> None:
    group_records = [*accuracies("a", 0.90, 0.91), *accuracies("b", 0.5, None)]
    group_records[0] |= {"verdict": "suspect", "verdict_reasons": ["too hot"]}
    results = results_of(tmp_path, *group_records)
    (whole,) = comparison_tables(results)
    (costs,) = comparison_tables(results, ["latency", "params"])
    assert whole.headers[1:] == list(HEADERS.values())
    assert costs.headers == ["model", "latency p50 (ms)", "params (M)"]
    assert "Mean ± standard deviation over n seeds." in costs.notes
    assert not any("Tier" in note or "Interval" in note for note in costs.notes)
    assert "Trials that did not end ok enter no mean." in costs.notes
    assert costs.rows[0][0].text == "a †"  # without a status the mark stands at the name
    assert "† a is suspect. seed 0: too hot." in costs.notes


def test_an_interval_that_is_asked_for_and_that_nobody_has_is_an_empty_column(tmp_path) -> None:
    (group,) = comparison_tables(results_of(tmp_path, make_record(make_trial())), ["interval", "tier"])
    assert [cell.text for cell in group.rows[0]] == ["resnet34", "-", "-"]


def test_what_cannot_be_printed_is_refused(tmp_path) -> None:
    failed = results_of(tmp_path / "failed", make_record(make_trial(), status="oom", test_accuracy=None))
    with pytest.raises(NothingMeasuredError):
        printed_report(failed, "markdown")
    with pytest.raises(InputError, match=r"unknown format 'latx'\. Did you mean latex"):
        printed_report(failed, "latx")


def test_the_default_columns_are_those_of_the_page(tmp_path) -> None:
    from resbench.report.groups import comparable_groups

    results = load_results(write_folder(tmp_path, seeds=2, epochs=1))
    (group,) = comparable_groups(results.trials)
    assert comparison_table(group) == comparison_table(group, columns=list(HEADERS))
