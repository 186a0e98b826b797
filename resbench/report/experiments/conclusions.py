"""What the arms of an experiment say to its questions, in sentences that claim no more than the records hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from resbench.experiment import Comparison
from resbench.report.experiments.costs import cost_sentences, cost_words, differences
from resbench.report.experiments.runs import NEAR_CHANCE, ArmRun, ExperimentRun
from resbench.report.numbers import count, percent, significant
from resbench.stats.differences import holm, welch_tests
from resbench.stats.power import ALPHA
from resbench.stats.ranking import pair_reason

ONE_SEED = "one seed each: no interval, small gaps mean nothing"


@dataclass(frozen=True)
class Gap:
    """How the last-epoch test accuracies of two arms differ; arm less the other, fractions."""

    seeds: int
    """Those that ended ``ok``, of the arm with fewer."""
    difference: float
    half_width: float
    """Of its interval; NaN where it has none."""
    p: float
    """Of Welch's test alone; NaN where there is none."""
    p_holm: float = math.nan
    """Corrected for the tests of the whole experiment."""
    tests: int = 1
    """How many these are."""


@dataclass(frozen=True)
class Answer:
    """What the records say to one question."""

    question: str
    accuracy: str
    """One sentence or two on the test accuracy, or why nothing can be said at all."""
    cost: list[str]
    """Sentences on what it costs; empty where nothing can be said."""
    short: str
    """All of it in a few words."""


def conclude(run: ExperimentRun) -> list[Answer]:
    """Answers every question of an experiment, as far as its trials do.

    Two arms are called different in accuracy only where every planned seed of both ended ``ok``, there are at least
    two, and p stays below 0.05 after Holm's correction for all questions of the experiment.

    Args:
        run: The experiment.
    """
    gaps = _gaps([(run.arm(each.arm), run.arm(each.against)) for each in run.compare])
    return [_answer(run, each, gap) for each, gap in zip(run.compare, gaps, strict=True)]


def answers_of(run: ExperimentRun) -> list[Answer]:
    """Answers the questions of a suite, and says which of two networks alone is near chance."""
    found = []
    for asked, answer in zip(run.compare, conclude(run), strict=True):
        arms = run.arm(asked.arm), run.arm(asked.against)
        guessing = [arm.label for arm in arms if arm.guesses]
        if len(guessing) == 1:  # of two that guess the answer says so itself
            words = f"{guessing[0]} is near chance"
            answer = replace(answer, accuracy=f"{answer.accuracy} {words}.", short=f"{answer.short} ({words})")
        found.append(answer)
    return found


def _answer(run: ExperimentRun, asked: Comparison, gap: Gap | None) -> Answer:
    """Answers one question."""
    arm, other = run.arm(asked.arm), run.arm(asked.against)
    missing = [f"{each.label} has no trial that ended ok ({each.endings})" for each in (arm, other) if not each.ok]
    if missing:
        why = " and ".join(missing)
        return Answer(asked.question, f"Not answered: {why}.", [], f"not answered: {why}")
    sentence, short = _accuracy(arm, other, gap)
    lacking = [each.label for each in (arm, other) if each.lacks_pretraining]
    if lacking:
        sentence = (
            f"{' and '.join(lacking)} ran with random weights: no gap here is an effect of pretraining. {sentence}"
        )
        short = f"random weights, nothing about transfer; {short}"
    cost = [*differences(arm, other), *cost_sentences(arm, other, run.floors)]
    doubted = [each.label for each in (arm, other) if each.doubted]
    if doubted:
        cost.append(f"Rows of {' and '.join(doubted)} are suspect: see below.")
        short = f"{short} (suspect rows)"
    words = cost_words(arm, other, run.floors)
    return Answer(asked.question, sentence, cost, "; ".join(part for part in (short, words) if part))


def _accuracy(arm: ArmRun, other: ArmRun, gap: Gap | None) -> tuple[str, str]:
    """Says how two arms compare in test accuracy: in full, and in a few words."""
    reached = " and ".join(f"{each.label} {percent(each.mean('test_accuracy'))} %" for each in (arm, other))
    full, short = (f"{words} {when(arm, other)}".rstrip() for words in ("Test accuracy", "accuracy"))
    if _data(arm) != _data(other):
        mine, theirs = (", ".join(each.distinct("dataset")) for each in (arm, other))
        return (
            f"Test accuracy is not compared: {arm.label} saw {mine} and {other.label} {theirs}, whose images differ.",
            "accuracy not compared: other data",
        )
    if arm.guesses and other.guesses:
        words = f"Both are near chance{_chance(arm)}: the difference says nothing."
        return f"{full}: {reached}. {words}", f"{short}: both near chance"
    if gap is None:
        return f"{full}: {reached}. No seed ended ok for both: not tested.", f"{short}: not tested"
    verdict, in_short = _verdict(arm, other, gap)
    return f"{full}: {reached} ({100 * gap.difference:+.2f} points); {verdict}.", f"{short}: {in_short}"


