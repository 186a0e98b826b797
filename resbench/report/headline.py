"""What a comparison says, in a sentence or two, and no more than its seeds allow."""

from __future__ import annotations

from typing import Any

from resbench.report.groups import Group
from resbench.report.numbers import count, percent, present


def headline(group: Group) -> str:
    """Says which model has the highest test accuracy, and whether the runs separate it from the others.

    Two models count as separated where the 95 % t-intervals of their means do not overlap; a model with one
    seed has no interval, and nothing is claimed about its rank.

    Args:
        group: Trials that may be compared.
    """
    rows = [row for row in group.rows if present(row["test_accuracy_mean"])]
    rows.sort(key=lambda row: -row["test_accuracy_mean"])
    where = _where(group.settings)
    if not rows:
        return f"{where}, no trial ended ok: there is nothing to compare."
    best, others = rows[0], rows[1:]
    said = f"{where}, {best['label']}"
    if best["ok"] == 1:
        kind, precision = "test accuracy", "one seed"
    else:
        kind = "mean test accuracy"
        precision = f"{count(best['ok'], 'seed')}, 95 % interval ± {percent(best['test_accuracy_ci95'])} points"
    reached = f"{percent(best['test_accuracy_mean'])} % ({precision})"
    if not others:
        return f"{said} reaches a {kind} of {reached}. There is no other model to compare it with."
    ahead = percent(best["test_accuracy_mean"] - others[0]["test_accuracy_mean"])
    lead = f"{said} has the highest {kind}, {reached}, {ahead} points above {others[0]['label']}."
    return f"{lead} {_separation(best, others)}"


def _separation(best: dict[str, Any], others: list[dict[str, Any]]) -> str:
    """Says which of the others the best model cannot be told from."""
    if best["ok"] == 1:
        return "One seed gives no interval, so this is the outcome of one run and not a ranking."
    single = [row["label"] for row in others if row["ok"] == 1]
    near = [
        row["label"]
        for row in others
        if row["ok"] > 1
        and best["test_accuracy_mean"] - row["test_accuracy_mean"]
        <= best["test_accuracy_ci95"] + row["test_accuracy_ci95"]
    ]
    sentences = []
    if near:
        sentences.append(f"Its interval overlaps with {_names(near)}: these runs do not separate them.")
    if single:
        has = "has" if len(single) == 1 else "have"
        sentences.append(f"{_names(single)} {has} one seed and no interval: not ranked.")
    return " ".join(sentences) or "Its interval overlaps with no other model's."


def _where(settings: dict[str, Any]) -> str:
    """Names the task, the budget and the device."""
    device = f" on {settings['device_name']}" if settings["device_name"] else ""
    return f"On {settings['dataset']} with the budget {settings['budget']}{device}"


def _names(labels: list[str], limit: int = 5) -> str:
    """Lists names, the first few of many."""
    shown = labels[:limit]
    if len(labels) > limit:
        return f"{', '.join(shown)} and {len(labels) - limit} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
