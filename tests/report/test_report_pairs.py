from __future__ import annotations

import html
import re

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from few_records import accuracies, group_of, results_of
from records import FIVE_MODELS, make_record, make_trial, write_folder

from resbench.report import write_report
from resbench.report.groups import comparable_groups
from resbench.report.html.headings import HEADINGS
from resbench.report.pairs import MOST_LISTED, PAIR_WORDS, front_table, pair_table
from resbench.report.pareto import COSTS, front_of
from resbench.schema import Hits
from resbench.stats.ranking import MOST_PAIRED
from resbench.store import Store, load_results

CLEAR = [
    *accuracies("a", 0.90, 0.91, 0.92),
    *accuracies("b", 0.70, 0.712, 0.719),
    *accuracies("c", 0.699, 0.711, 0.7205),
]


def texts(table) -> list[dict[str, str]]:
    return [dict(zip(table.headers, (cell.text for cell in row), strict=True)) for row in table.rows]


def table_of(folder, *records):
    results = results_of(folder, *records)
    (group,) = comparable_groups(results.trials)
    return pair_table(group, results.pairwise)


def test_every_pair_of_few_models_is_listed_the_better_first(tmp_path):
    table = table_of(tmp_path, *CLEAR)
    rows = texts(table)
    assert [(row["model"], row["minus"]) for row in rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert rows[0] | {"95 % interval": "", "p": "", "p (Holm)": ""} == {
        "model": "a",
        "minus": "b",
        "difference (points)": "+19.97",
        "95 % interval": "",
        "p": "",
        "p (Holm)": "",
        "seeds": "3",
        "separated": "yes",
    }
    assert re.fullmatch(r"± \d\.\d\d", rows[0]["95 % interval"])
    assert float(rows[2]["p (Holm)"]) > 0.05
    assert rows[2]["separated"] == "no"
    assert [row[-1].best for row in table.rows] == [True, True, False]
    assert table.notes == []


def test_why_a_pair_has_no_p_is_said(tmp_path):
    table = table_of(tmp_path, *CLEAR[:6], *accuracies("d", 0.95, None, None))
    assert texts(table)[0]["p"] == "-"
    assert table.notes == ["No p: d minus a, d minus b (one seed: no interval and no p)."]


def pages_of(folder, *records) -> tuple[pd.DataFrame, str, str]:
    """What is written of records: ``pairwise.csv``, and the pair table's part of both pages."""
    results_of(folder, *records)
    write_report(folder)
    pages = [(folder / name).read_text() for name in ("README.md", "report.html")]
    return pd.read_csv(folder / "pairwise.csv"), *(page[page.index("Pairwise differences") :] for page in pages)


@pytest.mark.usefixtures("no_drawing")
def test_what_only_the_uncorrected_p_separates_is_separated_nowhere(tmp_path, markdown_table):
    values = {"a": (0.90, 0.91, 0.92), "b": (0.885, 0.88, 0.89), "c": (0.884, 0.88, 0.89)}
    records = [record for model, found in values.items() for record in accuracies(model, *found)]
    frame, readme, html = pages_of(tmp_path, *records)
    alone = [scipy.stats.ttest_ind(values["a"], values[other], equal_var=False).pvalue for other in "bc"]
    assert max(alone) < 0.05 < 3 * min(alone)
    rows = {(row["model"], row["other"]): row for row in frame.to_dict("records")}
    assert [rows["a", other]["p"] for other in "bc"] == pytest.approx(alone)
    assert rows["a", "c"]["p_holm"] == pytest.approx(3 * min(alone))
    assert not frame["separated"].any()
    assert [row["separated"] for row in markdown_table(readme, "Pairwise differences")] == ["no"] * 3
    assert {*load_results(tmp_path).summary["tier"]} == {"a"}
    table = html[: html.index("</table>")]
    assert re.findall(r"<td[^>]*>(yes|no)</td>", table) == ["no"] * 3


@pytest.mark.usefixtures("no_drawing")
def test_a_difference_below_0_keeps_its_sign(tmp_path, markdown_table):
    # Of so many models each is compared with the best that has a tier; one that failed a seed reached more.
    nets = [f"net{number:02}" for number in range(MOST_PAIRED)]
    records = [record for net in nets for record in accuracies(net, 0.5, 0.51, 0.52)]
    records += [*accuracies("best", 0.90, 0.91, 0.92), *accuracies("lucky", 0.95, 0.97, None)]
    frame, readme, html = pages_of(tmp_path, *records)
    row = frame[frame["other"] == "lucky"].iloc[0]
    assert (row["model"], row["difference"]) == ("best", pytest.approx(-0.05))
    assert "best is the most accurate" in (page := (tmp_path / "README.md").read_text())
    assert f"separate it from all {MOST_PAIRED} others that were judged" in page
    shown = {row["minus"]: row["difference (points)"] for row in markdown_table(readme, "Pairwise differences")}
    assert (shown["lucky"], shown["net00"]) == ("-5.00", "+40.00")
    assert {"-5.00", "+40.00"} == {*re.findall(r"<td[^>]*>([+-]\d+\.\d\d)</td>", html[: html.index("</table>")])}


@pytest.mark.usefixtures("no_drawing")
def test_one_seed_without_hits_has_no_table_and_with_hits_an_interval_over_images(tmp_path):
    records = [*accuracies("a", 0.9), *accuracies("b", 0.7)]
    assert table_of(tmp_path, *records) is None
    generator = np.random.default_rng(0)
    for record in records:
        hits = Hits.pack(generator.random(500) < record["test_accuracy"])
        Store(tmp_path).append("hits", {"trial_id": record["trial_id"], **hits.to_dict()})
    write_report(tmp_path)
    results = load_results(tmp_path)
    (group,) = comparable_groups(results.trials)
    (row,) = texts(pair_table(group, results.pairwise))
    assert re.fullmatch(r"\+1\d\.\d\d to \+2\d\.\d\d", row["over other images"])
    assert (row["95 % interval"], row["p"], row["separated"]) == ("-", "-", "no")
    page = (tmp_path / "README.md").read_text()
    assert "paired bootstrap over the test images" in page
    assert "## Pairwise differences" in page
    assert "## How probable" not in page  # one seed a model


def test_of_many_pairs_those_of_the_most_accurate_are_listed(tmp_path):
    models = [f"net{place:02}" for place in range(12)]
    records = [
        record
        for place, model in enumerate(models)
        for record in accuracies(
            model, *(0.5 + 0.01 * place + 0.001 * (seed * place % 5 + seed**2 * place) for seed in range(3))
        )
    ]
    table = table_of(tmp_path, *records)
    assert {row["model"] for row in texts(table)} == {"net11"}
    assert table.notes == ["11 of 66 pairs, those of net11; pairwise.csv has all."]
    assert len(table.rows) <= MOST_LISTED


@pytest.mark.usefixtures("no_drawing")
def test_the_page_has_both_tables_and_says_how_they_were_made(tmp_path, markdown_table):
    folder = write_folder(tmp_path, seeds=3, epochs=1)
    write_report(folder)
    page = (folder / "README.md").read_text()
    assert len(markdown_table(page, "## Pairwise differences in test accuracy")) == 10
    fronts = markdown_table(page, "## How probable a place on the Pareto front is")
    assert [row["model"] for row in fronts] == list(FIVE_MODELS)
    assert list(fronts[0]) == ["model", *(cost.words for cost in COSTS)]
    assert all(row["MACs"].strip("*").replace("&gt;", ">").replace("&lt;", "<") for row in fronts)
    for words in ("Welch's t-test, each model", "A tier needs two seeds", "t-distribution"):
        assert words in page
    assert "bootstrap over the test images" not in page  # there are no hits
    other = html.unescape((folder / "report.html").read_text(encoding="utf-8"))
    assert HEADINGS["p"] in other
    for text in (html.unescape(page), other):
        assert PAIR_WORDS in text
        assert not re.search(r"(?<!un)paired (t|test)", text, re.IGNORECASE)


@pytest.mark.usefixtures("no_drawing")
def test_the_page_of_one_seed_says_nothing_of_tiers_but_why_there_are_none(tmp_path):
    write_report(write_folder(tmp_path, seeds=1, epochs=1))
    page = (tmp_path / "README.md").read_text()
    assert "no interval, no tier and no probability of a place on the Pareto front" in page
    for words in ("## Pairwise", "## How probable", "Holm", "Welch"):
        assert words not in page


def test_the_cheapest_model_is_on_every_front_and_a_dominated_one_on_none(tmp_path):
    worse = {"macs": 10**9, "params": 10**9, "latency_ms_p50": 99.0, "peak_memory_allocated_mib": 9e3, "step_s": 99.0}
    group = group_of(tmp_path, *accuracies("a", 0.9, 0.91, 0.92), *accuracies("b", 0.1, 0.12, 0.14, **worse))
    rows = {row["model"]: list(row.values())[1:] for row in texts(front_table(group))}
    assert rows == {"a": ["cheapest"] * 5, "b": ["<1 %"] * 5}
    assert [cell.best for cell in front_table(group).rows[0]] == [False, *[True] * 5]


def test_the_cheapest_has_a_probability_where_costs_vary_or_another_costs_as_much(tmp_path):
    records = [*accuracies("a", 0.9, 0.91, 0.92), *accuracies("b", 0.1, 0.12, 0.14, macs=10**9, params=10**9)]
    records += accuracies("c", 0.5, 0.51, 0.52, params=10**9)
    for place, record in enumerate(records):
        record["latency_ms_p50"] = 1.0 + 0.01 * place
    table = front_table(group_of(tmp_path, *records))
    rows = {row["model"]: (row["MACs"], row["parameters"], row["latency"]) for row in texts(table)}
    assert rows["a"] == (">99 %", "cheapest", ">99 %")  # c has as few MACs
    assert rows["c"] == ("<1 %", "<1 %", "<1 %")
    assert "cheapest: on the front by definition, for its cost does not depend on the seed." in table.notes


def test_models_without_a_tier_have_no_probability(tmp_path):
    records = [*CLEAR, *accuracies("d", 0.99), *accuracies("e", 0.99, None, 0.98)]
    group = group_of(tmp_path, *records)
    table = front_table(group)
    assert [row["model"] for row in texts(table)] == ["a", "b", "c"]
    assert "Not listed: models without a tier" in table.notes[-1]
    front = front_of(group, COSTS[0])
    assert [p is None for p in front.probabilities] == [False, False, False, True, True]
    assert front_table(group_of(tmp_path / "one", *accuracies("a", 0.9), *accuracies("b", 0.8))) is None


@pytest.mark.parametrize(("cost", "left_out"), [*zip(COSTS, [[], [], ["p"], [], ["p"]], strict=True)])
def test_what_ran_in_parts_is_in_no_front_of_training_time_or_memory(tmp_path, cost, left_out):
    parts = accuracies("p", 0.99, 0.98, 0.97, micro_batch_size=64)
    group = group_of(tmp_path, *CLEAR, *parts)
    front = front_of(group, cost)
    assert front.left_out == left_out
    assert ("p" in [row["label"] for row in front.rows]) != bool(left_out)


def test_a_pair_with_weights_is_named_by_them(tmp_path):
    other = [make_record(make_trial("a", seed, weights="default"), test_accuracy=0.5 + seed**2 / 99) for seed in (0, 1)]
    (row,) = texts(table_of(tmp_path, *accuracies("a", 0.9, 0.91), *other))
    assert (row["model"], row["minus"]) == ("a", "a (default weights)")
