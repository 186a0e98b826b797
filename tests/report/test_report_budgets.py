"""The page of a collection of settings, made from synthetic records."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from setting_folders import asks, write_setting
from source_folders import experiment, write_collection

from resbench.report import write_collection_page, write_report

EVIL = "a|b <i> \x1b[31m `c`\n# d"
HIGH, LOW = (0.840, 0.846, 0.850, 0.844), (0.801, 0.806, 0.812, 0.803)
MISSING = "the dataset cifar10 is neither on disk nor downloadable"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four settings: four seeds, one seed and another stem, one in which trials failed, and one that was not run."""
    folder = tmp_path_factory.mktemp("headline")
    names = ("images", "stem", "time", "later")
    write_collection(
        folder,
        dict.fromkeys(names, asks(("plain", "deep"), ("deep", "lost"))),
        name="headline",
        description="Networks under several budgets.",
        missing={"later": MISSING},
    )
    figures = {"data_s": 1.0, "step_s": 29.0, "train_flops_spent": 16.9e15}
    write_setting(folder / "images", {"plain": HIGH, "deep": LOW, "lost": (0.10,) * 4}, **figures)
    write_setting(folder / "stem", {"plain": (0.70,), "deep": (0.75,), "lost": (0.60,)}, stem="source", epochs=0.25)
    write_setting(
        folder / "time", {"plain": LOW, "deep": HIGH, "lost": (0.3, None, 0.3, 0.3)}, budget="2min", epochs=60.5
    )
    (folder / "NOTES.md").write_text("My **own** words.\n")
    for name in names[:3]:
        write_report(folder / name, most_plotted=0)
    write_collection_page(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """The part of a page below a heading of the second level."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1]


def test_the_page_begins_with_how_much_was_run_and_its_sections_stand_in_order(page):
    assert page.startswith("# Results: headline\n\nNetworks under several budgets.\n\n26 of 27 planned trials ended ok")
    assert "of 4 settings. Of 1 there are no results, and nothing is claimed of them." in page
    assert page.index("My **own** words.") < page.index("## In short")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == [
        "In short",
        "What each network reached",
        "What each network got for its budget",
        "Does the order change?",
        "Questions",
        "How this page is made",
    ]


def test_each_setting_says_who_is_the_most_accurate_and_who_guesses(page):
    short = section(page, "In short")
    images, stem, time, later = [line for line in short.splitlines() if line.startswith("- ")]
    assert images.startswith("- images: On shapes10 with the budget 26ep on NVIDIA H200, plain is the most accurate:")
    assert images.endswith("Near chance (guessing among 10: 10.00 %), and so without an order: lost (10.00 %).")
    assert "deep reaches a test accuracy of 75.00 % (one seed)" in stem
    assert "not a ranking" in stem
    assert "with the budget 2min" in time
    assert later == f"- later: not run: {MISSING}."
    assert "The highest mean is that of plain in images and that of deep in stem and time." in short
    assert "The order changes with the setting: plain is above deep in images and below it in time, both gaps" in short


def test_accuracies_stand_network_by_setting_with_budgets_in_the_headings(page, markdown_table):
    rows = {row["network"]: row for row in markdown_table(page, "## What each network reached")}
    headings = ["images (26ep, cifar stem)", "stem (26ep, source stem)", "time (2min, cifar stem)"]
    assert list(rows["plain"]) == ["network", *headings]
    assert list(rows["plain"].values())[1:] == ["**84.50 ± 0.42 (n=4)**", "70.00", "80.55 ± 0.48 (n=4)"]
    assert list(rows["deep"].values())[1:] == ["80.55 ± 0.48 (n=4)", "75.00", "**84.50 ± 0.42 (n=4)**"]
    assert list(rows["lost"].values())[1:] == ["10.00 ± 0.00 (n=4) §", "60.00", "30.00 ± 0.00 (n=3)"]
    told = section(page, "What each network reached")
    assert (
        "A figure without ± is one run of one seed: it has no interval, no bold, and small gaps mean nothing." in told
    )
    assert "§ Near chance: at most 1.5 times" in told
    assert "- time, lost, seed 1: oom in phase train: OutOfMemoryError: a \\| b" in told


def test_bold_is_what_is_bold_on_the_suites_own_page(folder, page, markdown_table):
    here = {row["network"]: row for row in markdown_table(page, "## What each network reached")}
    for suite in ("images", "stem", "time"):
        own = markdown_table((folder / suite / "README.md").read_text(), "# Results")
        of_page = {row["model"].split(" †")[0]: "**" in row["test accuracy (%)"] for row in own}
        column = next(name for name in here["plain"] if name.startswith(f"{suite} ("))
        assert {label: "**" in row[column] for label, row in here.items()} == of_page


def test_what_each_network_got_is_epochs_time_and_flops(page, markdown_table):
    rows = {row["network"]: list(row.values())[1:] for row in markdown_table(page, "## What each network got")}
    assert rows["plain"] == ["26 ep, 30.0 s, 16.9 PFLOP", "0.250 ep, 29.5 s", "60.5 ep, 29.5 s"]


def test_every_two_settings_are_held_beside_each_other(page, markdown_table):
    rows = markdown_table(page, "## Does the order change?")
    assert [(row["setting"], row["other setting"], row["pairs"], row["reversed"]) for row in rows] == [
        ("images", "stem", "1", "1"),
        ("images", "time", "1", "1"),
        ("stem", "time", "3", "0"),
    ]
    assert [row["Kendall's tau"] for row in rows] == ["-1.00", "-1.00", "+1.00"]
    assert [row["both separated by the seeds"] for row in rows] == ["0", "1", "0"]
    assert [row["with an assumed deviation"] for row in rows] == ["1", "0", "0"]
    told = section(page, "Does the order change?")
    assert "- images, then time: reversed, separated by the seeds in both: plain minus deep +3.95, -3.95." in told
    assert "- images, then stem: reversed under the assumed deviation: plain minus deep +3.95, -5.00." in told


def test_each_question_is_answered_for_each_setting(page, markdown_table):
    rows = markdown_table(page, "## Questions")
    assert [row["what was asked"] for row in rows] == ["What does plain add?", "", "", "What does deep add?", "", ""]
    assert [row["setting"] for row in rows] == ["images", "stem", "time"] * 2
    assert "+3.95 points (separated, 4 seeds)" in rows[0]["answer in a few words"]
    assert "in one seed each, no verdict" in rows[1]["answer in a few words"]
    assert rows[3]["answer in a few words"].endswith("(lost is near chance)")
    assert "no order, seeds failed" in rows[5]["answer in a few words"]
    assert "**What does plain add?**\n\n- images: Test accuracy after 26 epochs on shapes10: plain 84.50 % and" in page


def test_links_lead_to_the_pages_and_plots_that_are_there(folder, page):
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links == [
        "plots/accuracy_by_setting.png",
        "plots/accuracy_by_setting.svg",
        "images/README.md",
        "stem/README.md",
        "time/README.md",
    ]
    assert all((folder / link).stat().st_size > 0 for link in links)


def test_a_page_is_the_same_when_it_is_made_again(folder):
    first = {path: path.read_bytes() for path in write_collection_page(folder)}
    assert len(first) == 3
    assert {path: path.read_bytes() for path in write_collection_page(folder)} == first


@pytest.mark.usefixtures("no_drawing")
def test_one_setting_has_no_order_and_no_plot(tmp_path):
    write_collection(tmp_path, {"only": asks()})
    write_setting(tmp_path / "only", {"a": HIGH, "b": LOW})
    stale = tmp_path / "plots" / "accuracy_by_setting.png"
    stale.parent.mkdir()
    for path in (stale, stale.with_name("mine.png")):
        path.write_text("of an earlier page")
    assert [path.name for path in write_collection_page(tmp_path)] == ["README.md"]
    assert [path.name for path in stale.parent.iterdir()] == ["mine.png"]
    page = (tmp_path / "README.md").read_text()
    assert "Whether the order changes with the setting cannot be said" in page
    assert "## Questions" not in page


@pytest.mark.usefixtures("no_drawing")
def test_where_every_network_guesses_that_is_all_that_is_said(tmp_path):
    write_collection(tmp_path, dict.fromkeys(("one", "two"), asks()))
    chance = ["the test accuracy is no better than chance: 10.00%, and guessing reaches 10.00%"]
    for suite in ("one", "two"):
        guesses = {"a": (0.10, 0.11), "b": (0.10, 0.10)}
        write_setting(tmp_path / suite, guesses, verdict="suspect", verdict_reasons=chance)
    assert [path.name for path in write_collection_page(tmp_path)] == ["README.md"]
    page = (tmp_path / "README.md").read_text()
    assert "- one: every network is near chance (guessing among 10: 10.00 %): there is no order to tell of." in page
    assert "Whether the order changes with the setting cannot be said" in page
    assert "†" not in page
    assert "Bold" not in page
    assert "**" not in page


def test_where_nothing_was_run_the_page_says_so_and_no_more(tmp_path):
    write_collection(tmp_path, {"one": asks(("a", "b")), "two": asks()}, missing={"one": MISSING})
    write_setting(tmp_path / "two", {"a": (None,)})
    write_collection_page(tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert f"- one: not run: {MISSING}.\n- two: no trial ended ok." in page
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == ["In short", "How this page is made"]


def test_a_suite_whose_trials_may_not_all_be_compared_is_several_settings(tmp_path, markdown_table):
    write_collection(tmp_path, {"both": asks()})
    write_setting(tmp_path / "both", {"a": HIGH, "b": LOW})
    write_setting(tmp_path / "both", {"a": LOW, "b": HIGH}, budget="2min")
    write_collection_page(tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert list(markdown_table(page, "## What each network reached")[0])[1:] == [
        "both, budget 26ep (26ep)",
        "both, budget 2min (2min)",
    ]
    assert "The order changes with the setting: a is above b in both, budget 26ep and below it in both, budget" in page


def test_a_collection_with_a_source_keeps_the_page_of_sources(tmp_path):
    write_collection(tmp_path, {"one": asks(), "two": experiment()})
    write_collection_page(tmp_path)
    assert "### What the source said" in (tmp_path / "README.md").read_text()


def test_hostile_words_break_neither_table_nor_plot(tmp_path, markdown_table):
    write_collection(tmp_path, {"one": asks((EVIL, "b")), "two": asks((EVIL, "b"))}, name=EVIL, description=EVIL)
    for suite, values in (("one", (HIGH, LOW)), ("two", (LOW, HIGH))):
        write_setting(tmp_path / suite, {EVIL: values[0], "b": values[1]}, device_name=EVIL)
    page, _, svg = write_collection_page(tmp_path)
    text = page.read_text()
    assert "\x1b" not in text + svg.read_text()
    assert "<i>" not in text
    assert "# d" not in text.splitlines()
    assert len(markdown_table(text, "## What each network reached")) == 2
    assert len(markdown_table(text, "## Questions")) == 2
