"""A folder's test accuracies beside the published ones of the same kind of network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from resbench import published
from resbench.compare.cells import MeasuredCell, read_cells
from resbench.published import Figure
from resbench.report.beside_published import NO_FIGURE, NOTHING, RUN_TO_RUN, Beside, PublishedComparison, PublishedRow
from resbench.report.numbers import percent
from resbench.stats import t_half_width

if TYPE_CHECKING:
    from resbench.store import Results

_STEMS = {"cifar": "3x3 stem", "source": "7x7 stem"}
"""What a published figure's stem is called."""


def beside_published(results: Results) -> PublishedComparison:
    """Puts the mean test accuracy of every cell beside the published figures of its network and dataset.

    Args:
        results: What a results folder holds.
    """
    return PublishedComparison([_row(cell) for cell in read_cells(results.trials)])


def _row(cell: MeasuredCell) -> PublishedRow:
    """Returns one cell's row."""
    name, dataset, weights = (cell.value(column) for column in ("model", "dataset", "weights"))
    figures = published.figures_for(name, dataset) if weights == "random" else []
    accuracies = [percentage / 100 for _, percentage in cell.figures["test_accuracy"]]
    mean = fmean(accuracies) if accuracies else None
    row = PublishedRow(
        cell.model,
        cell.words,
        NOTHING if mean is None else NO_FIGURE,
        len(accuracies),
        mean,
        t_half_width(accuracies),
        tuple(Beside(figure, tuple(_differences(cell, figure))) for figure in figures),
    )
    notes = [] if figures else [_why_none(name, dataset, weights)]
    if mean is None:
        notes.append(f"no ok trial: {cell.endings}")
    elif reason := published.is_implausible(name, dataset, mean, weights=weights):
        notes.append(f"hard to believe: {reason}")
    if cell.suspicions:
        notes.append(f"suspect: {'; '.join(dict.fromkeys(cell.suspicions.values()))}")
    return _placed(replace(row, notes=tuple(notes)))


def _placed(row: PublishedRow) -> PublishedRow:
    """Says where a row lies of its band, where it has an accuracy and a band."""
    if row.test_accuracy is None or row.band is None:
        return row
    mean, half = row.test_accuracy, row.ci95
    low, high = row.band[0] - RUN_TO_RUN, row.band[1] + RUN_TO_RUN
    verdict = "below" if mean < low else "above" if mean > high else "within"
    notes = row.notes
    if verdict != "within" and half is not None and low - half <= mean <= high + half:
        notes = (*notes, f"its interval of ± {percent(half)} reaches the published band")
    return replace(row, verdict=verdict, notes=notes)


def _why_none(model: str, dataset: str, weights: str) -> str:
    """Says why no figure may stand beside a cell."""
    if weights != "random":
        return "pretrained: every figure is of a network trained from scratch"
    if published.dataset_family(dataset) is None:
        return f"no figures for the dataset {dataset}"
    if published.family_of(model) is None:
        return f"no figures for the network {model}"
    return f"no figures for {published.family_of(model)} on {published.dataset_family(dataset)}"


def _differences(cell: MeasuredCell, figure: Figure) -> Iterator[str]:
    """Yields how a cell's training was another than a published one; the recipes always are."""
    if (dataset := cell.value("dataset")) != figure.dataset:
        yield f"other data: {dataset}"
    if cell.epochs is not None and round(cell.epochs, 2) != figure.epochs:
        yield f"{round(cell.epochs, 2):g} epochs, not {figure.epochs}"
    if (stem := cell.value("stem")) != figure.stem:
        yield f"{stem} stem, not {_STEMS[figure.stem]}"
    if (size := _height(cell.value("input"))) != figure.image_size:
        yield f"{size} pixels a side, not {figure.image_size}"
    yield f"recipe {cell.value('recipe')}, batch {cell.value('batch_size')}"


def _height(shape: str) -> int:
    """Returns the height in an input such as ``3x32x32``."""
    return int(shape.split("x")[1])
