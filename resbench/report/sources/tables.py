"""The tables of an experiment: what its arms were, what came out of them, and how they got there epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from resbench.report.curves import curve
from resbench.report.experiments.runs import ArmRun
from resbench.report.notes import IN_PARTS, SUSPECT
from resbench.report.numbers import MISSING, duration_with, percent, significant, with_deviation
from resbench.report.tables import Cell, Table
from resbench.stats import mean, standard_deviation

MOST_EPOCHS = 16
"""Rows of a table by epoch; of more evaluations it has some, the first and the last among them."""
ARMS_A_TABLE = 2
"""Arms side by side in a table by epoch, four columns each: more are too wide for a page."""
BY_EPOCH = (
    ("train loss", "train_loss", 1.0),
    ("train acc. (%)", "train_accuracy", 100.0),
    ("test loss", "test_loss", 1.0),
    ("test acc. (%)", "test_accuracy", 100.0),
)
"""Heading, column of ``epochs.csv``, and what it is multiplied by."""


def run_table(arms: Sequence[ArmRun]) -> Table:
    """Lists what was run, a row an arm: of what differs between its trials, every value."""
    headers = ["arm", "model", "recipe", "weights", "data", "input, stem", "batch", "budget", "done", "seeds ok"]
    headers += ["precision", "device"]
    rows = []
    for arm in arms:
        cells = [arm.name, *(_values(arm, column) for column in ("model", "recipe", "weights", "dataset"))]
        shapes = (_values(arm, "input"), _values(arm, "stem"))
        cells.append(", ".join(shape for shape in shapes if shape != MISSING) or MISSING)
        cells += [_values(arm, "batch_size"), _values(arm, "budget"), _done(arm)]
        cells += [
            f"{len(arm.ok)}/{len(arm.trials)}" if arm.trials else "not run",
            _values(arm, "precision"),
            _values(arm, "device_name"),
        ]
        rows.append([Cell(text) for text in cells])
    notes = [
        f"{arm.label}: the features of its frozen layers were computed once and kept."
        for arm in arms
        if True in arm.distinct("cached_features")
    ]
    return Table("", headers, rows, notes, frozenset(range(len(headers))) - {6})


def outcome_table(arms: Sequence[ArmRun]) -> Table:
    """Lists what came out, a row an arm, as means over its trials that ended ``ok``."""
    headers = [
        "arm",
        "params (M)",
        "trained params (M)",
        "MACs (M)",
        "test accuracy (%)",
        "best epoch (optimistic) (%)",
    ]
    headers += ["train accuracy (%)", "time an epoch", "train images/s", "latency p50 (ms)", "train memory (MiB)"]
    rows = []
    for arm in arms:
        parts = f" {IN_PARTS}" if arm.in_parts else ""
        cells = [f"{arm.name} {SUSPECT}" if arm.suspects else arm.name]
        cells += [_millions(arm.mean(column)) for column in ("params", "trainable_params", "macs")]
        cells += [_accuracy(arm, column) for column in ("test_accuracy", "best_test_accuracy", "train_accuracy")]
        times = _epoch_times(arm)
        cells += [duration_with(mean(times), standard_deviation(times)) + parts]
        cells += [_measured(arm, "train_images_per_second") + parts, _measured(arm, "latency_ms_p50", digits=3)]
        cells += [_measured(arm, "peak_memory_allocated_mib") + parts]
        rows.append([Cell(text) for text in cells])
    return Table("", headers, rows, list(_outcome_notes(arms)))


def _epoch_times(arm: ArmRun) -> list[float]:
    """Returns the train clock (data + step) of a whole epoch of each trial; scaled where less was run."""
    return [
        row["train_clock_s"] / row["epochs"] for row in arm.ok if row["epochs"] and row["train_clock_s"] is not None
    ]


def _measured(arm: ArmRun, column: str, digits: int = 4) -> str:
    """Writes a mean and its standard deviation."""
    values = [float(value) for value in arm.values(column)]
    return with_deviation(mean(values), standard_deviation(values), digits)


def epoch_tables(arms: Sequence[ArmRun]) -> Iterator[Table]:
    """Yields the arms' figures epoch by epoch, means over the seeds; nothing where none was evaluated twice."""
    figures = {arm.name: found for arm in arms if (found := _by_epoch(arm))}
    if not any(len(found) > 1 for found in figures.values()):
        return
    labels = list(figures)
    every = sorted({epoch for found in figures.values() for epoch in found})
    for start in range(0, len(labels), ARMS_A_TABLE):
        shown = labels[start : start + ARMS_A_TABLE]
        epochs = sorted({epoch for label in shown for epoch in figures[label]})
        headers = ["epoch", *(f"{label}: {heading}" for label in shown for heading, _, _ in BY_EPOCH)]
        rows = [
            [Cell(f"{epoch:g}"), *(Cell(text) for label in shown for text in figures[label].get(epoch, _NOTHING))]
            for epoch in _thinned(epochs)
        ]
        yield Table("", headers, rows, list(_epoch_notes(every)) if start + ARMS_A_TABLE >= len(labels) else [])


