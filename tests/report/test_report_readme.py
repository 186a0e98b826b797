from __future__ import annotations

import re

import pytest
from records import FIVE_MODELS, make_record, make_trial, write_folder

from resbench.errors import InputError, NothingMeasuredError
from resbench.report import write_report
from resbench.store import Store

TWO_MODELS = dict(list(FIVE_MODELS.items())[:2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("results"), models=TWO_MODELS, seeds=2, epochs=2)
    store = Store(folder)
    failed = make_trial("evil|<b>`net`")
    late = make_trial("resnet34", 5)
    store.append("suite", {"notices": ["read me <first>"], "trials": [failed.to_dict(), late.to_dict()]})
    store.append("trial", make_record(failed, status="oom", phase="train", error="x\nOutOfMemoryError: a | b"))
    store.append("trial", make_record(make_trial("resnet34", budget="10min"), notes=["fell back to eager"]))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def test_every_link_of_the_page_exists(folder, page):
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert len(links) > 8
    assert all((folder / link).is_file() for link in links)


def test_budgets_have_tables_of_their_own(page, markdown_table):
    assert [row["model"] for row in markdown_table(page, "## Budget 26ep")] == [
        "d2l_resnet18",
        "resnet34",
        "evil\0&lt;b&gt;\\`net\\`",
    ]
    assert [row["status"] for row in markdown_table(page, "## Budget 10min")] == ["1/1 ok"]


@pytest.mark.usefixtures("no_drawing")
def test_the_page_says_what_may_be_compared(page, tmp_path):
    assert "Across the 2 tables, which differ in budget, nothing that was measured may be." in page
    write_report(write_folder(tmp_path, models=TWO_MODELS, epochs=2))
    alone = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "Rows of one table may be compared: they share data, input, stem, recipe, budget, batch size" in alone
    assert "where `resbench compare` says so" in alone
    assert "Across the" not in alone


def test_every_planned_trial_is_accounted_for(page, markdown_table):
    assert "5 of 7 planned trials ended ok" in page
    failures = markdown_table(page, "## Trials that did not end ok")
    assert [row["status"] for row in failures] == ["oom", "not_run"]
    assert failures[0]["error"] == "OutOfMemoryError: a \0 b"


def test_the_page_says_what_was_run(page, markdown_table):
    rows = {row["what"]: row["value"] for row in markdown_table(page, "## What was run")}
    assert rows["suite"] == "synthetic"
    assert rows["dataset"] == "shapes10 (sha256 0123456789ab…)"
    assert rows["recipe"] == "single fixed recipe baseline"
    assert rows["budget"] == "26ep, 10min"
    assert "torch 2.11.0+cu130" in rows["versions"]
    assert rows["commit"] == "4f5e6d7c8b9a"
    assert rows["date"] == "2030-01-02"


def test_the_page_says_what_a_known_recipe_decides(tmp_path, markdown_table):
    store = Store(tmp_path, create=True)
    store.append("trial", make_record(make_trial("resnet34", recipe="common", batch_size=128)))
    write_report(tmp_path)
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    decided = {row["recipe"]: row["common"] for row in markdown_table(page, "What the recipe decides:")}
    assert decided["optimizer"] == "SGD, Nesterov momentum 0.9"
    assert decided["peak learning rate"] == "0.1 at batch size 128"
    assert "tuned for none of them" in page


@pytest.mark.parametrize("asked", [True, False])
def test_the_page_answers_what_its_suite_asks(tmp_path, asked):
    store = Store(tmp_path, create=True)
    question = {"question": "Is <b> better than a?", "arm": "b", "against": "a"}
    suite = {"name": "mine", "compare": [question] if asked else [], "models": ["a", "b"]}
    store.append("suite", {"suite": suite, "trials": []})
    for model, values in {"a": (0.80, 0.81, 0.805), "b": (0.90, 0.905, 0.91)}.items():
        for seed, value in enumerate(values):
            store.append("trial", make_record(make_trial(model, seed), test_accuracy=value))
    write_report(tmp_path)
    page, html = ((tmp_path / name).read_text(encoding="utf-8") for name in ("README.md", "report.html"))
    assert ("## What was asked" in page) == asked
    told = "b lies 10.0 points above a"
    assert ("**Is &lt;b&gt; better than a?** Test accuracy" in page and told in page) == asked
    assert (told in html) == asked


def test_the_page_says_how_far_the_machine_was_from_itself(tmp_path, page):
    assert "Noise floor: not measured." in page
    store = Store(tmp_path, create=True)
    store.append("trial", make_record(make_trial("resnet34")))
    for speed in (0.02, 0.078):  # the larger counts
        relative = {"train_images_per_second": speed, "latency_ms_p50": 0.052}
        store.append("noise_floor", {"model": "resnet34", "relative": relative})
    write_report(tmp_path)
    words = "resnet34, measured again 2 times, differed at most from the first time by train images/s 7.8 % and"
    for name in ("README.md", "report.html"):
        assert f"Noise floor: {words} latency p50 5.2 %." in (tmp_path / name).read_text(encoding="utf-8")


def test_the_page_shows_notices_and_notes(page):
    assert "> **Note:** read me &lt;first&gt;" in page
    assert "- resnet34: fell back to eager" in page
    assert "<b>" not in page


@pytest.mark.usefixtures("no_drawing")
def test_the_page_says_only_what_is_true_of_the_device(page, tmp_path):
    assert "CUDA allocator" in page
    assert "on a CPU" not in page
    on_cpu = {"cuda": None, "device_name": "some CPU"}
    write_report(write_folder(tmp_path, models=TWO_MODELS, epochs=1, record_changes=on_cpu))
    page = (tmp_path / "README.md").read_text()
    assert "CUDA allocator" not in page
    assert "on a CPU" in page


def test_the_page_can_be_written_again(folder, page):
    write_report(folder)
    assert (folder / "README.md").read_text(encoding="utf-8") == page
    assert not [path for path in folder.rglob(".*") if path.is_file()]


def test_where_nothing_ended_ok_the_page_still_says_how(tmp_path, markdown_table):
    store = Store(tmp_path, create=True)
    nothing = dict.fromkeys(["test_accuracy", "device_name", "compiled", "wall_s", "data_s", "step_s"])
    store.append("trial", make_record(make_trial(), status="crashed", error="boom", **nothing))
    with pytest.raises(NothingMeasuredError, match=r"README\.md") as caught:
        write_report(tmp_path)
    assert caught.value.exit_code == 4
    page = (tmp_path / "README.md").read_text()
    assert markdown_table(page, "## Trials that did not end ok")[0]["error"] == "boom"


def test_folders_without_records_are_refused(tmp_path):
    with pytest.raises(InputError, match="not a results folder"):
        write_report(tmp_path)
    Store(tmp_path, create=True)
    with pytest.raises(NothingMeasuredError):
        write_report(tmp_path)


@pytest.mark.usefixtures("no_drawing")
def test_what_a_person_wrote_about_the_results_survives_a_rebuild(tmp_path):
    folder = write_folder(tmp_path, models=TWO_MODELS, seeds=1, epochs=1)
    (folder / "NOTES.md").write_text("These are **not** final.\n")
    for _ in range(2):
        write_report(folder)
    assert (folder / "README.md").read_text().count("These are **not** final.") == 1
    assert (folder / "NOTES.md").read_text() == "These are **not** final.\n"
