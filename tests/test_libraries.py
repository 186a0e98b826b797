"""Libraries of networks: their names, wildcards, what is asked of them, and what is refused."""

from __future__ import annotations

import pytest
from torch import nn

from resbench import libraries
from resbench.errors import DuplicateModelError, InputError
from resbench.libraries import no_match, register_library
from resbench.registry import ModelEntry, create_model, list_models, model_entry

ANIMALS = ["bear10", "ape", "bear9", "Bear"]


def animal(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    """One linear layer."""
    return nn.Linear(in_channels, num_classes)


def zoo_entry(name: str) -> ModelEntry:
    """A library in which every name is a network, which comes as its source has it only."""
    return ModelEntry(f"zoo:{name}", source="a test", summary=f"A {name}.", builder=animal, stems=("source",))


@pytest.fixture
def zoo(monkeypatch):
    """A library of its own for a test; the real ones stay as they are."""
    list_models()
    monkeypatch.setattr(libraries, "_LIBRARIES", dict(libraries._LIBRARIES))
    assert register_library("zoo", names=lambda: ANIMALS)(zoo_entry) is zoo_entry


@pytest.mark.usefixtures("zoo")
def test_a_library_answers_for_the_names_with_its_prefix():
    assert model_entry("zoo:ape:2").summary == "A ape:2."
    network = create_model("zoo:ape", num_classes=4, in_channels=2)
    assert (network.in_features, network.out_features) == (2, 4)


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("zoo:*", ["zoo:Bear", "zoo:ape", "zoo:bear9", "zoo:bear10"]),
        ("zoo:bear*", ["zoo:bear9", "zoo:bear10"]),
        ("zoo:ape", ["zoo:ape"]),
        ("zoo:cat*", []),
        ("zo*:ape", []),
        ("zoo:", []),
    ],
)
def test_a_wildcard_behind_the_prefix_means_the_librarys_networks_in_natural_order(pattern, expected):
    assert list_models(pattern) == expected


@pytest.mark.usefixtures("zoo")
def test_a_wildcard_without_a_prefix_means_the_registry_alone():
    assert not [name for name in list_models("*") if ":" in name]


@pytest.mark.usefixtures("zoo")
def test_a_stem_that_a_network_does_not_come_with_is_refused():
    with pytest.raises(InputError, match="only the source stem is available for model 'zoo:ape', not 'cifar'"):
        create_model("zoo:ape", stem="cifar")


@pytest.mark.usefixtures("zoo")
def test_a_librarys_networks_take_no_weights():
    with pytest.raises(InputError, match="model 'zoo:ape' takes no weights"):
        create_model("zoo:ape", weights="default")


@pytest.mark.usefixtures("zoo")
def test_a_second_library_with_the_same_prefix_is_refused():
    with pytest.raises(DuplicateModelError, match="library 'zoo' is already registered"):
        register_library("zoo", names=list)(model_entry)
    assert model_entry("zoo:ape").summary == "A ape."


@pytest.mark.parametrize("prefix", ["", "my zoo", "zoo:", "z*"])
def test_a_prefix_that_a_name_could_not_begin_with_is_refused(prefix):
    with pytest.raises(InputError, match="the library prefix"):
        register_library(prefix, names=list)(zoo_entry)


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("zoo:beer9*", "no model matches 'zoo:beer9*'. Did you mean zoo:bear9 or "),
        ("zoo:q*", "no model matches 'zoo:q*'. `resbench list 'zoo:*'` shows all 4."),
        (
            "ape*",
            "no model matches 'ape*'. `resbench list` shows all 1. A library's networks are asked for by its name: ",
        ),
        ("zo:ape*", "'timm:ape*' or 'torchvision:ape*' or 'zoo:ape*'."),
    ],
)
def test_a_pattern_that_matches_nothing_is_met_with_what_there_is(pattern, message):
    assert message in str(no_match(pattern, ["resnet50"]))
