"""What several folders say beside each other, in a few sentences and no more than their seeds and machines allow."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from resbench.report.numbers import count, names, significant
from resbench.report.side_by_side.differences import differences
from resbench.report.side_by_side.gather import QUANTITIES, Alike, SideBySide, unlike_machines
from resbench.stats import mean

_SPOKEN = (("throughput", "trains"), ("inference", "infers"))


def sentences(found: SideBySide) -> list[str]:
    """Says which accuracies differ from the first folder's, how fast each folder is beside it, and what is apart.

    Args:
        found: All folders.
    """
    called = [folder.name for folder in found.folders]
    told = [_opening(found, called)]
    for one, title in zip(found.alike, found.titles, strict=True):
        where = f"{title[0].upper()}{title[1:]}: " if title else ""
        for place in one.folders[1:]:
            said = [*_accuracy(one, place, called), *_speed(one, place, called)]
            told += [where + " ".join(said)] if said else []
    if found.lone:
        models = dict.fromkeys(lone.cell.model for lone in found.lone)
        told.append(f"Shown and not compared: {names(list(models))}; what differs stands in the table.")
    return told


def _opening(found: SideBySide, called: list[str]) -> str:
    """Says how much may be compared."""
    alike = sum(len(row.cells) > 1 for one in found.alike for row in one.rows)
    if not alike:
        return f"Nothing in {names(called, len(called))} was trained alike: no two accuracies here may be compared."
    return f"Trained alike in more than one of {names(called, len(called))}: {count(alike, 'model')}."


def _accuracy(one: Alike, place: int, called: list[str]) -> Iterator[str]:
    """Says which models' accuracy is another in a folder."""
    told = {index: each for (index, where), each in differences(one).items() if where == place}
    if not told:
        return
    first = called[one.folders[0]]
    apart = [f"{one.rows[index].label} ({each.points:+.2f} points)" for index, each in told.items() if each.separated]
    tested = f"{count(len(told), 'model')} in {called[place]} and {first}"
    if apart:
        yield f"Of {tested}, the seeds separate in accuracy {names(apart)}."
    else:
        yield f"Of {tested}, the seeds separate none in accuracy."


def _speed(one: Alike, place: int, called: list[str]) -> Iterator[str]:
    """Says how many times the images a second of the first folder a folder does, and whether that is the machines'."""
    base = one.folders[0]
    pairs = [(row.cells[base], row.cells[place]) for row in one.rows if {base, place} <= row.cells.keys()]
    parts = []
    for name, verb in _SPOKEN:
        both = [(mean(left.values(QUANTITIES[name])), mean(right.values(QUANTITIES[name]))) for left, right in pairs]
        ratios = [right / left for left, right in both if left and right]
        if ratios:
            ends = list(dict.fromkeys(significant(value, 3) for value in (min(ratios), max(ratios))))
            middle = f" (median {significant(median(ratios), 3)})" if len(ratios) > 2 and len(ends) > 1 else ""
            parts.append(f"{verb} {' to '.join(ends)} times{middle}")
    if not parts:
        return
    unlike = any(unlike_machines(left, right) for left, right in pairs)
    label = ": the machines or their settings differ, so this is not the networks' difference" if unlike else ""
    yield f"{called[place]} {' and '.join(parts)} as many images a second as {called[base]}{label}."
