"""What a collection of settings says, in sentences that claim no more than its seeds allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from resbench.report.budgets.order import FAILED, Deviation, Evidence, Orders, Reversal, assumed
from resbench.report.budgets.settings import Setting
from resbench.report.budgets.tables import chance_share, unranked_words
from resbench.report.headline import whole_headline
from resbench.report.numbers import count, names, percent

_MOST_NAMED = 6
"""Reversed pairs of one kind that a sentence names."""


def winner(setting: Setting) -> str:
    """Says which networks of a setting are the most accurate, as its own page does, and which of them guess."""
    if not setting.ordered:
        return f"{setting.name}: every network is near chance{chance_share(setting)}: there is no order to tell of."
    return f"{setting.name}: {' '.join(filter(None, (whole_headline(setting.group), unranked_words(setting))))}"


def highest_means(settings: Sequence[Setting]) -> str:
    """Says whose mean accuracy is the highest in which setting; empty where fewer than two settings have an order."""
    of: dict[str, list[str]] = {}
    for setting in settings:
        if len(setting.ordered) > 1:
            best = max(setting.ordered, key=lambda label: setting.mean(label) or 0.0)
            of.setdefault(best, []).append(setting.name)
    if sum(map(len, of.values())) < 2:
        return ""
    if len(of) == 1:
        label, where = next(iter(of.items()))
        told = f"The highest mean is {label}'s in all {len(where)} settings."
    else:
        told = (
            f"The highest mean is {names([f'that of {label} in {names(where, 9)}' for label, where in of.items()], 9)}."
        )
    return f"{told} That is what these runs reached; whether it is an order is said below."


def order_changes(orders: Sequence[Orders]) -> str:
    """Says whether the order of the networks changes with the setting, as far as the seeds separate them."""
    told = [each for each in orders if each.pairs]
    if not told:
        return (
            "Whether the order changes with the setting cannot be said: no two settings have two networks in common "
            "that are not near chance."
        )
    found = {
        evidence: [(each, turned) for each in told for turned in each.reversed_by(evidence)]
        for evidence in ("seeds", "assumed", "none")
    }
    unclear = len({frozenset((turned.first, turned.second)) for _, turned in found["none"]})
    rest = (
        f" {count(unclear, 'pair')} of networks change{'s' if unclear == 1 else ''} places by the means alone, without "
        "both gaps separated: nothing is claimed of that."
        if unclear
        else ""
    )
    if found["seeds"]:
        each, turned = found["seeds"][0]
        more = len(found["seeds"]) - 1
        others = f", and {count(more, 'other reversal')} like it" if more else ""
        return (
            f"The order changes with the setting: {turned.first} is above {turned.second} in {each.one.name} and below "
            f"it in {each.other.name}, both gaps separated by the seeds{others}.{rest}"
        )
    if found["assumed"]:
        each, turned = found["assumed"][0]
        more = len(found["assumed"]) - 1
        others = f", and so {'is' if more == 1 else 'are'} {count(more, 'other reversal')}" if more else ""
        return (
            "No change of order is separated by seeds alone. With the assumed deviation, which stands in where a "
            f"network has one seed, one is: {turned.first} is above {turned.second} in {each.one.name} and below it in "
            f"{each.other.name}{others}.{rest}"
        )
    if unclear:
        return f"No change of order is claimed.{rest}"
    return (
        "No two networks change places between two settings in which neither is near chance. That is said of "
        "these runs' means: where a gap is not separated in its own setting, there is no order that could change."
    )


def reversals(each: Orders) -> Iterator[str]:
    """Yields which networks change places between two settings, the best founded first."""
    where = f"{each.one.name}, then {each.other.name}"
    kinds: tuple[tuple[Evidence, str], ...] = (
        ("seeds", "reversed, separated by the seeds in both"),
        ("assumed", "reversed under the assumed deviation"),
        ("none", "no claim"),
    )
    for evidence, words in kinds:
        found = each.reversed_by(evidence)
        if found:
            left = len(found) - _MOST_NAMED
            more = f"; and {count(left, 'pair')} more" if left > 0 else ""
            yield f"{where}: {words}: {'; '.join(map(_pair, found[:_MOST_NAMED]))}{more}."


def _pair(turned: Reversal) -> str:
    """Names two networks that change places, with both gaps; those that do not count in brackets, with the reason."""
    points = [
        f"{100 * gap.difference:+.2f}" if gap.evidence != "none" else f"({100 * gap.difference:+.2f})"
        for gap in turned.gaps
    ]
    failed = FAILED in {gap.reason for gap in turned.gaps}
    return f"{turned.first} minus {turned.second} {', '.join(points)}{f' ({FAILED})' if failed else ''}"


def how_judged(settings: Sequence[Setting]) -> Iterator[str]:
    """Yields how a gap is judged, and what is assumed where a network has one seed."""
    yield (
        "A gap counts as separated by the seeds where every planned seed of both networks ended ok and Welch's test "
        "has p below 0.05 after Holm's correction for all pairs of the setting's table."
    )
    single = [setting for setting in settings if any(len(setting.accuracies(label)) == 1 for label in setting.ordered)]
    by_source: dict[Deviation, list[str]] = {}
    for setting in single:
        by_source.setdefault(assumed(settings, setting), []).append(setting.name)
    for deviation, where in by_source.items():
        begin = (
            f"In {names(where, len(where))} networks have one seed each. A gap there can only be judged with a "
            f"deviation that is assumed: {percent(deviation.sd)} points from run to run, "
        )
        if deviation.freedom is None:
            yield f"{begin}{deviation.source}, for no network here has two seeds. Whether it holds here is not known."
        else:
            yield (
                f"{begin}the standard deviation over seeds pooled over the {deviation.cells} cells (a network in a "
                f"setting) that have seeds, with {count(deviation.freedom, 'degree')} of freedom. That every network "
                "deviates so in every setting is an assumption and was not tested; networks do differ in it."
            )
