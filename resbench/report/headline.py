"""What a table says, in a sentence or two, and no more than its seeds allow."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from resbench.report.groups import Group
from resbench.report.numbers import count, names, percent, present
from resbench.stats.ranking import BELOW


def headline(group: Group) -> str:
    """Says which models are the most accurate, as far as the runs separate them.

    A model is named the most accurate where the data separate it from every other that has a tier. Where they do not,
    the models that share its tiers are named with it, and no order among them is given. Without tiers it is said what
    these runs reached, and that this is no ranking.

    Args:
        group: Trials that may be compared.
    """
    rows = [row for row in group.rows if present(row["test_accuracy_mean"])]
    rows.sort(key=lambda row: -row["test_accuracy_mean"])
    where = _where(group.settings)
    if not rows:
        return f"{where}, no trial ended ok: there is nothing to compare."
    if len(rows) == 1:
        return f"{where}, {_reached(rows[0])}. There is no other model to compare it with."
    return f"{where}, {' '.join(_ranked(group, rows) if group.top else _unranked(rows))}"


def whole_headline(group: Group) -> str:
    """Says which models are the most accurate, and what the cheapest one costs beside them.

    Args:
        group: Trials that may be compared.
    """
    return " ".join([headline(group), *cost_sentence(group)])


def cost_sentence(group: Group) -> Iterator[str]:
    """Says which model is the cheapest to train, and what that costs in accuracy: one sentence, or none.

    There is none where no two models have a training time that can be compared. Under a budget of time all take the
    same: there it says how far apart the numbers of images are that the models learn from.

    Args:
        group: Trials that may be compared.
    """
    rows = [
        row
        for row in group.rows
        if present(row["test_accuracy_mean"])
        and present(row["train_clock_s_mean"])
        and row["label"] not in group.in_parts
    ]
    if len(rows) < 2:
        return
    if group.equal_time:
        yield from _images_in_time(group, rows)
        return
    leaders = [row for row in rows if row["label"] in group.top] or rows
    best = max(leaders, key=lambda row: row["test_accuracy_mean"])
    cheapest = min(rows, key=lambda row: row["train_clock_s_mean"])
    if cheapest is best:
        second = min((row for row in rows if row is not best), key=lambda row: row["train_clock_s_mean"])
        yield (
            f"{best['label']} is also the cheapest to train, at {_share(best, second)} of the training time of "
            f"{second['label']}, the next."
        )
        return
    if {best["label"], cheapest["label"]} <= set(group.top):
        accuracy = "and these runs do not separate its accuracy"
    else:
        accuracy = f"and is {percent(best['test_accuracy_mean'] - cheapest['test_accuracy_mean'])} points below it"
    yield f"{cheapest['label']} takes {_share(cheapest, best)} of the training time of {best['label']}, {accuracy}."


def _images_in_time(group: Group, rows: list[dict[str, Any]]) -> Iterator[str]:
    """Says what share of the images of the fastest model the slowest one learns from in the same time."""
    seen = {row["label"]: group.ok(row["label"], "images_seen") for row in rows}
    means = {label: fmean(images) for label, images in seen.items() if images}
    fastest, slowest = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    if means[slowest] < means[fastest]:
        share = 100 * means[slowest] / means[fastest]
        yield f"In the same time {slowest} learns from {share:.0f} % of the images that {fastest} learns from."


def _share(row: dict[str, Any], other: dict[str, Any]) -> str:
    """Writes what share of another model's training time a model takes."""
    return f"{100 * row['train_clock_s_mean'] / other['train_clock_s_mean']:.0f} %"


def _ranked(group: Group, rows: list[dict[str, Any]]) -> Iterator[str]:
    """Says what the tiers say."""
    ranked = [row for row in rows if present(row["tier"])]
    # Of many models those that are separated from the best have no letter, and a reason that says so.
    below = [row for row in rows if present(row["tier_reason"]) and row["tier_reason"] == BELOW]
    best, rest = ranked[0], [row for row in ranked if row["label"] not in group.top] + below
    top = [row["label"] for row in ranked if row["label"] in group.top]
    if len(top) == 1:
        ahead = percent(best["test_accuracy_mean"] - rest[0]["test_accuracy_mean"])
        yield f"{best['label']} is the most accurate: {_reached(best)}, {ahead} points above {rest[0]['label']}."
        yield f"The runs separate it from {_all_of(rest)}."
    else:
        yield f"no model can be named the most accurate: {_reached(best)}, and these runs do not separate"
        yield f"it from {names(top[1:])}."
        if rest:
            yield f"They do separate it from {names([row['label'] for row in rest])}."
    unranked = [row["label"] for row in rows if present(row["tier_reason"]) and row["tier_reason"] != BELOW]
    if unranked:
        yield f"{names(unranked)} {'has' if len(unranked) == 1 else 'have'} no tier: not ranked."


def _unranked(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Says what was reached where fewer than two models have a tier."""
    best, second = rows[:2]
    ahead = percent(best["test_accuracy_mean"] - second["test_accuracy_mean"])
    yield f"{_reached(best)}, the highest of {count(len(rows), 'model')} and {ahead} points above {second['label']}."
    if all(row["n"] == 1 for row in rows):
        yield "One seed gives no interval, so this is the outcome of one run and not a ranking."
    else:
        yield "This is not a ranking: fewer than two models have two seeds or more that all ended ok."


def _reached(row: dict[str, Any]) -> str:
    """Says a model's accuracy and how sure it is."""
    if row["n"] == 1:
        return f"{row['label']} reaches a test accuracy of {percent(row['test_accuracy_mean'])} % (one seed)"
    half_width = percent(row["test_accuracy_ci95"])
    precision = f"{count(row['n'], 'seed')}, 95 % interval ± {half_width} points"
    return f"{row['label']} reaches a mean test accuracy of {percent(row['test_accuracy_mean'])} % ({precision})"


def _all_of(rows: list[dict[str, Any]]) -> str:
    """Names models that are all there are."""
    return rows[0]["label"] if len(rows) == 1 else f"all {len(rows)} others that were judged"


def _where(settings: dict[str, Any]) -> str:
    """Names the task, the budget and the device."""
    several = f"{settings['devices']} x " if (settings["devices"] or 1) > 1 else ""
    device = f" on {several}{settings['device_name']}" if settings["device_name"] else ""
    return f"On {settings['dataset']} with the budget {settings['budget']}{device}"
