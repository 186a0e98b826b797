"""The page of a results folder, as text."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

from few_records import accuracies, results_of
from records import TWENTY_MODELS, make_record, make_trial, write_folder

from resbench.report.experiments.questions import own_answers
from resbench.report.groups import comparable_groups
from resbench.report.html.document import Document, Figures, Words
from resbench.report.html.results_page import HTML_PAGE, MOST_CHARTED, results_document, write_html_page
from resbench.report.tables import comparison_table
from resbench.schema import ProfileRecord, columns
from resbench.store import Results, Store, load_results


def document_of(results: Results) -> Document:
    """What the page of a folder says."""
    return results_document(results, comparable_groups(results.trials), own_answers(results))


def words_of(document: Document, slug: str) -> str:
    """All sentences of a section."""
    (section,) = [section for section in document.sections if section.slug == slug]
    return " ".join(line for block in section.blocks if isinstance(block, Words) for line in block.lines)


def figures_of(document: Document, slug: str) -> Figures:
    """A table of a document, by its slug."""
    tables = [block for section in document.sections for block in section.blocks if isinstance(block, Figures)]
    (found,) = [table for table in tables if table.slug == slug]
    return found


def test_it_opens_with_the_headline_and_shows_the_table_of_the_readme(tmp_path: Path) -> None:
    results = load_results(write_folder(tmp_path, seeds=3))
    document = document_of(results)
    first = words_of(document, "summary")
    assert first.startswith("On shapes10 with the budget 26ep on NVIDIA H200, ")
    assert "15 of 15 planned trials ended ok." in first
    (group,) = comparable_groups(results.trials)
    assert figures_of(document, "group-1-table").table == comparison_table(group)
    assert figures_of(document, "group-1-table").interactive
    assert document.subtitle == "shapes10 · 26ep · NVIDIA H200 · bf16 · 2030-01-02"


def test_groups_are_sections_and_only_the_largest_have_charts(tmp_path: Path) -> None:
    rows = [make_record(make_trial("a", budget=f"{n}ep")) for n in range(1, MOST_CHARTED + 2)]
    rows.append(make_record(make_trial("b", budget=f"{MOST_CHARTED + 1}ep")))
    document = document_of(results_of(tmp_path, *rows))
    sections = [section for section in document.sections if section.slug.startswith("group-")]
    assert [section.title for section in sections] == [f"Budget {n}ep" for n in range(1, MOST_CHARTED + 2)]
    charted = {chart.slug.rsplit("-", 1)[0] for chart in document.charts}
    assert len(charted) == MOST_CHARTED
    assert "Across the 7 tables, which differ in budget, nothing" in words_of(document, "summary")
    assert sections[-1].slug in charted
    (without,) = {section.slug for section in sections} - charted
    assert "only the 6 tables" in words_of(document, without)


def test_failures_notices_notes_and_a_persons_words_are_there(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    store.append("suite", {"suite": {"name": "mine"}, "trials": [], "notices": ["shapes10 took the place of cifar10"]})
    store.append("trial", make_record(make_trial("a"), notes=["fell back to eager"]))
    store.append("trial", make_record(make_trial("b"), status="crashed", phase="train", error="first\nlast line"))
    (tmp_path / "NOTES.md").write_text("Made on a **train**.")
    page = write_html_page(load_results(tmp_path))
    assert page == tmp_path / HTML_PAGE
    text = unescape(page.read_text(encoding="utf-8"))
    assert '<p class="warning">shapes10 took the place of cifar10</p>' in text
    assert "Made on a <strong>train</strong>." in text
    assert re.search(r">crashed</td>\s*<td[^>]*>train</td>\s*<td[^>]*>last line</td>", text)
    assert "<li>a: fell back to eager</li>" in text


def test_a_folder_in_which_nothing_ended_ok_has_a_page_too(tmp_path: Path) -> None:
    results = results_of(tmp_path, make_record(make_trial("a"), status="oom", test_accuracy=None, error="no memory"))
    assert "no trial ended ok" in words_of(document_of(results), "summary")
    assert "no memory" in write_html_page(results).read_text(encoding="utf-8")


def test_it_says_what_each_number_is_and_what_it_holds_for(tmp_path: Path) -> None:
    document = document_of(load_results(write_folder(tmp_path, seeds=2, trial_changes={"recipe": "common"})))
    assert "Test accuracy is that of the last epoch" in words_of(document, "method")
    held = {row[0].text: row[1].text for row in figures_of(document, "what-was-run").table.rows}
    assert held["device"] == "NVIDIA H200"
    assert figures_of(document, "recipes").table.headers == ["recipe", "common"]
    headers = figures_of(document, "group-1-table").table.headers
    assert set(headers) <= set(figures_of(document, "group-1-table").help)


def profile_row(model: str, batch_size: int, **changes: Any) -> dict[str, Any]:
    """The data of a ``profile`` event as ``resbench profile`` leaves it."""
    known = dict.fromkeys(("latency_ms_p50", "train_images_per_second", "peak_memory_allocated_mib"), 1.5)
    counted = dict.fromkeys(("num_classes", "params", "trainable_params", "macs", "forward_flops"), 1000)
    said = dict.fromkeys(("source", "stem", "input", "device_name", "precision", "memory_format"), "x")
    modes = {"compiled": False, "cuda_graph": False, "train_flops_per_image": 3000}
    row = {**dict.fromkeys(columns(ProfileRecord)), **known, **counted, **said, **modes}
    return {**row, "model": model, "batch_size": batch_size, **changes}


def test_profiles_made_beside_the_trials_have_a_table_and_a_chart(tmp_path: Path) -> None:
    store = Store(write_folder(tmp_path, epochs=2))
    for size in (1, 64):
        store.append("profile", profile_row("resnet34", size))
    document = document_of(load_results(tmp_path))
    assert len(figures_of(document, "profile-1-table").table.rows) == 2
    assert document.charts[-1].slug == "profile-1-sizes"


def test_a_folder_of_profiles_alone_has_a_page(tmp_path: Path) -> None:
    store = Store(tmp_path / "sweep", create=True)
    for model in ("a", "b"):
        for size in (1, 64):
            store.append("profile", profile_row(model, size))
    text = write_html_page(load_results(tmp_path / "sweep")).read_text(encoding="utf-8")
    assert "<h1>Profile: sweep</h1>" in text
    assert "2 networks were measured." in text
    assert '"profile-1-sizes"' in text


def test_a_hundred_trials_stay_far_below_six_megabytes(tmp_path: Path) -> None:
    page = write_html_page(load_results(write_folder(tmp_path, models=TWENTY_MODELS, seeds=5)))
    assert page.stat().st_size < 3_000_000


def test_figures_of_the_charts_are_numbers_that_a_browser_can_read(tmp_path: Path) -> None:
    rows = [*accuracies("a", 0.8, 0.9, macs=None), *accuracies("b", 0.7, None)]
    page = write_html_page(results_of(tmp_path, *rows)).read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, flags=re.DOTALL).group(1)

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is no JSON")

    assert json.loads(data, parse_constant=refuse)


def test_it_is_the_same_page_each_time(tmp_path: Path) -> None:
    results = load_results(write_folder(tmp_path, seeds=2))
    first = write_html_page(results).read_bytes()
    assert write_html_page(load_results(tmp_path)).read_bytes() == first
