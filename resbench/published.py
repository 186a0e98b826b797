"""Published accuracies to hold one's own beside, shipped as data with their sources in ``published.toml``.

They are other people's recipes on other machines: they say in which region a figure should lie, never which of two
networks is the better one. Accuracies are in percent there, and fractions (0..1) in what the functions here return,
as in every record.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

IMPLAUSIBLE_MARGIN = 0.02
"""How far above the highest published figure an accuracy is no longer believed. Better recipes than the published
ones gain about one percentage point at these sizes, leaked test images gain more than two."""

BOUNDED = ("cifar10",)
"""Datasets whose published figures come from long trainings by good recipes, so that they bound what is plausible."""


@dataclass(frozen=True)
class Figure:
    """One published accuracy, with all that is known of how it came about."""

    family: str
    """``R18`` and the like, or as the source calls it."""
    dataset: str
    stem: str
    image_size: int
    """Height and width of what the network saw."""
    accuracies: tuple[float, ...]
    """Test accuracy of each run that is reported, a fraction."""
    epochs: int
    recipe: str
    """In words."""
    source: str
    address: str | None

    @property
    def mean(self) -> float:
        """Mean over the reported runs, a fraction."""
        return sum(self.accuracies) / len(self.accuracies)


@cache
def _data() -> dict[str, Any]:
    """Reads the figures, once."""
    return tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))


@cache
def all_figures() -> tuple[Figure, ...]:
    """Returns every published figure."""
    sources = _data()["sources"]
    return tuple(
        Figure(
            family=entry["family"],
            dataset=entry["dataset"],
            stem=entry["stem"],
            image_size=entry["image_size"],
            accuracies=tuple(round(percent / 100, 6) for percent in entry["accuracy"]),
            epochs=entry["epochs"],
            recipe=entry["recipe"],
            source=sources[entry["source"]]["title"],
            address=sources[entry["source"]].get("address"),
        )
        for entry in _data()["figures"]
    )


def run_to_run_sd() -> float:
    """Returns the largest published standard deviation of CIFAR-10 accuracy from run to run, in percentage points."""
    return max(sd for entry in _data()["run_to_run"] for sd in entry["sd"])


def shortest_training() -> int:
    """Returns the epochs of the shortest training that :func:`run_to_run_sd` is of."""
    return min(entry["epochs"][0] for entry in _data()["run_to_run"])


def family_of(model: str) -> str | None:
    """Returns which published family a registered network belongs to, or ``None``."""
    return next((family for family, models in _data()["families"].items() if model in models), None)


def dataset_family(dataset: str) -> str | None:
    """Returns the published dataset whose figures may stand beside a dataset's, or ``None``.

    Re-encoded images and copies in a folder carry a name that begins with the original's (``cifar10-jpeg75``);
    ``cifar100`` is another dataset.
    """
    known = dict.fromkeys(figure.dataset for figure in all_figures())
    return next((name for name in known if re.match(rf"{re.escape(name)}(?![0-9A-Za-z])", dataset)), None)


def figures_for(model: str, dataset: str) -> list[Figure]:
    """Returns the published figures of a network's family on a dataset's family, as the data have them."""
    family, data = family_of(model), dataset_family(dataset)
    return [figure for figure in all_figures() if data and (figure.family, figure.dataset) == (family, data)]


def highest(model: str, dataset: str) -> float | None:
    """Returns the highest published accuracy of a network's family on a dataset's family.

    Args:
        model: A registry name.
        dataset: A dataset's name, as rows carry it, or its family's.

    Returns:
        A fraction (0..1); ``None`` where nothing was published.
    """
    return max((max(figure.accuracies) for figure in figures_for(model, dataset)), default=None)


def is_implausible(model: str, dataset: str, test_accuracy: float, *, weights: str = "random") -> str | None:
    """Says why an accuracy is too good to be believed.

    Above the highest published figure of the network's family by more than :data:`IMPLAUSIBLE_MARGIN`; for a family
    without figures, that of all. Pretrained networks are not judged, since every published figure is of a network
    trained from scratch, and neither are datasets outside :data:`BOUNDED`.

    Args:
        model: A registry name.
        dataset: A dataset's name, as rows carry it.
        test_accuracy: A fraction (0..1).
        weights: Where the initial weights came from, as rows have it.

    Returns:
        One sentence, or ``None`` where the accuracy is fine or nothing published bounds it.
    """
    data = dataset_family(dataset)
    if data not in BOUNDED or weights != "random":
        return None
    own = highest(model, dataset)
    bound = own or max(max(figure.accuracies) for figure in all_figures() if figure.dataset == data)
    if test_accuracy <= bound + IMPLAUSIBLE_MARGIN:
        return None
    whose = f"for {family_of(model)}" if own else "for any network here"
    return (
        f"a test accuracy of {test_accuracy:.2%} is more than {100 * IMPLAUSIBLE_MARGIN:g} points above the highest "
        f"published {whose} on {data}, {bound:.2%}"
    )
