"""The registry: names, order, refusals, and what every registered network must offer."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
from torch import nn

from resbench import registry
from resbench.errors import DuplicateModelError, InputError
from resbench.registry import (
    STEMS,
    create_model,
    list_models,
    model_entry,
    register_model,
)

NAMES = [
    "cnn",
    "d2l_resnet18",
    "resnet34",
    "resnet50",
    "resnet50_half",
    "resnet50_nopool",
    "resnet152",
    "resnet152_frozen",
    "se_resnet50",
]


def tiny(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    """One linear layer.

    More on it, which is no part of the summary.
    """
    return nn.Linear(in_channels, num_classes)


@pytest.fixture
def own_registry(monkeypatch):
    """A copy of the registry for tests that register: the real one never sees their networks."""
    list_models()
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))


def test_the_suites_networks_come_in_natural_order():
    """152 after 50, and nothing besides what DESIGN names and the control of se_resnet50."""
    assert list_models() == NAMES


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("resnet50*", ["resnet50", "resnet50_half", "resnet50_nopool"]),
        ("*resnet50", ["resnet50", "se_resnet50"]),
        ("resnet??", ["resnet34", "resnet50"]),
        ("[cd]*", ["cnn", "d2l_resnet18"]),
        ("resnet34", ["resnet34"]),
        ("ResNet*", []),
        ("", []),
    ],
)
def test_wildcards_match_whole_names_in_their_own_case(pattern, expected):
    assert list_models(pattern) == expected


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_says_where_it_comes_from_and_what_it_is(name):
    entry = model_entry(name)
    assert entry.name == name
    assert entry.source
    assert entry.summary.endswith(".")
    assert "\n" not in entry.summary


@pytest.mark.parametrize("name", NAMES)
def test_every_builder_takes_the_three_keywords_and_has_the_documented_defaults(name):
    parameters = inspect.signature(model_entry(name).builder).parameters
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values())
    defaults = {keyword: parameters[keyword].default for keyword in ("num_classes", "in_channels", "stem")}
    assert defaults == {"num_classes": 10, "in_channels": 3, "stem": "source"}


def test_only_the_cnn_depends_on_the_input_size_and_only_torchvisions_take_weights():
    assert [name for name in NAMES if model_entry(name).accepts_input_size] == ["cnn"]
    assert [name for name in NAMES if model_entry(name).accepts_weights] == ["resnet152", "resnet152_frozen"]


@pytest.mark.usefixtures("own_registry")
def test_a_registered_builder_is_listed_built_and_returned_as_it_is():
    assert register_model("tiny", source="a test")(tiny) is tiny
    assert list_models("t*") == ["tiny"]
    assert model_entry("tiny").summary == "One linear layer."
    network = create_model("tiny", num_classes=4, in_channels=2, stem="cifar")
    assert (network.in_features, network.out_features) == (2, 4)


def test_what_the_test_before_registered_is_gone():
    assert list_models("t*") == []


@pytest.mark.usefixtures("own_registry")
def test_a_summary_given_outranks_the_docstring():
    register_model("tiny", source="a test", summary="Small.")(tiny)
    assert model_entry("tiny").summary == "Small."


@pytest.mark.usefixtures("own_registry")
def test_optional_arguments_reach_the_builders_that_declare_them():
    seen = {}

    @register_model("curious", source="a test")
    def curious(*, num_classes, in_channels, stem, input_size, weights):
        seen.update(input_size=input_size, weights=weights)
        return nn.Identity()

    create_model("curious", input_size=(48, 64), weights="a.pth")
    assert seen == {"input_size": (48, 64), "weights": "a.pth"}


@pytest.mark.usefixtures("own_registry")
def test_a_second_registration_raises_and_leaves_the_first():
    before = model_entry("resnet34")
    with pytest.raises(DuplicateModelError, match=r"'resnet34' is already registered"):
        register_model("resnet34", source="a test")(tiny)
    assert model_entry("resnet34") is before
    assert list_models() == NAMES


def test_a_name_of_the_projects_is_refused_even_before_the_registry_was_asked():
    """In a fresh process, the first thing done is to register under a taken name."""
    code = (
        "import resbench.registry as r\n"
        "try: r.register_model('cnn', source='mine')(lambda *, num_classes, in_channels, stem: None)\n"
        "except r.DuplicateModelError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "refused"


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize(
    "builder",
    [
        lambda *, num_classes, in_channels: nn.Identity(),
        lambda *, num_classes, in_channels, stem, depth: nn.Identity(),
    ],
)
def test_a_builder_with_other_keywords_is_refused(builder):
    with pytest.raises(InputError, match="must take the keywords in_channels, num_classes, stem"):
        register_model("odd", source="a test")(builder)
    assert list_models("odd") == []


@pytest.mark.usefixtures("own_registry")
def test_a_colon_in_a_name_is_refused():
    with pytest.raises(InputError, match="the model name 'mine:tiny' has a colon"):
        register_model("mine:tiny", source="a test")(tiny)


def test_every_network_of_the_projects_comes_with_both_stems():
    assert {model_entry(name).stems for name in NAMES} == {STEMS}


@pytest.mark.parametrize("name", ["zoo:ape", "timm:", ":resnet50"])
def test_a_prefix_of_no_library_and_a_prefix_alone_are_unknown_names(name):
    with pytest.raises(
        InputError, match=rf"unknown model '{name}'\..* Accepted: cnn, .*, timm:NAME, torchvision:NAME\."
    ):
        model_entry(name)


def test_an_unknown_name_is_met_with_the_nearest_ones():
    with pytest.raises(InputError, match=r"unknown model 'resnet51'\. Did you mean resnet50 or"):
        create_model("resnet51")


def test_an_unknown_stem_is_met_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown stem 'cifr'\. Did you mean cifar\? Accepted: source, cifar"):
        create_model("resnet34", stem="cifr")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes is 0"),
        ({"num_classes": 2.5}, "num_classes is 2.5"),
        ({"in_channels": -1}, "in_channels is -1"),
        ({"input_size": (0, 32)}, "input height is 0"),
        ({"input_size": (32, -3)}, "input width is -3"),
    ],
)
def test_numbers_below_one_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        create_model("cnn", **options)


@pytest.mark.parametrize("name", ["cnn", "resnet34"])
def test_weights_for_a_network_that_takes_none_are_refused(name):
    with pytest.raises(InputError, match="takes no weights; those that do: resnet152, resnet152_frozen"):
        create_model(name, weights="default")
