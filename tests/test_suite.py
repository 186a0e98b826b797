from __future__ import annotations

from pathlib import Path

import pytest

from resbench.errors import InputError
from resbench.planning.arms import plan_arms
from resbench.planning.collection import is_collection
from resbench.registry import list_models
from resbench.suite import load_suite, make_suite, parse_input, suite_names

GOOD = 'models = ["cnn"]\n'


def write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", [name for name in suite_names() if not is_collection(name)])
def test_a_shipped_suite_loads_and_names_only_what_there_is(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert suite.description
    assert set(suite.models) <= set(list_models())
    assert all(str(arm.budget) for arm in plan_arms(suite))  # networks, stems, recipes and budgets are read there


def test_the_two_suites_that_make_bench_needs_are_shipped() -> None:
    assert {"cifar10", "smoke"} <= set(suite_names())
    assert load_suite("smoke").fallback_dataset == "shapes10"
    assert load_suite("cifar10").fallback_dataset is None
    assert (load_suite("cifar10").stem, load_suite("cifar10").budget) == ("cifar", "26ep")


def test_a_suite_is_named_after_its_file_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert load_suite(write(tmp_path, GOOD)).name == "mine"
    assert load_suite(write(tmp_path, 'name = "theirs"\n' + GOOD)).name == "theirs"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "budgett = '2ep'", "unknown key 'budgett', did you mean 'budget'?"),
        (GOOD + "intput = '3x32x32'", "unknown key 'intput', did you mean 'input'?"),
        (GOOD + "seed = 2", "unknown key 'seed', did you mean 'seeds'?"),
        (GOOD + "list_of = 2", "unknown key 'list_of'"),
        (GOOD + "zzz = 2", "unknown key 'zzz' (known: name, models,"),
        (GOOD + "device = 'cpu'", "unknown key 'device', it belongs below [engine]"),
        (GOOD + "[engine]\nprecison = 'fp32'", "unknown key 'engine.precison', did you mean 'precision'?"),
        (GOOD + "[engine]\nbudget = '2ep'", "unknown key 'engine.budget', it belongs above [engine]"),
        (GOOD + "cuda_graph = 'on'", "unknown key 'cuda_graph', it belongs below [engine]"),
        (GOOD + "[engine]\ncuda_graphs = 'on'", "unknown key 'engine.cuda_graphs', did you mean 'cuda_graph'?"),
        (GOOD + "[engines]\ndevice = 'cpu'", "unknown key 'engines', did you mean 'engine'?"),
        (GOOD + "batch_size = '64'", "the key 'batch_size' is '64'"),
        (GOOD + "batch_size = 64.0", "the key 'batch_size' is 64.0"),
        (GOOD + "batch_size = 0", "the key 'batch_size' is 0"),
        (GOOD + "budget = 26", "the key 'budget' is 26"),
        (GOOD + "seeds = '3'", "the key 'seeds' is '3'"),
        (GOOD + "seeds = 0", "the key 'seeds' is 0"),
        (GOOD + "seeds = true", "the key 'seeds' is True"),
        (GOOD + "seeds = []", "give at least one seed"),
        (GOOD + "seeds = [1, 1]", "each only once"),
        (GOOD + "seeds = [1, -1]", "-1"),
        (GOOD + "engine = 'fast'", "the key 'engine' is 'fast': it should be a table, [engine]"),
        (GOOD + "[engine]\ncompile = true", "the key 'engine.compile' is True"),
        (GOOD + "[engine]\ncuda_graph = false", "the key 'engine.cuda_graph' is False"),
        ("models = 'cnn'", "the key 'models' is 'cnn'"),
        ("models = ['cnn', 3]", "the key 'models.1' is 3"),
        ("models = []", "the key 'models' is missing or empty, and there are no [[arms]]"),
        ("[[arms]]\nmodel = 'cnn'", "the key 'arms.0.name' is missing"),
        (GOOD + "train_images = 0", "the key 'train_images' is 0"),
        (GOOD + "fallback_weights = 'default'", "the key 'fallback_weights' is 'default'"),
        ("budget = '2ep'", "the key 'models' is missing"),
        ("models = [", "not valid TOML"),
        (GOOD + GOOD, "not valid TOML"),
    ],
)
def test_a_fault_of_a_suite_file_is_named_with_its_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_suite(path)
    assert said in str(caught.value)
    assert path in str(caught.value)


def test_every_fault_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_suite(write(tmp_path, "budgett = '2ep'\nbatch_size = 'many'\n[engine]\ndevise = 'cpu'"))
    for key in ("'models'", "'budgett'", "'batch_size'", "'engine.devise'"):
        assert key in str(caught.value)