def _verdict(arm: ArmRun, other: ArmRun, gap: Gap) -> tuple[str, str]:
    """Says what a difference in accuracy allows to be said: in full, and in a few words."""
    points = f"{100 * gap.difference:+.2f} points"
    if gap.seeds == len(arm.ok) == len(other.ok) == 1:
        return ONE_SEED, f"{points} in one seed each, no verdict"
    reason = pair_reason(gap.seeds, gap.p)
    if reason:
        return f"{reason}: no order is claimed", "no test, no order"
    low, high = (f"{100 * (gap.difference + sign * gap.half_width):+.2f}" for sign in (-1, 1))
    alone = " of this pair alone" if gap.tests > 1 else ""
    interval = f"95 % interval{alone} {low} to {high}, " if not math.isnan(gap.half_width) else ""
    holms = f" after Holm's correction for {count(gap.tests, 'question')}" if gap.tests > 1 else ""
    detail = f"{interval}p {_p(gap.p_holm)}{holms}, {count(gap.seeds, 'seed')}"
    partial = [
        f"{len(each.ok)} of {len(each.trials)} planned seeds of {each.label} ended ok"
        for each in (arm, other)
        if len(each.ok) < len(each.trials)
    ]
    if partial:
        return f"no order is claimed: {' and '.join(partial)} ({detail})", "no order, seeds failed"
    if not gap.p_holm < ALPHA:
        words = f"not separated ({detail}): these runs do not tell the two apart"
        return words, f"not separated ({count(gap.seeds, 'seed')})"
    side = "above" if gap.difference > 0 else "below"
    apart = significant(100 * abs(gap.difference), 3)
    words = f"separated ({detail}): {arm.label} lies {apart} points {side} {other.label}"
    return words, f"{points} (separated, {count(gap.seeds, 'seed')})"


def when(*arms: ArmRun) -> str:
    """Says after how many epochs and on what an accuracy was taken, as far as that is the same for all trials."""
    epochs = {round(done, 2) for arm in arms for done in arm.values("epochs")}
    data = {name for arm in arms for name in arm.distinct("dataset")}
    parts = [f"after {done:g} epoch{'' if done == 1 else 's'}" for done in epochs if len(epochs) == 1]
    return " ".join([*parts, *(f"on {name}" for name in data if len(data) == 1)])


def _gaps(pairs: Sequence[tuple[ArmRun, ArmRun]]) -> list[Gap | None]:
    """Tests every pair; ``None`` for one whose accuracies may not be subtracted."""
    import numpy as np

    gaps: list[Gap | None] = []
    for arm, other in pairs:
        one, two = (np.array(each.values("test_accuracy"), dtype=float) for each in (arm, other))
        if _data(arm) != _data(other) or (arm.guesses and other.guesses) or not (len(one) and len(two)):
            gaps.append(None)
            continue
        found = welch_tests(one, two)
        gaps.append(Gap(int(found.n), float(found.difference), float(found.half_width), float(found.p)))
    known = [gap for gap in gaps if gap is not None and not math.isnan(gap.p)]
    corrected = iter(holm(np.array([gap.p for gap in known])))
    return [
        Gap(gap.seeds, gap.difference, gap.half_width, gap.p, float(next(corrected)), len(known))
        if gap is not None and not math.isnan(gap.p)
        else gap
        for gap in gaps
    ]


def _data(arm: ArmRun) -> set[str]:
    """Returns what identifies the images of an arm."""
    return set(arm.distinct("dataset_fingerprint"))


def _chance(arm: ArmRun) -> str:
    """Says what guessing reaches, where it is known."""
    accuracy = arm.mean("test_accuracy") or 0.0
    if not arm.classes or accuracy > NEAR_CHANCE / arm.classes:  # more logits than the data have classes
        return ""
    return f" (guessing among {arm.classes} classes: {percent(1 / arm.classes)} %)"


def _p(p: float) -> str:
    return f"= {p:.3f}" if p >= 0.001 else "< 0.001"
