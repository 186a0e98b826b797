"""Collections: several suites that are planned together, run one after another and told of on one page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_folder import make_tiny_folder

from resbench.errors import InputError
from resbench.planning.arms import plan_arms
from resbench.planning.collection import (
    Experiment,
    is_collection,
    load_collection,
    load_suites,
    plan_collection,
    write_collection,
)
from resbench.report.experiments.stored import COLLECTION, read_collection
from resbench.suite import load_suite, suite_names

Write = Callable[[str], str]
SHIPPED = [name for name in suite_names() if is_collection(name)]
PUBLISHED = {
    # suite: model, recipe, batch, budget, input of its first arm, as the source has them
    "source-d2l": ("d2l_resnet18", "d2l", 256, "10ep", "1x224x224"),
    "source-se-resnet50": ("se_resnet50", "se_resnet50", 128, "12ep", None),
    "source-resnet50-adam": ("resnet50_nopool", "resnet50_adam", 128, "10ep", "3x224x224"),
    "source-resnet34": ("resnet34", "common", 128, "200steps", "3x224x224"),
    "source-resnet152": ("resnet152_frozen", "resnet152_finetune", 64, "20ep", "3x256x256"),
    "source-cnn": ("cnn", "resnet152_finetune", 64, "20ep", "3x256x256"),
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a collection of two tiny suites, with a text behind it, and returns its path."""
    folder = make_tiny_folder(tmp_path / "images")
    for name, model in (("one", "cnn"), ("two", "resnet34")):
        text = f"models = ['{model}']\ndataset = 'folder:{folder}'\nbatch_size = 8\nbudget = '2ep'\n"
        (tmp_path / f"{name}.toml").write_text(text + "[engine]\ndevice = 'cpu'\n")

    def write_collection_file(text: str = "") -> str:
        path = tmp_path / "both.toml"
        tables = "\n".join(f"[suites.'{tmp_path / name}.toml']" for name in ("one", "two"))
        path.write_text(f"description = 'two tiny ones'\n{tables}\n{text}")
        return str(path)

    return write_collection_file