def test_a_file_that_is_missing_or_no_text_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.toml.*No such file"):
        load_suite(str(tmp_path / "nowhere.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError, match=r"folder\.toml"):
        load_suite(str(tmp_path / "folder.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"binary\.toml.*not valid TOML"):
        load_suite(str(tmp_path / "binary.toml"))


def test_an_unknown_name_is_an_error_with_the_nearest_and_all_names() -> None:
    with pytest.raises(InputError, match="unknown suite 'smokey'") as caught:
        load_suite("smokey")
    assert "Did you mean smoke" in str(caught.value)
    assert all(name in str(caught.value) for name in suite_names())


def test_changes_replace_what_the_file_says_and_none_leaves_it(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "budget = '2ep'\nseeds = 2\n[engine]\ndevice = 'cpu'\nprecision = 'fp32'")
    suite = load_suite(path, budget="3ep", models=["resnet*"], seeds=None, precision="bf16")
    assert (suite.budget, suite.models, suite.seeds) == ("3ep", ["resnet*"], 2)
    assert (suite.engine.device, suite.engine.precision, suite.engine.compile) == ("cpu", "bf16", "auto")
    changed = load_suite(path, cuda_graph="off", compile="reduce-overhead").engine
    assert (changed.cuda_graph, changed.compile, changed.precision) == ("off", "reduce-overhead", "fp32")


ASKED = """
models = ["cnn", "resnet*"]
[[compare]]
question = "What do more layers add?"
arm = "resnet50"
against = "resnet34"
[[compare]]
question = "What does a residual network add?"
arm = "resnet34"
against = "cnn"
"""


def test_questions_are_about_networks_where_there_are_no_arms(tmp_path: Path) -> None:
    assert [pair.arm for pair in load_suite(write(tmp_path, ASKED)).compare] == ["resnet50", "resnet34"]


@pytest.mark.parametrize(
    ("models", "left"),
    [(["resnet34"], []), (["resnet34", "resnet50"], ["resnet50"]), (["resnet*"], ["resnet50"]), (["vgg"], [])],
)
def test_questions_about_networks_that_were_not_chosen_are_left_out(
    tmp_path: Path, models: list[str], left: list[str]
) -> None:
    assert [pair.arm for pair in load_suite(write(tmp_path, ASKED), models=models).compare] == left


@pytest.mark.parametrize("changes", [{}, {"models": ["resnet34"]}])
def test_a_question_about_what_is_no_network_of_the_suite_names_it(tmp_path: Path, changes: dict[str, object]) -> None:
    path = write(tmp_path, ASKED.replace('"cnn"\n', '"vgg"\n'))
    with pytest.raises(InputError, match="'vgg', which a question is about, is none of its models"):
        load_suite(path, **changes)


def test_a_question_about_what_a_wildcard_could_mean_and_does_not_is_refused_with_the_plan(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, ASKED.replace('"resnet50"', '"resnet51"')))
    with pytest.raises(InputError, match="is about 'resnet51', which is none of its networks: cnn, resnet34"):
        plan_arms(suite)


@pytest.mark.parametrize("changes", [{"budgett": "2ep"}, {"batch_size": "64"}, {"device": 3}])
def test_a_bad_change_is_refused_like_a_bad_file(changes: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        load_suite("smoke", **changes)


def test_a_change_of_the_engine_does_not_hide_that_the_file_has_no_such_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'engine' is 'fast'"):
        load_suite(write(tmp_path, GOOD + "engine = 'fast'"), device="cpu")


@pytest.mark.parametrize(("seeds", "expected"), [(1, [0]), (3, [0, 1, 2]), ([5, 2], [5, 2])])
def test_seeds_are_a_number_of_them_or_which(seeds: object, expected: list[int]) -> None:
    assert make_suite({"name": "x", "models": ["cnn"], "seeds": seeds}).seed_list == expected


def test_a_network_is_not_held_against_itself(tmp_path: Path) -> None:
    same = ASKED.replace('against = "cnn"', 'against = "resnet34"')
    assert same != ASKED
    with pytest.raises(InputError, match="'resnet34' is held against itself"):
        load_suite(write(tmp_path, same))


@pytest.mark.parametrize("text", ["3x224x128", " 3X224X128 "])
def test_an_input_is_channels_height_width(text: str) -> None:
    assert parse_input(text) == (3, 224, 128)


@pytest.mark.parametrize("text", ["", "32", "32x32", "3x32x32x1", "3x0x32", "3x-1x32", "axbxc", "3 32 32"])
def test_a_bad_input_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match="3x224x224") as caught:
        parse_input(text)
    assert repr(text) in str(caught.value)
