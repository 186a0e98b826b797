"""A page is one file: what it holds is escaped, what it may do is written into it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import unescape
from pathlib import Path

import pytest

from resbench.report.html import render as rendering
from resbench.report.html.document import Chart, Charts, Document, Figures, Markdown, Section, View, Words
from resbench.report.html.render import SCRIPTS, STYLE, asset, chart_text, render
from resbench.report.tables import Cell, Table

VENDOR = Path(rendering.__file__).parent / "vendor"
NASTY = "</script><img src=x onerror=alert(1)> & \"quoted\" 'single' \x1b[31m \u202e"


def page_of(*blocks: Words | Figures | Charts | Markdown, title: str = "A page") -> str:
    """A page of one section."""
    return render(Document(title, "subtitle", [Section("only", "The section", blocks)], "footer"))


def without_scripts(page: str) -> str:
    """The page less what resbench itself writes into it as scripts and style: exactly these, and no more."""
    for name in (*SCRIPTS, STYLE):
        assert page.count(asset(name)) == 1
        page = page.replace(asset(name), "")
    return page


def test_vendored_files_are_those_that_the_list_names() -> None:
    listed = dict(
        re.findall(r"^\| `([\w.-]+\.js)` \|.*\| `([0-9a-f]{64})` \|$", asset("vendor/README.md"), re.MULTILINE)
    )
    assert set(listed) == {path.name for path in VENDOR.glob("*.js")}
    assert listed == {name: hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() for name in listed}
    assert not any("<!--" in asset(name) for name in SCRIPTS)  # it would change where a script ends
    assert all((VENDOR / name).is_file() for name in ("plotly-LICENSE.txt", "dataTables-LICENSE.txt"))


def test_the_policy_names_each_script_by_its_sum_and_allows_nothing_else() -> None:
    page = page_of(Words(["Hello."]))
    policy = unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page).group(1))
    run = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert len(run) == len(SCRIPTS)
    sums = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in run}
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert set(directives["script-src"].split()) == sums
    assert directives["default-src"] == "'none'"
    assert "connect-src" not in directives


def test_a_page_refers_to_nothing_that_would_have_to_be_loaded() -> None:
    page = without_scripts(page_of(Words(["Hello."])))
    assert re.findall(r"""(?:src|href)=["']?([^"'> ]+)""", page) == ["data:,", "#content", "#only"]


@pytest.mark.parametrize("place", ["title", "words", "cell", "header", "note", "caption", "view", "markdown"])
def test_text_from_records_stays_text(place: str) -> None:
    put = {each: NASTY if each == place else "plain" for each in
           ("title", "words", "cell", "header", "note", "caption", "view", "markdown")}  # fmt: skip
    table = Table("", ["model", put["header"]], [[Cell("m"), Cell(put["cell"])]], [put["note"]])
    chart = Chart("chart", "Chart", [View(put["view"], [], {}), View("other", [], {})], put["caption"])
    blocks = (Words([put["words"]]), Figures("t", "caption", table), Charts([chart]), Markdown(put["markdown"]))
    page = page_of(*blocks, title=put["title"])
    outside = without_scripts(page)
    assert outside.count("<script") == outside.count("</script>") == len(SCRIPTS) + 1
    assert "<img" not in outside
    assert "\x1b" not in outside
    assert "&lt;img src=x onerror=alert(1)&gt;" in outside


def test_chart_data_cannot_end_their_script_and_names_are_no_tags() -> None:
    trace = {"name": chart_text(NASTY), "x": [1], "y": [2]}
    page = page_of(Charts([Chart("chart", "Chart", [View("all", [trace], {})])]))
    data = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, flags=re.DOTALL).group(1)
    name = json.loads(data)["chart"]["views"][0]["traces"][0]["name"]
    assert "<" not in name
    assert unescape(name) == NASTY.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")


def test_numbers_of_charts_have_as_many_digits_as_a_screen_can_show() -> None:
    trace = {"x": [1 / 3, 2e12 / 3, 7], "y": [None, 0.0], "hovertext": ["0.3333333333333333"]}
    page = page_of(Charts([Chart("chart", "Chart", [View("all", [trace], {"range": [0.1 + 0.2]})])]))
    data = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, flags=re.DOTALL).group(1)
    view = json.loads(data)["chart"]["views"][0]
    assert view["traces"] == [{"x": [0.3333333, 666666700000.0, 7], "y": [None, 0.0], "hovertext": trace["hovertext"]}]
    assert view["layout"] == {"range": [0.3]}


def test_words_between_backticks_are_code_and_a_persons_own_words_are_markdown() -> None:
    page = page_of(
        Words(["Run `resbench report <dir>` again."]), Markdown("# Heading\n\n**bold** <b>not</b>\n\n|a|\n|-|\n|1|")
    )
    assert "Run <code>resbench report &lt;dir&gt;</code> again." in page
    assert "<h1>Heading</h1>" in page
    assert "<strong>bold</strong> &lt;b&gt;not&lt;/b&gt;" in page
    assert "<td>1</td>" in page


def test_cells_say_what_they_sort_by_what_is_best_and_what_did_not_end_well() -> None:
    rows = [
        [Cell("a"), Cell("1 min 05 s", best=True, order=65.0), Cell("3/3 ok")],
        [Cell("b"), Cell("-"), Cell("2/3 ok")],
    ]
    page = page_of(
        Figures("t", "caption", Table("", ["model", "train time", "status"], rows), {"train time": "Data + step."})
    )
    assert '<td class="best" data-order="65">1 min 05 s</td>' in page
    assert "<td>3/3 ok</td>" in page
    assert '<td class="partly">2/3 ok</td>' in page
    assert 'title="Data + step.">train time</th>' in page


def test_the_same_document_is_the_same_page() -> None:
    assert page_of(Words(["Hello."])) == page_of(Words(["Hello."]))
