"""Two results folders, cell by cell and metric by metric."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resbench.compare.cells import LEARNING, SPEED, MeasuredCell, differing, explain, mixed, read_cells
from resbench.compare.judging import NOTHING_KNOWN, SIGNIFICANCE, Spread, accuracy_spread, judge
from resbench.compare.matching import pair_cells
from resbench.compare.metrics import METRICS, Limit, Metric, Thresholds, limit_of, noise_floors, repeatability
from resbench.errors import InputError, unknown
from resbench.report.comparison import Comparison, ComparisonRow
from resbench.report.numbers import count
from resbench.stats import mean

if TYPE_CHECKING:
    from resbench.report.beside_published import PublishedComparison
    from resbench.store import Results


@dataclass(frozen=True)
class Rules:
    """What the rows of one comparison are judged by; by metric's column."""

    limits: dict[str, Limit]
    spreads: dict[str, Spread]
    """Of speed and memory: how far readings deviate, where that was measured."""
    tests: int
    """Of speed and memory."""


def compare_with(
    base: Path, new: Path | None, *, against: str | None = None, thresholds: Thresholds | None = None
) -> Comparison | PublishedComparison:
    """Compares a results folder with another one, or with published figures: what ``resbench compare`` does.

    Args:
        base: The folder that was, or the one to hold beside published figures.
        new: The folder that is.
        against: ``published`` in the place of ``new``.
        thresholds: The smallest differences that count, between two folders.

    Raises:
        InputError: A folder cannot be read, or it is not one of ``new`` and ``against`` that was given.
        NothingMeasuredError: A folder's records are empty.
    """
    from resbench.compare.against_published import beside_published
    from resbench.store import load_results

    if against not in (None, "published"):
        raise unknown("thing to compare against", str(against), ["published"])
    if (new is None) == (against is None):
        given = "Both a second results folder and --against were" if new is not None else "Only one results folder was"
        raise InputError(f"{given} given: give either BASE NEW or BASE --against published.")
    if new is None:
        if thresholds not in (None, Thresholds()):
            raise InputError("a threshold is for two results folders; published figures are a band.")
        return beside_published(load_results(base))
    return compare(load_results(base), load_results(new), thresholds)


def compare(base: Results, new: Results, thresholds: Thresholds | None = None) -> Comparison:
    """Compares every cell of ``base`` with the cell of ``new`` that has the same identity.

    Args:
        base: The results that were.
        new: The results that are.
        thresholds: The smallest differences that count.
    """
    thresholds = thresholds or Thresholds()
    floors = noise_floors(base, new)
    limits = {metric.source: limit_of(metric, thresholds, floors) for metric in METRICS}
    spreads = {column: Spread(*found) for column, found in repeatability(base, new).items()}
    left = read_cells(base.trials, hits=base.hits)
    pairs, left_over = pair_cells(left, read_cells(new.trials, hits=new.hits))
    tests = sum(
        bool(left[index].values(metric) and cell.values(metric))
        for index, cell in pairs.items()
        if not differing(left[index], cell, (*LEARNING, *SPEED))
        for metric in METRICS
        if not metric.is_accuracy
    )
    rules = Rules(limits, spreads, max(1, tests))
    rows: list[ComparisonRow] = []
    for index, cell in enumerate(left):
        if index in pairs:
            rows += _compare_cells(cell, pairs[index], rules)
        else:
            rows.append(_refused(cell, "not in NEW"))
    rows += [_refused(cell, "not in BASE") for cell in left_over]
    return Comparison(rows, significance=SIGNIFICANCE, thresholds=asdict(thresholds), noise_floors=floors)


def _refused(cell: MeasuredCell, note: str) -> ComparisonRow:
    """Returns the row of a cell that cannot be compared in anything."""
    return ComparisonRow(cell.model, cell.words, "all", "not comparable", notes=(note,))


def _compare_cells(base: MeasuredCell, new: MeasuredCell, rules: Rules) -> Iterator[ComparisonRow]:
    """Yields the rows of two cells of one model."""
    if learning := differing(base, new, LEARNING):
        yield _refused(base, explain(base, new, learning))
        return
    if not base.ok_seeds:
        yield _refused(base, f"no ok trial in BASE: {base.endings}")
        return
    failed = {
        seed: status
        for seed, status in sorted(new.failures.items())
        if (seed in base.ok_seeds or not new.ok_seeds) and seed not in base.failures
    }
    if failed:
        how = "; ".join(f"seed {seed} {status}" for seed, status in failed.items())
        yield ComparisonRow(base.model, base.words, "status", "new failure", notes=(f"{how}; ok in BASE",))
    if not new.ok_seeds:
        if not failed:  # what failed in BASE too
            yield _refused(base, f"no ok trial in NEW: {new.endings}")
        return
    speed = differing(base, new, SPEED)
    other_machine = explain(base, new, speed)
    if not speed and (several := mixed(base, new)):
        speed = several
        other_machine = f"its seeds ran on different machines: {explain(base, new, several)}"
    for metric in METRICS:
        left, right = base.values(metric), new.values(metric)
        if left and right and (metric.is_accuracy or not speed):
            yield _judged(base, new, metric, rules)
        elif left or right:
            note = other_machine if left and right else f"not measured in {'NEW' if left else 'BASE'}"
            yield ComparisonRow(
                base.model,
                base.words,
                metric.name,
                "not comparable",
                mean(left),
                mean(right),
                points=metric.is_accuracy,
                notes=(note,),
            )


def _judged(base: MeasuredCell, new: MeasuredCell, metric: Metric, rules: Rules) -> ComparisonRow:
    """Returns the row of a metric that both cells have, measured alike."""
    limit, values = rules.limits[metric.source], (base.values(metric), new.values(metric))
    known = accuracy_spread(base, *values) if metric.is_accuracy else rules.spreads.get(metric.source, NOTHING_KNOWN)
    found = judge(metric, *values, limit, known, tests=rules.tests)
    return ComparisonRow(
        base.model,
        base.words,
        metric.name,
        found.verdict,
        found.base,
        found.new,
        found.change if math.isfinite(found.change) else None,
        found.p,
        metric.is_accuracy,
        (*found.notes, *_doubts(base, new, metric)),
        test=found.test,
        limit=limit.size,
        limit_from=limit.decided_by,
    )


def _doubts(base: MeasuredCell, new: MeasuredCell, metric: Metric) -> Iterator[str]:
    """Yields what makes a verdict less certain than its p: other seeds, suspect trials."""
    yield from other_seeds(base, new, metric)
    if base.known["code"] != new.known["code"]:
        yield explain(base, new, ["code"])
    for side, cell in (("BASE", base), ("NEW", new)):
        if cell.suspicions:
            which = f"{len(cell.suspicions)} of {count(len(cell.ok_seeds), 'trial')}"
            yield f"suspect in {side} ({which}): {'; '.join(dict.fromkeys(cell.suspicions.values()))}"


def other_seeds(base: MeasuredCell, new: MeasuredCell, metric: Metric) -> Iterator[str]:
    """Yields which seeds two means are over, where these are not the same."""
    seeds = [cell.seeds(metric) for cell in (base, new)]
    if seeds[0] != seeds[1]:
        left, right = (", ".join(map(str, side)) for side in seeds)
        yield f"means over different seeds: {left} -> {right}"