def test_a_collection_of_all_sources_is_shipped_and_one_for_machines_without_cuda() -> None:
    assert SHIPPED == ["headline", "headline-cpu", "sources", "sources-cpu"]
    whole, small = load_collection("sources"), load_collection("sources-cpu")
    assert whole.without_cuda == small.name
    assert list(whole.suites) == list(small.suites) == list(PUBLISHED)
    assert not any(whole.suites.values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_sources_suite_trains_as_its_source_does_and_beside_it_under_common(name: str) -> None:
    suite = load_suite(name)
    first, *others = plan_arms(suite)
    trained = (first.model, first.recipe.name, first.batch_size, str(first.budget), suite.input)
    assert trained == PUBLISHED[name]
    assert first.weights == first.entry.default_weights
    if first.recipe.name != "common":
        assert any((arm.model, arm.recipe.name) == (first.model, "common") for arm in others)
    assert suite.source
    assert suite.source.said
    assert suite.fallback_dataset is None


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_collection_holds_valid_suites(name: str) -> None:
    collection = load_collection(name)
    suites = load_suites(collection)
    assert [suite.name for suite in suites] == list(collection.suites)
    assert collection.description


def test_what_a_collection_says_goes_before_its_suites_and_a_flag_before_both(write: Write, tmp_path: Path) -> None:
    path = write("budget = '3ep'\nprecision = 'fp32'")  # of the second: its table is the last
    first, second = load_suites(load_collection(path))
    assert (first.budget, second.budget, second.engine.precision) == ("2ep", "3ep", "fp32")
    assert [suite.budget for suite in load_suites(load_collection(path), budget="1ep", seeds=None)] == ["1ep", "1ep"]


def test_a_choice_of_networks_leaves_out_the_suites_that_have_none_of_them() -> None:
    sources = load_collection("sources")
    chosen = load_suites(sources, models=["se_resnet50", "cnn"])
    assert [suite.name for suite in chosen] == ["source-se-resnet50", "source-cnn"]
    assert [arm.model for arm in plan_arms(chosen[0])] == ["se_resnet50", "se_resnet50"]
    with pytest.raises(InputError, match="unknown model 'resnet50x'"):
        load_suites(sources, models=["resnet50x"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[suites.nowhere]", "unknown suite 'nowhere'"),
        ("budgett = '1ep'", "unknown key 'budgett', did you mean 'budget'"),
        ("batch_size = 'many'", "the key 'batch_size' is 'many'"),
        ("[more]\nx = 1", "unknown key 'more'"),
    ],
)
def test_what_is_wrong_with_a_collection_is_said(write: Write, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_suites(load_collection(write(text)))


def test_a_collection_without_suites_or_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    for text, said in (("[suites]", "'suites'"), ("suites = [", "not valid TOML"), ("suites = 3", "'suites' is 3")):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            load_collection(str(path))


@pytest.mark.parametrize("name", ["../../elsewhere", "", ".hidden", "a\\\\b", "~root"])
def test_a_name_that_leads_out_of_the_results_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(f'name = "{name}"\n[suites.smoke]\n')
    with pytest.raises(InputError, match="it names the results folder"):
        load_collection(str(path))


def test_a_collection_is_no_suite_and_says_which_suites_it_has(write: Write) -> None:
    assert is_collection(write())
    assert not is_collection("smoke")
    assert not is_collection("no such suite")
    with pytest.raises(InputError, match=r"is a collection of suites.*source-d2l, source-se-resnet50"):
        load_suite("sources")


def test_two_suites_of_one_name_are_refused(write: Write) -> None:
    with pytest.raises(InputError, match="two suites of the collection 'both' have the same name"):
        load_suites(load_collection(write("name = 'one'")))


def test_a_mistake_in_the_last_suite_is_found_before_the_first_runs(write: Write) -> None:
    with pytest.raises(InputError, match="suite two: unknown recipe 'comon'"):
        plan_collection(load_suites(load_collection(write("recipe = 'comon'"))))


def test_a_dataset_that_cannot_be_had_costs_its_suite_and_no_other(write: Write, no_cifar10: list[str]) -> None:
    path = write("dataset = 'cifar10'")
    first, second = plan_collection(load_suites(load_collection(path)))
    assert first.plan
    assert [trial.model for trial in first.plan.trials] == ["cnn"]
    assert (second.plan, second.missing) == (None, "there is no cifar10 here")
    no_cifar10.clear()
    with pytest.raises(InputError, match="there is no cifar10 here"):
        plan_collection(load_suites(load_collection(path), dataset="cifar10"))
    assert no_cifar10 == ["cifar10"]  # once for both


@pytest.mark.usefixtures("no_cifar10")
def test_what_stands_in_for_a_missing_dataset_is_told_of_each_suite_and_asked_for_once(write: Write) -> None:
    told: list[str] = []
    suites = load_suites(load_collection(write()), dataset="cifar10", fallback_dataset="shapes10")
    experiments = plan_collection(suites, on_message=told.append)
    assert [len(experiment.plan.notices) for experiment in experiments if experiment.plan] == [1, 1]
    assert told.count("there is no cifar10 here") == 1


def test_the_folder_of_a_collection_says_which_suites_it_is_of_and_what_their_sources_said(tmp_path: Path) -> None:
    sources = load_collection("sources")
    experiments = [Experiment(suite, None, "no network") for suite in load_suites(sources)]
    write_collection(tmp_path / "deep" / "out", sources, experiments)
    data = json.loads((tmp_path / "deep" / "out" / COLLECTION).read_text())
    assert (data["name"], data["suites"]) == ("sources", list(PUBLISHED))
    d2l = data["experiments"]["source-d2l"]
    assert d2l["source"]["claims"] == [
        {"arm": "the book's", "column": "test_accuracy", "value": 0.892, "epochs": 16, "dataset": "fashion_mnist"}
    ]
    assert [arm["name"] for arm in d2l["arms"]] == ["the book's", "under common"]
    assert d2l["compare"][0]["against"] == "under common"
    read = read_collection(tmp_path / "deep" / "out")
    assert read.suites == data["suites"]
    assert read.missing["source-d2l"] == "the dataset fashion_mnist is neither on disk nor downloadable"


def test_one_suite_stands_in_several_tables_each_with_a_name_of_its_own() -> None:
    cifar, source, time, flops = load_suites(load_collection("headline"))
    assert [suite.name for suite in (cifar, source, time, flops)] == [*load_collection("headline").suites]
    assert [(suite.stem, suite.budget, suite.seeds) for suite in (cifar, source, time, flops)] == [
        ("cifar", "26ep", 3),
        ("source", "26ep", 1),
        ("cifar", "2min", 1),
        ("cifar", "1e16flop", 1),
    ]
    assert all(suite.models == load_suite("cifar10").models for suite in (cifar, source, time, flops))
    small = load_suites(load_collection("headline-cpu"))
    assert {suite.stem for suite in small} == {"source"}
    assert {suite.fallback_dataset for suite in small} == {"shapes10"}
    assert load_collection("headline").without_cuda == "headline-cpu"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("suite = 3", r"'suites\.mine\.suite' is 3: give the name of a suite"),
        ("suite = ''", r"'suites\.mine\.suite' is ''"),
        ("suite = 'smokey'", r"\[suites\.mine\] of the collection 'x': unknown suite 'smokey'"),
        ("suite = 'sources'", r"\[suites\.mine\].* is a collection of suites"),
        ("suite = 'smoke'\nbudgett = '1ep'", r"\[suites\.mine\].* did you mean 'budget'"),
    ],
)
def test_a_suite_that_a_table_cannot_be_of_is_refused_by_the_tables_name(tmp_path: Path, table: str, said: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(f"[suites.mine]\n{table}\n")
    with pytest.raises(InputError, match=said):
        load_suites(load_collection(str(path)))


def test_suites_that_a_flag_makes_alike_are_told_of(tmp_path: Path) -> None:
    base, path = tmp_path / "base.toml", tmp_path / "both.toml"
    images = make_tiny_folder(tmp_path / "images")
    base.write_text(f"models = ['cnn']\ndataset = 'folder:{images}'\nbatch_size = 8\nengine.device = 'cpu'\n")
    tables = [
        f"[suites.{name}]\nsuite = '{base}'\nbudget = '{budget}'\n" for name, budget in (("a", "1ep"), ("b", "2ep"))
    ]
    path.write_text("".join(tables))
    told: list[str] = []
    plan_collection(load_suites(load_collection(str(path))), on_message=told.append)
    assert "second time" not in "".join(told)
    plan_collection(load_suites(load_collection(str(path)), budget="3ep"), on_message=told.append)
    assert told[-1].startswith("b runs 1 of its 1 trials a second time, for a has the same ones: leave out the flag")


def test_a_folder_that_cannot_be_written_to_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to the results folder"):
        write_collection(tmp_path / "file" / "out", load_collection("sources"), [])