_NOTHING = (MISSING,) * len(BY_EPOCH)


def _by_epoch(arm: ArmRun) -> dict[float, tuple[str, ...]]:
    """Returns an arm's four figures at each evaluation, formatted, by epoch."""
    if arm.epochs is None:
        return {}
    curves = [(curve(arm.epochs, "epoch", of=column, factor=factor), factor) for _, column, factor in BY_EPOCH]
    texts = [
        [f"{value:.2f}" if factor > 1 else significant(value, 4) for value in found.mean]
        for found, factor in curves
        if found
    ]
    first = curves[0][0]
    return dict(zip((round(x, 4) for x in first.x), zip(*texts, strict=True), strict=True)) if first else {}


def _thinned(epochs: list[float]) -> list[float]:
    """Returns at most :data:`MOST_EPOCHS` of the epochs, evenly spread, the first and the last among them."""
    if len(epochs) <= MOST_EPOCHS:
        return epochs
    last = len(epochs) - 1
    return [epochs[round(place * last / (MOST_EPOCHS - 1))] for place in range(MOST_EPOCHS)]


def _epoch_notes(epochs: list[float]) -> Iterator[str]:
    """Says what the figures of a table by epoch are."""
    yield (
        "Means over the seeds. Train figures are taken during the epoch, on the images and with the loss that the "
        "recipe trains with; test figures after it, on test images as they are."
    )
    if len(epochs) > MOST_EPOCHS:
        yield f"Some of {len(epochs)} evaluations; the suite's epochs.csv has all."


def _outcome_notes(arms: Sequence[ArmRun]) -> Iterator[str]:
    """Says what the figures are, as far as the table has them."""
    measured = [arm for arm in arms if arm.ok]
    if any(len(arm.values("test_accuracy")) > 1 for arm in measured):
        yield "Mean ± standard deviation over n seeds. Test accuracy: that of the last epoch."
    if any(len(arm.values("test_accuracy")) == 1 for arm in measured):
        yield "A test accuracy without ± is that of one seed."
    short = [arm.name for arm in measured if any((row["epochs"] or 1) < 1 for row in arm.ok)]
    if short:
        yield f"Time an epoch of {', '.join(short)} is scaled up from the part of one epoch that was run."
    if any(arm.in_parts for arm in measured):
        yield f"{IN_PARTS} Batches ran in parts, for memory ran out: not comparable."
    if any(arm.suspects for arm in measured):
        yield f"{SUSPECT} A row of it is suspect: see what to conclude."


def _accuracy(arm: ArmRun, column: str) -> str:
    """Writes a mean accuracy in percent; the headline with its spread."""
    values = [float(value) for value in arm.values(column)]
    spread = standard_deviation(values) if column == "test_accuracy" else None
    return percent(arm.mean(column)) + (f" ± {percent(spread)} (n={len(values)})" if spread is not None else "")


def _millions(value: float | None) -> str:
    return significant(value / 1e6 if value is not None else None)


def _values(arm: ArmRun, column: str) -> str:
    """Writes every value of a column; what only a trial that ran knows is missing before."""
    return ", ".join(str(value) for value in arm.distinct(column)) or _asked(arm, column) or MISSING


def _asked(arm: ArmRun, column: str) -> str:
    """Writes what an arm without trials was to be, as far as it says so itself."""
    value: Any = getattr(arm.asked, column, None) if not arm.trials else None
    return "" if value is None else str(value)


def _done(arm: ArmRun) -> str:
    """Writes the steps and epochs of the trials that ended ``ok``."""
    steps = ", ".join(f"{value:,}" for value in dict.fromkeys(arm.values("steps")))
    epochs = ", ".join(
        significant(value, 3) if value % 1 else f"{value:.0f}" for value in dict.fromkeys(arm.values("epochs"))
    )
    return f"{steps} steps, {epochs} ep" if steps and epochs else MISSING
