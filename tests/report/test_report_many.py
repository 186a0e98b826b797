"""Folders with more models than a plot has room for, and more tables than get plots: what is left out is said."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from records import FIVE_MODELS, make_epochs, make_record, make_trial, write_folder

from resbench.report import write_report
from resbench.report.curves import CURVES, EpochsByTrial
from resbench.report.groups import MOST_SHOWN, comparable_groups
from resbench.report.pareto import _named
from resbench.report.plots import MOST_PLOTTED, plotted_groups
from resbench.store import Store, load_results

TOTAL = 40
# Each is more accurate and dearer than the one before: all are on the front.
MANY_MODELS = {
    f"net{index:02}x": (
        1_000_000 * (index + 1),
        2_000_000 * (index + 1),
        0.5 + 0.01 * index,
        9_000.0,
        0.1 * (index + 1),
    )
    for index in range(TOTAL)
}
BUDGETS = [f"{number}ep" for number in range(1, MOST_PLOTTED + 3)]


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """One table of forty models."""
    folder = write_folder(tmp_path_factory.mktemp("wide"), models=MANY_MODELS, epochs=2)
    write_report(folder)
    return folder


@pytest.fixture
def long(tmp_path) -> Path:
    """More tables than get plots: the last two compare two models, the others one."""
    store = Store(tmp_path, create=True)
    for budget in BUDGETS:
        for model in list(FIVE_MODELS)[: 1 + (budget in BUDGETS[-2:])]:
            trial = make_trial(model, budget=budget)
            for row in make_epochs(trial, accuracy=0.9, seconds=10.0, epochs=2):
                store.append("epoch", row)
            store.append("trial", make_record(trial))
    return tmp_path


def names_in(folder: Path, plot: str) -> set[str]:
    return set(re.findall(r">(net\d\dx)</text>", (folder / "plots" / f"{plot}.svg").read_text()))


@pytest.mark.parametrize("plot", [*(f"learning_curves_{name}" for name, _, _ in CURVES), "throughput", "time_ledger"])
def test_a_plot_of_many_models_shows_the_most_accurate_and_says_so(wide, plot):
    assert names_in(wide, plot) == set(list(MANY_MODELS)[-MOST_SHOWN:])
    assert f"the {MOST_SHOWN} most accurate of {TOTAL} models" in (wide / "plots" / f"{plot}.svg").read_text()


def test_a_tradeoff_of_many_models_names_some_draws_all_and_says_so(wide):
    names = names_in(wide, "accuracy_vs_macs")
    assert len(names) == MOST_SHOWN
    assert {"net00x", f"net{TOTAL - 1}x"} <= names  # all are on the front: it is named from end to end
    text = (wide / "plots" / "accuracy_vs_macs.svg").read_text()
    assert f"named: {MOST_SHOWN} of {TOTAL} models" in text


def test_the_page_of_many_models_says_what_its_plots_leave_out_and_its_table_has_all(wide, markdown_table):
    page = (wide / "README.md").read_text()
    assert f"show the {MOST_SHOWN} most accurate of {TOTAL} models" in page
    assert [row["model"] for row in markdown_table(page, "# Results")] == list(MANY_MODELS)


@pytest.mark.usefixtures("no_drawing")
def test_few_models_are_all_shown_and_nothing_is_said(tmp_path):
    write_report(write_folder(tmp_path, models=FIVE_MODELS, epochs=2))
    (group,) = comparable_groups(load_results(tmp_path).trials)
    assert (group.shown, group.caption) == (list(FIVE_MODELS), "")
    page = (tmp_path / "README.md").read_text()
    assert "most accurate of" not in page
    assert "There are plots of" not in page


def test_models_without_an_accuracy_are_shown_last(tmp_path):
    folder = write_folder(tmp_path, models=MANY_MODELS, epochs=1)
    store = Store(folder)
    for model in list(MANY_MODELS)[-10:]:
        store.append("trial", make_record(make_trial(model), status="oom", test_accuracy=None))
    (group,) = comparable_groups(load_results(folder).trials)
    assert group.shown == list(MANY_MODELS)[-10 - MOST_SHOWN : -10]


@pytest.mark.usefixtures("no_drawing")
def test_of_many_tables_those_that_compare_the_most_models_get_plots_and_the_page_says_so(long):
    groups = comparable_groups(load_results(long).trials)
    assert [group.title for group in groups] == [f"budget {budget}" for budget in BUDGETS]
    kept = [*BUDGETS[: MOST_PLOTTED - 2], *BUDGETS[-2:]]
    assert [group.title for group in plotted_groups(groups)] == [f"budget {budget}" for budget in kept]
    written = write_report(long)
    assert {path.name.split("-")[1] for path in written[2:]} == set(kept)
    page = (long / "README.md").read_text()
    assert f"There are plots of {MOST_PLOTTED} of the {len(BUDGETS)} tables" in page
    assert page.count("\n## Budget ") == len(BUDGETS)
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert all((long / link).is_file() for link in links)


@pytest.mark.usefixtures("no_drawing")
def test_all_tables_get_plots_where_that_is_asked_for_and_lose_them_again(long):
    all_plots = write_report(long, most_plotted=len(BUDGETS))
    assert {path.name.split("-")[1] for path in all_plots[2:]} == set(BUDGETS)
    assert "There are plots of" not in (long / "README.md").read_text()
    assert write_report(long, most_plotted=0) == [long / "README.md", long / "report.html"]
    assert list((long / "plots").iterdir()) == []


@pytest.mark.usefixtures("no_drawing")
def test_a_report_of_results_that_are_at_hand_reads_no_records(tmp_path, monkeypatch):
    folder = write_folder(tmp_path, models=FIVE_MODELS, epochs=2)
    write_report(folder)
    results, page = load_results(folder), (folder / "README.md").read_text()

    def refuse(store):
        raise AssertionError("the records were read")

    monkeypatch.setattr(Store, "_numbered", refuse)
    write_report(folder, results=results)
    assert (folder / "README.md").read_text() == page


def test_named_are_the_front_then_the_most_accurate():
    accuracies = [0.1, *[0.5 + 0.001 * index for index in range(50)], 0.2]
    named = _named([0, 51], accuracies)
    assert named == [0, *range(51 - (MOST_SHOWN - 2), 51), 51]
    front = _named(range(100), [0.5] * 100)
    assert (len(front), front[0], front[-1]) == (MOST_SHOWN, 0, 99)
    assert max(b - a for a, b in pairwise(front)) <= 5
    assert _named([1], [0.5, 0.6, 0.4]) == [0, 1, 2]


def test_epochs_are_found_by_trial_in_the_order_of_the_file(tmp_path):
    epochs = load_results(write_folder(tmp_path, seeds=2, epochs=3)).epochs
    found = EpochsByTrial(epochs).of([make_trial("resnet50", 1).trial_id, make_trial("resnet34", 0).trial_id, "none"])
    expected = epochs[epochs["trial_id"].isin(found["trial_id"])]
    assert list(found.index) == list(expected.index)
    assert len(found) == 6
    assert set(expected["model"]) == {"resnet50", "resnet34"}


def test_a_group_that_never_ran_joins_its_own_budget_among_many(tmp_path):
    store = Store(tmp_path, create=True)
    planned = [make_trial(model, budget=budget) for budget in BUDGETS for model in ("resnet34", "resnet50")]
    store.append("suite", {"trials": [trial.to_dict() for trial in planned]})
    for trial in planned[::2]:
        store.append("trial", make_record(trial))
    groups = comparable_groups(load_results(tmp_path).trials)
    assert [group.labels for group in groups] == [["resnet34", "resnet50"]] * len(BUDGETS)
    assert [group.ok("resnet34", "wall_s") for group in groups] == [[52.0]] * len(BUDGETS)
    assert [group.ok("resnet50", "wall_s") for group in groups] == [[]] * len(BUDGETS)
