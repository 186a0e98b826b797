from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from source_folders import ASKED, SOURCE, arm, claim, experiment, write_collection, write_suite

from resbench.errors import InputError
from resbench.report import rebuild_collection, write_collection_page

CLAIMED = claim("test_accuracy", 0.892, epochs=16, dataset="fashion_mnist")
EVIL = "a|b <i> \x1b[31m `c`\n# d"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three suites: one of two arms and three seeds, one that was not run, one of which nothing ended well."""
    folder = tmp_path_factory.mktemp("sources")
    first = {**SOURCE, "title": "First tutorial"}
    write_collection(
        folder,
        {
            "source-first": experiment(source={**CLAIMED, "title": "First tutorial"}),
            "source-second": experiment(source={**first, "title": "Second"}, description="of the second"),
            "source-third": experiment(source={**first, "title": "Third"}),
        },
    )
    write_suite(
        folder / "source-first",
        {
            "se": arm("net_se", 0.80, 0.81, 0.83, done=20, params=2_600_000, macs=81_000_000, data_s=10.0, step_s=50.0),
            "plain": arm("net_plain", 0.79, None, 0.81, done=20, trainable_params=1_000, best_test_accuracy=0.9),
        },
        notices=["THIS IS A STAND-IN"],
    )
    write_suite(folder / "source-third", {"se": arm("net_se", None), "plain": arm("net_plain", None)})
    (folder / "NOTES.md").write_text("My **own** words.\n")
    (folder / "plots").mkdir()
    (folder / "plots" / "gone-learning_curves.png").write_text("of an earlier page")
    (folder / "plots" / "mine.png").write_text("not a plot of ours")
    write_collection_page(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """The part of a page below a heading of the second level."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1]


def test_the_page_begins_with_how_much_was_run_and_where(page):
    assert page.startswith("# Results: sources\n\nSix sources.\n\n5 of 8 planned trials ended ok on NVIDIA H200")
    assert "of 3 sources. Of 2 there are no results" in page
    assert page.index("> **Note:** THIS IS A STAND-IN (First tutorial)") < page.index("My **own** words.")
    assert page.index("My **own** words.") < page.index("## In short")


def test_the_summary_has_a_line_a_question(page, markdown_table):
    rows = markdown_table(page, "## In short")
    assert [row["source"] for row in rows] == ["First tutorial", "Second", "Third"]
    assert {row["what was asked"] for row in rows} == {ASKED["question"]}
    assert "seeds failed" in rows[0]["answer in a few words"]
    assert [row["answer in a few words"] for row in rows[1:]] == ["not run", "no trial ended ok"]


def test_the_tables_hold_what_was_run_and_what_came_out(page, markdown_table):
    of_first = section(page, "First tutorial")
    run = {row["arm"]: row for row in markdown_table(of_first, "### What was run")}
    assert run["se"]["model"] == "net_se"
    assert (run["se"]["seeds ok"], run["plain"]["seeds ok"]) == ("3/3", "2/3")
    assert (run["se"]["done"], run["se"]["budget"], run["se"]["batch"]) == ("2,548 steps, 20 ep", "26ep", "512")
    assert (run["se"]["input, stem"], run["se"]["data"]) == ("3x32x32, cifar", "shapes10")
    out = {row["arm"]: row for row in markdown_table(of_first, "### What came out")}
    assert out["se"]["test accuracy (%)"] == "81.33 ± 1.53 (n=3)"  # of 80, 81 and 83
    assert out["plain"]["test accuracy (%)"] == "80.00 ± 1.41 (n=2)"  # of 79 and 81
    assert (out["se"]["params (M)"], out["se"]["MACs (M)"]) == ("2.600", "81.00")
    assert out["plain"]["trained params (M)"] == "0.001000"
    assert out["plain"]["best epoch (optimistic) (%)"] == "90.00"
    assert out["se"]["time an epoch"] == "3.00 ± 0.00 s"  # a minute of twenty epochs
    assert (out["se"]["latency p50 (ms)"], out["se"]["train memory (MiB)"]) == (
        "1.02 ± 0.00",
        "1,500 ± 0",
    )


def test_epoch_by_epoch_there_are_sixteen_rows_at_most_and_the_last_is_among_them(page, markdown_table):
    of_first = section(page, "First tutorial")
    rows = markdown_table(of_first[of_first.index("best epoch") :].partition("\n\n")[2], "| epoch")
    assert [row["epoch"] for row in rows][:2] == ["1", "2"]
    assert (rows[-1]["epoch"], len(rows)) == ("20", 16)
    assert rows[1]["se: train loss"] == "1.000"  # 2 / epoch, as the records have it
    assert rows[-1]["se: test loss"] == "0.1050"
    assert "Some of 20 evaluations" in of_first


def test_what_the_source_said_and_what_failed_is_listed(page):
    of_first = section(page, "First tutorial")
    assert "- It trains for 12 epochs." in of_first
    assert "- Reported for se: test accuracy 89.20 % after 16 epochs on fashion_mnist." in of_first
    assert "- plain, seed 1: oom in phase train: OutOfMemoryError: a \\| b" in of_first


def test_nothing_is_claimed_of_what_was_not_run(page):
    second, third = section(page, "Second"), section(page, "Third")
    assert "of the second" in second
    assert "Not run." in second
    assert "No trial ended ok." in third
    assert "- se, seed 0: oom in phase train" in third
    for part in (second, third):
        assert not {"### What came out", "### What to conclude"} & set(part.splitlines())


