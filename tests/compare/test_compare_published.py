"""A folder's accuracies beside published ones."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from folders import results_of
from records import make_record, make_trial
from rich.console import Console

from resbench.compare.against_published import beside_published
from resbench.report.beside_published import RUN_TO_RUN, PublishedComparison, PublishedRow
from resbench.stats import t_half_width


def held(*accuracies: float, model: str = "d2l_resnet18", dataset: str = "cifar10", **changes: Any) -> PublishedRow:
    """The row of a cell with a seed for each accuracy."""
    records = [
        make_record(make_trial(model, seed, dataset=dataset), test_accuracy=value, **changes)
        for seed, value in enumerate(accuracies)
    ]
    (row,) = beside_published(results_of(*records)).rows
    return row


@pytest.mark.parametrize(
    ("model", "dataset", "accuracies", "verdict", "note"),
    [
        ("d2l_resnet18", "cifar10", [0.934], "within", ""),
        ("d2l_resnet18", "cifar10", [0.9302 - RUN_TO_RUN + 1e-6], "within", ""),
        ("d2l_resnet18", "cifar10", [0.9302 - RUN_TO_RUN - 1e-6], "below", ""),
        ("d2l_resnet18", "cifar10", [0.9555 + RUN_TO_RUN + 1e-6], "above", ""),
        ("d2l_resnet18", "cifar10", [0.924, 0.925, 0.932], "within", ""),
        ("d2l_resnet18", "cifar10", [0.91, 0.92, 0.93], "below", "reaches the published band"),
        ("d2l_resnet18", "cifar10", [0.99], "above", "hard to believe"),
        ("resnet34", "cifar10-jpeg75", [0.953], "within", ""),
        ("se_resnet50", "cifar10", [0.95], "no published figure", "no figures for the network se_resnet50"),
        ("resnet34", "fashion_mnist", [0.9], "no published figure", "no figures for R34 on fashion_mnist"),
        ("d2l_resnet18", "fashion_mnist", [0.892], "within", ""),
        ("d2l_resnet18", "cifar100", [0.7], "no published figure", "no figures for the dataset cifar100"),
        ("d2l_resnet18", "shapes10", [1.0], "no published figure", "no figures for the dataset shapes10"),
    ],
)
def test_golden(model: str, dataset: str, accuracies: list[float], verdict: str, note: str) -> None:
    row = held(*accuracies, model=model, dataset=dataset)
    assert row.verdict == verdict
    assert row.test_accuracy == pytest.approx(sum(accuracies) / len(accuracies))
    assert note in "; ".join(row.notes)


def test_the_band_and_the_interval() -> None:
    row = held(0.93, 0.935, 0.94)
    assert row.band == (0.9302, 0.9555)
    assert (row.seeds, row.ci95) == (3, t_half_width([0.93, 0.935, 0.94]))
    assert held(0.93).ci95 is None
    assert held(0.93, model="cnn").band is None


def test_what_differs_is_said_of_each_figure() -> None:
    row = held(0.93, dataset="cifar10-jpeg75", epochs=26.0, stem="source", input="3x64x64", recipe="common")
    differences = {(one.figure.source, one.figure.epochs): one.differs for one in row.beside}
    shared = (
        "source stem, not 3x3 stem",
        "64 pixels a side, not 32",
        "recipe common, batch 512",
    )
    assert differences["cifar10-zoo", 26] == ("other data: cifar10-jpeg75", *shared)
    assert differences["mmpretrain", 200] == ("other data: cifar10-jpeg75", "26 epochs, not 200", *shared)
    (fashion,) = held(0.89, dataset="fashion_mnist", epochs=0.26).beside
    assert fashion.differs == (
        "0.26 epochs, not 16",
        "cifar stem, not 7x7 stem",
        "32 pixels a side, not 224",
        "recipe baseline, batch 512",
    )


def test_pretrained_networks_and_suspect_trials_are_told_apart() -> None:
    pretrained = held(0.98, model="resnet152", weights="default")
    assert pretrained.verdict == "no published figure"
    assert pretrained.notes == ("pretrained: every figure is of a network trained from scratch",)
    suspect = held(0.934, verdict="suspect", verdict_reasons=["2 threads were busy"])
    assert suspect.notes == ("suspect: 2 threads were busy",)


def test_a_cell_that_measured_nothing_has_a_row() -> None:
    trial = make_trial("resnet34", dataset="cifar10")
    comparison = beside_published(results_of(make_record(trial, status="oom", test_accuracy=None, epochs=None)))
    (row,) = comparison.rows
    assert (row.verdict, row.test_accuracy, row.notes) == ("nothing measured", None, ("no ok trial: oom",))
    assert comparison.exit_code == 4
    assert "nothing measured" in comparison.to_markdown()


def test_no_region_is_a_regression_and_none_at_all_is_not_comparable() -> None:
    def exit_code(model: str, accuracy: float) -> int:
        return PublishedComparison([held(accuracy, model=model)]).exit_code

    assert (exit_code("resnet34", 0.1), exit_code("resnet34", 0.953), exit_code("cnn", 0.9)) == (0, 0, 4)


def test_rendering() -> None:
    rows = [held(0.93, 0.94), held(0.953, model="resnet34"), held(0.9, model="cnn")]
    comparison = PublishedComparison(rows)
    page = comparison.to_markdown()
    assert page.count("| d2l_resnet18 ") == 4
    assert "93.50 ± 6.35 (n=2)" in page
    assert "93.43 / 93.36 / 93.53" in page
    assert "https://github.com/open-mmlab/mmpretrain" in page
    console = Console(file=io.StringIO(), width=250)
    console.print(comparison.to_rich())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "test accuracy 93.50 ± 6.35 (n=2) %: within the published 93.02 to 95.55" in text
    assert "test accuracy 95.30 %: within the published 95.34\n" in text.replace(" \n", "\n")
    assert "no figures for the network cnn" in text
    data = json.loads(json.dumps(comparison.to_json(), allow_nan=False))
    assert data["exit_code"] == 0
    assert data["rows"][0]["band"] == [0.9302, 0.9555]
    assert data["rows"][0]["beside"][0]["figure"]["source"] == "cifar10-zoo"
    assert data["rows"][2]["band"] is None
