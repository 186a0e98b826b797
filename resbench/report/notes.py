"""What a reader of a comparison table must know of its rows: the marks in it, and the sentences below it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from resbench.report.columns import ACCURACY, HEADERS, INTERVAL, MEASURED, OF_WHOLE_BATCHES, TIER
from resbench.report.groups import Group
from resbench.report.numbers import count, names, percent, present
from resbench.stats.power import ALPHA, POWER, seeds_to_halve

SUSPECT = "†"
"""Marks a model of which a trial is suspect."""
IN_PARTS = "‡"
"""Marks a figure of a model whose batches ran in parts."""

ELSEWHERE = "§"
"""Marks a figure that was measured on another machine, with other software or other code than those beside it."""

_WHOLE = 1.0
"""The largest difference of two accuracies, as a fraction."""
_MOST_SEEDS = 3
"""Suspect seeds of a model whose reasons a note gives; ``trials.csv`` has all."""


def table_notes(group: Group, columns: Collection[str] = tuple(HEADERS)) -> list[str]:
    """Says what spread, interval and tier are, which rows have none and why, and what the marks mean.

    Args:
        group: The models of the table.
        columns: The names of those that it has: nothing is said of what it does not show.
    """
    notes = []
    if any(row["n"] > 1 for row in group.rows) and {ACCURACY, INTERVAL, *MEASURED} & {*columns}:
        interval = " Interval: that of the mean accuracy, from Student's t." if INTERVAL in columns else ""
        notes.append(f"Mean ± standard deviation over n seeds.{interval}")
    notes += _accuracy_notes(group) if {ACCURACY, INTERVAL, TIER} & {*columns} else []
    if any(record["ok"] < record["planned"] for record in group.rows):
        notes.append("Trials that did not end ok enter no mean.")
    in_parts = _in_parts(group) if OF_WHOLE_BATCHES & {*columns} else ()
    return [*notes, *_noise(group, columns), *elsewhere_notes(group), *_suspect(group), *in_parts]


def _noise(group: Group, columns: Collection[str]) -> Iterator[str]:
    """Says which figures of speed, time and memory are in bold."""
    if len(group.rows) > 1 and MEASURED & {*columns}:
        yield (
            "Bold in speed, time and memory: the best, and what is no further from it than the noise floor or twice "
            "the standard deviation of the difference; nothing where neither is known."
        )


def elsewhere_notes(group: Group) -> Iterator[str]:
    """Says whose times and memory were not measured as those beside them."""
    which: dict[str, list[str]] = {}
    for label, found in group.elsewhere.items():
        for why in dict.fromkeys(why for _, why in found):
            seeds = [str(seed) for seed, reason in found if reason == why]
            some = f" (seed {', '.join(seeds)})" if len(seeds) < len(group.ok_places[label]) else ""
            which.setdefault(why, []).append(label + some)
    for why, labels in which.items():
        yield (
            f"{ELSEWHERE} Times and memory of {names(labels, len(labels))} were measured otherwise than those beside "
            f"them ({why}): they enter no mean and no comparison with these."
        )
    cached = [row["label"] for row in group.rows if present(row["cached_features"]) and row["cached_features"]]
    if cached:
        yield (
            f"{names(cached, len(cached))}: the head alone was trained, on features that were computed once; training "
            "speed and time are of that."
        )


def _accuracy_notes(group: Group) -> list[str]:
    """Says what stands beside the accuracies."""
    notes = []
    seeds = {int(row["n"]) for row in group.rows}
    if group.top:
        notes.append(
            "Tier: models that share a letter are not separated by these runs (Welch's t-test, Holm-corrected "
            "p of 0.05 or more). Bold: those that are not separated from the most accurate."
        )
        notes += _smallest_gap(group)
    if 1 in seeds:
        which = "Every row is" if seeds <= {0, 1} else "A row without ± is"
        notes.append(
            f"{which} one run of one seed: it has no interval, no tier and no probability of a place on the Pareto "
            "front, and small gaps mean nothing."
        )
    return [*notes, *_without_tier(group)]


def _smallest_gap(group: Group) -> Iterator[str]:
    """Says how small a difference the seeds can find, and how many a smaller one would take."""
    ranked = [row for row in group.rows if present(row["tier"]) and present(row["detectable_gap"])]
    if not ranked:
        return
    seeds, tests = min(int(row["n"]) for row in ranked), max(int(row["tests"]) for row in ranked)
    corrected = min(row["detectable_gap_holm"] for row in ranked) < _WHOLE
    halving = seeds_to_halve(seeds, alpha=ALPHA / tests)
    more = f"To halve the latter takes {halving} seeds." if corrected else "More seeds are wanted here."
    yield (
        f"Smallest gap that {count(seeds, 'seed')} would find with a probability of about {100 * POWER:.0f} %: "
        f"{_gaps(ranked, 'detectable_gap')} in one pair tested alone, {_gaps(ranked, 'detectable_gap_holm')} "
        f"after Holm's correction for {count(tests, 'test')}. {more}"
    )


def _gaps(rows: list[dict[str, Any]], column: str) -> str:
    """Writes the smallest and the largest gap of a column, once where they are alike; accuracies end at 100 %."""
    gaps = [choose(row[column] for row in rows) for choose in (min, max)]
    if gaps[0] >= _WHOLE:
        return "none that accuracies can have"
    return " to ".join(dict.fromkeys(percent(gap) if gap < _WHOLE else "more than 100" for gap in gaps)) + " points"


def _without_tier(group: Group) -> Iterator[str]:
    """Says which rows of a table with tiers have none, and why."""
    reasons: dict[str, list[str]] = {}
    for row in group.rows if any(row["n"] > 1 for row in group.rows) else ():
        if present(row["tier_reason"]):
            reasons.setdefault(row["tier_reason"], []).append(row["label"])
    for reason, labels in reasons.items():
        yield f"No tier: {names(labels)} ({reason})."


def _suspect(group: Group) -> Iterator[str]:
    """Gives the reasons for which trials are suspect."""
    for label, doubts in group.doubts.items():
        told = "; ".join(f"seed {seed}: {reasons}" for seed, reasons in doubts[:_MOST_SEEDS])
        left_out = len(doubts) - _MOST_SEEDS
        more = f"; and {count(left_out, 'seed')} more, see trials.csv" if left_out > 0 else ""
        yield f"{SUSPECT} {label} is suspect. {told}{more}."


def _in_parts(group: Group) -> Iterator[str]:
    """Says which models' speed cannot be compared."""
    for label, (part, whole) in group.in_parts.items():
        yield (
            f"{IN_PARTS} {label} ran batches of {whole:,} images in parts of {part:,}, for memory ran out: its "
            "training speed, time and memory are not comparable, and batch norm saw the parts."
        )
