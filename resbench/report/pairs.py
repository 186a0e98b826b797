"""Two tables below the comparison: how far models differ, and how probable a place on each Pareto front is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resbench.report.groups import Group, model_label, records
from resbench.report.numbers import MISSING, percent, present
from resbench.report.pareto import costs_of, front_of
from resbench.report.tables import Cell, Table
from resbench.stats.power import ALPHA

if TYPE_CHECKING:
    import pandas as pd

TEST = "Welch's t-test on this pair alone"
"""What gives a pair's interval and p."""
PAIR_WORDS = (
    f"One model minus another: the difference of their means. Interval and p are those of {TEST}; p (Holm) is "
    f"corrected for all pairs of the table, and two models are separated where it is below {ALPHA:g}."
)
MOST_LISTED = 28
"""Pairs that a page lists, which are all of eight models. Of more it lists the most accurate and those next to it."""


def pair_table(group: Group, pairs: pd.DataFrame) -> Table | None:
    """Lists the differences of a group's models; ``None`` where none has an interval.

    Args:
        group: Trials that may be compared.
        pairs: The columns of ``pairwise.csv``.
    """
    found = records(pairs[pairs["group"] == group.number])
    known = [pair for pair in found if present(pair["p"]) or present(pair["images_low"])]
    if not known:
        return None
    listed = found
    notes = []
    if len(found) > MOST_LISTED:
        # The first model of all pairs is the most accurate, or the one that all are compared with.
        listed = [pair for pair in found if _labels(pair)[0] == _labels(found[0])[0]][:MOST_LISTED]
        notes.append(f"{len(listed):,} of {len(found):,} pairs, those of {_labels(found[0])[0]}; pairwise.csv has all.")
    over_images = any(present(pair["images_low"]) for pair in listed)
    headers = ["model", "minus", "difference (points)", "95 % interval", "p", "p (Holm)", "seeds", "separated"]
    if over_images:
        headers.insert(-1, "over other images")
    rows = []
    for pair in listed:
        rows.append([Cell(label) for label in _labels(pair)])
        rows[-1] += [Cell(text) for text in (_signed(pair["difference"]), _interval(pair), *_p_values(pair))]
        rows[-1].append(Cell(str(pair["n"])))
        if over_images:
            rows[-1].append(Cell(_over_images(pair)))
        rows[-1].append(Cell("yes" if pair["separated"] else "no", best=bool(pair["separated"])))
    reasons: dict[str, list[str]] = {}
    for pair in listed:
        if present(pair["reason"]):
            reasons.setdefault(pair["reason"], []).append(" minus ".join(_labels(pair)))
    notes += [f"No p: {_some(which)} ({reason})." for reason, which in reasons.items()]
    return Table(group.title, headers, rows, notes, frozenset({0, 1, len(headers) - 1}))


def front_table(group: Group) -> Table | None:
    """Says how probable it is that each model is on each front; ``None`` where no model has a tier."""
    if len(group.top) == 0:
        return None
    fronts = {cost: front_of(group, cost) for cost in costs_of(group)}
    fronts = {cost: front for cost, front in fronts.items() if any(p is not None for p in front.probabilities)}
    rows = []
    for label in group.shown:
        cells = [Cell(label)]
        for front in fronts.values():
            places = [place for place, row in enumerate(front.rows) if row["label"] == label]
            told = bool(places) and front.probabilities[places[0]] is not None
            cells.append(Cell(front.place(places[0]) if told else MISSING, best=told and places[0] in front.indices))
        if any(cell.text != MISSING for cell in cells[1:]):
            rows.append(cells)
    notes = ["Bold: on the front of these runs' means."]
    if any(front.certain is not None for front in fronts.values()):
        notes.append("cheapest: on the front by definition, for its cost does not depend on the seed.")
    if len(rows) < len(group.rows):
        notes.append("Not listed: models without a tier, and of many those that plots do not name.")
    return Table(group.title, ["model", *(cost.words for cost in fronts)], rows, notes)


def _labels(pair: dict[str, Any]) -> tuple[str, str]:
    """Returns what a page calls the two models of a pair."""
    return model_label(pair["model"], pair["weights"]), model_label(pair["other"], pair["other_weights"])


def _signed(fraction: Any) -> str:
    """Writes a difference in points, with its sign."""
    return f"{100 * fraction:+.2f}" if present(fraction) else MISSING


def _interval(pair: dict[str, Any]) -> str:
    """Writes the interval of a difference over the seeds."""
    half_width = pair["difference_ci95"]
    return f"± {percent(half_width)}" if present(half_width) else MISSING


def _over_images(pair: dict[str, Any]) -> str:
    """Writes the interval of a difference over test images drawn anew."""
    if not present(pair["images_low"]):
        return MISSING
    return f"{_signed(pair['images_low'])} to {_signed(pair['images_high'])}"


def _p_values(pair: dict[str, Any]) -> list[str]:
    """Writes p, alone and corrected."""
    values = (pair["p"], pair["p_holm"])
    return [(f"{p:.3f}" if p >= 0.001 else "<0.001") if present(p) else MISSING for p in values]


def _some(texts: list[str], most: int = 3) -> str:
    """Lists the first few of many."""
    left_out = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {left_out:,} more" if left_out > 0 else "")