def test_curves_have_two_panels_and_stale_plots_go(folder, page):
    assert (
        "[![Learning curves](plots/source-first-learning_curves.png)](plots/source-first-learning_curves.svg)" in page
    )
    assert sorted(path.name for path in (folder / "plots").iterdir()) == [
        "mine.png",
        "source-first-learning_curves.png",
        "source-first-learning_curves.svg",
    ]
    svg = (folder / "plots" / "source-first-learning_curves.svg").read_text()
    assert all(f">{words}<" in svg for words in ("loss", "accuracy (%)", "train", "test", "se", "plain"))


def test_the_same_records_give_the_same_bytes(folder):
    written = write_collection_page(folder)
    first = {path: path.read_bytes() for path in written}
    assert written[0].name == "README.md"
    assert len(written) == 3
    assert {path: path.read_bytes() for path in write_collection_page(folder)} == first
    assert not [path for path in folder.rglob(".*") if path.is_file()]


def test_one_evaluation_is_no_curve(tmp_path):
    write_collection(tmp_path, {"one": experiment()})
    write_suite(tmp_path / "one", {"se": arm("net_se", 0.5, done=1), "plain": arm("net_plain", 0.5, done=1)})
    assert [path.name for path in write_collection_page(tmp_path)] == ["README.md"]
    page = (tmp_path / "README.md").read_text()
    assert "| epoch" not in page
    assert "plots/" not in page


def test_less_than_an_epoch_is_scaled_to_a_whole_one(tmp_path, markdown_table):
    write_collection(tmp_path, {"one": experiment("se", compare=[])})
    write_suite(tmp_path / "one", {"se": arm("net_se", 0.5, epochs=0.25, data_s=1.0, step_s=4.0)})
    write_collection_page(tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert markdown_table(page, "### What came out")[0]["time an epoch"] == "20.0 s"
    assert "Time an epoch of se is scaled up" in page
    assert markdown_table(page, "## In short")[0]["answer in a few words"] == (
        "se: 50.00 % test accuracy after 0.25 epochs on shapes10"
    )


def test_what_belongs_to_no_arm_is_listed_and_not_told(tmp_path):
    twins = [{"name": name, "model": "net_se"} for name in ("se", "plain")]
    write_collection(tmp_path, {"old": experiment(arms=twins)})
    write_suite(tmp_path / "old", {"se": arm("net_se", 0.5)}, with_arms=False)
    write_collection_page(tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert "No trial that ended ok could be assigned to an arm." in page
    assert "- not assigned to an arm: net_se with recipe common, seed 0" in page
    assert "### What came out" not in page


@pytest.mark.usefixtures("no_drawing")
def test_rebuilding_writes_each_suites_page_and_links_to_it(tmp_path):
    write_collection(tmp_path, {"one": experiment(), "never": experiment(), "bad": experiment()})
    write_suite(tmp_path / "one", {"se": arm("net_se", 0.5), "plain": arm("net_plain", 0.5)})
    write_suite(tmp_path / "bad", {"se": arm("net_se", None)})
    written = rebuild_collection(tmp_path)
    assert {tmp_path / "one" / "README.md", tmp_path / "README.md"} <= set(written)
    page = (tmp_path / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+/README.md)\)", page)
    assert links == ["one/README.md", "bad/README.md"]
    assert all((tmp_path / link).is_file() for link in links)


def test_hostile_words_break_neither_table_nor_terminal(tmp_path, markdown_table):
    named = [{"name": EVIL, "model": "net_se"}]
    asked = [{"question": EVIL, "arm": EVIL, "against": EVIL}]
    said = {"title": EVIL, "said": [EVIL], "claims": [{"arm": EVIL, "column": "params", "value": 3, "dataset": EVIL}]}
    tables = experiment(arms=named, compare=asked, source=said, description=EVIL)
    write_collection(tmp_path, {"one": tables}, name=EVIL, description=EVIL)
    write_suite(tmp_path / "one", {EVIL: arm("net_se", 0.5, 0.6, done=2, device_name=EVIL)}, notices=[EVIL])
    write_collection_page(tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert "\x1b" not in page
    assert "<i>" not in page
    assert "# d" not in page.splitlines()
    assert len(markdown_table(page, "### What was run")) == 1


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "not valid JSON"),
        ("[]", "no collection"),
        ('{"name": "x", "suites": ["a"], "experiments": {}}', "'a' is missing under 'experiments'"),
        ('{"name": "x", "suites": ["../a"], "experiments": {"../a": {}}}', "cannot name a folder"),
        ('{"name": "x", "suites": ["a", "a"], "experiments": {"a": {}}}', "stands twice"),
        ('{"name": "x", "suites": ["a"], "experiments": {"a": {"arms": 3}}}', r"experiments\.a\.arms"),
        (
            json.dumps(
                {"name": "x", "suites": ["a"], "experiments": {"a": {"source": {**claim("model", 1), "said": ["x"]}}}}
            ),
            "'model', which is no number",
        ),
    ],
)
def test_a_foreign_collection_is_refused_by_name(tmp_path, text, match):
    (tmp_path / "collection.json").write_text(text)
    with pytest.raises(InputError, match=match) as caught:
        write_collection_page(tmp_path)
    assert "collection.json" in str(caught.value)
    assert not (tmp_path / "README.md").exists()


def test_a_folder_without_a_collection_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*collection\.json"):
        write_collection_page(tmp_path)


def test_arms_in_records_must_name_their_trials(tmp_path):
    write_collection(tmp_path, {"one": experiment()})
    write_suite(tmp_path / "one", {"se": arm("net_se", 0.5)}, with_arms=False, arms=[{"name": "se", "trial_ids": 3}])
    with pytest.raises(InputError, match="trial_ids is 3"):
        write_collection_page(tmp_path)
