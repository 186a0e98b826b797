from __future__ import annotations

from importlib import resources

import pytest

from resbench import published
from resbench.registry import list_models

CIFAR = {
    # family: every accuracy in percent, by epochs
    "R18": {26: [93.43, 93.36, 93.53], 80: [95.55, 95.32, 95.49], 200: [94.82, 93.02]},
    "R34": {200: [95.34]},
    "R50": {200: [95.55, 93.62]},
    "R101": {200: [95.58, 93.75]},
    "R152": {200: [95.76]},
}


def test_every_figure_is_there_with_its_source_and_no_other() -> None:
    found: dict[str, dict[int, list[float]]] = {}
    for figure in published.all_figures():
        assert figure.recipe
        assert figure.source
        if figure.dataset == "cifar10":
            assert (figure.stem, figure.image_size) == ("cifar", 32)
            assert figure.address is None or figure.address.startswith("https://github.com/")
            by_epochs = found.setdefault(figure.family, {}).setdefault(figure.epochs, [])
            by_epochs += [round(100 * accuracy, 2) for accuracy in figure.accuracies]
    assert found == CIFAR
    (fashion,) = (figure for figure in published.all_figures() if figure.dataset != "cifar10")
    assert (fashion.family, fashion.dataset, fashion.stem) == ("R18", "fashion_mnist", "source")
    assert (fashion.accuracies, fashion.epochs, fashion.image_size) == ((0.892,), 16, 224)


def test_the_figures_are_data_of_the_package() -> None:
    assert (resources.files("resbench") / "published.toml").is_file()


def test_the_run_to_run_deviation() -> None:
    assert published.run_to_run_sd() == 0.19
    assert published.shortest_training() == 16


def test_every_network_is_in_a_family_or_known_to_be_in_none() -> None:
    families = {model: published.family_of(model) for model in list_models()}
    assert families == {
        "cnn": None,
        "d2l_resnet18": "R18",
        "resnet34": "R34",
        "resnet50": "R50",
        "resnet50_nopool": "R50",
        "resnet152": "R152",
        "resnet152_frozen": None,
        "resnet50_half": None,
        "se_resnet50": None,
    }
    assert published.family_of("timm:resnet101") == "R101"
    assert published.family_of("timm:resnet26d") is None


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("cifar10", "cifar10"),
        ("cifar10-jpeg75", "cifar10"),
        ("cifar10_small", "cifar10"),
        ("cifar100", None),
        ("cifar10x", None),
        ("my-cifar10", None),
        ("fashion_mnist", "fashion_mnist"),
        ("fashion_mnist-folder", "fashion_mnist"),
        ("shapes10", None),
    ],
)
def test_which_figures_a_dataset_may_stand_beside(name: str, family: str | None) -> None:
    assert published.dataset_family(name) == family


@pytest.mark.parametrize(
    ("model", "dataset", "expected"),
    [
        ("d2l_resnet18", "cifar10", 0.9555),
        ("resnet34", "cifar10-jpeg75", 0.9534),
        ("resnet50_nopool", "cifar10", 0.9555),
        ("resnet152", "cifar10", 0.9576),
        ("d2l_resnet18", "fashion_mnist", 0.892),
        ("resnet34", "fashion_mnist", None),
        ("se_resnet50", "cifar10", None),
        ("resnet34", "shapes10", None),
    ],
)
def test_the_highest(model: str, dataset: str, expected: float | None) -> None:
    assert published.highest(model, dataset) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("model", "dataset", "accuracy", "implausible"),
    [
        ("d2l_resnet18", "cifar10", 0.9754, False),
        ("d2l_resnet18", "cifar10", 0.9756, True),
        ("resnet34", "cifar10-jpeg75", 0.999, True),
        ("se_resnet50", "cifar10", 0.977, False),
        ("se_resnet50", "cifar10", 0.978, True),
        ("cnn", "cifar10", 1.0, True),
        ("d2l_resnet18", "fashion_mnist", 0.95, False),
        ("d2l_resnet18", "cifar100", 0.999, False),
        ("d2l_resnet18", "shapes10", 1.0, False),
        ("d2l_resnet18", "pets", 1.0, False),
    ],
)
def test_what_is_implausible(model: str, dataset: str, accuracy: float, implausible: bool) -> None:
    reason = published.is_implausible(model, dataset, accuracy)
    assert (reason is not None) is implausible
    assert published.is_implausible(model, dataset, accuracy, weights="default") is None


def test_the_reason_names_both_figures() -> None:
    assert published.is_implausible("resnet34", "cifar10", 0.99) == (
        "a test accuracy of 99.00% is more than 2 points above the highest published for R34 on cifar10, 95.34%"
    )
    assert "for any network here on cifar10, 95.76%" in str(published.is_implausible("cnn", "cifar10", 0.99))
