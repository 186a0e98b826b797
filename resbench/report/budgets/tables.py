"""The tables of a collection of settings: networks down, settings across; orders, and answers to questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from resbench.report.budgets.order import Orders
from resbench.report.budgets.settings import Setting, headings, networks
from resbench.report.experiments.conclusions import Answer
from resbench.report.experiments.runs import NEAR_CHANCE_WORDS
from resbench.report.notes import IN_PARTS, SUSPECT, elsewhere_notes
from resbench.report.numbers import MISSING, count, duration, names, percent, significant
from resbench.report.tables import Cell, Table
from resbench.stats import standard_deviation

CHANCE = "§"
"""Marks an accuracy near chance."""
_FLOPS = ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"))
"""Units of training FLOPs, the largest first."""
_MOST_REASONS = 3
"""Suspect seeds of a network whose reasons a note gives; the suite's own page has all."""


def accuracy_table(settings: Sequence[Setting]) -> Table:
    """Lists the test accuracy of each network in each setting; bold as on the suite's own page, but near chance."""
    rows = [[Cell(label), *(_accuracy(setting, label) for setting in settings)] for label in networks(settings)]
    return Table("", ["network", *headings(settings)], rows, list(_accuracy_notes(settings)))


def _accuracy(setting: Setting, label: str) -> Cell:
    """Writes a network's accuracy in a setting, with its spread and its marks."""
    values = setting.accuracies(label)
    if not values:
        return Cell(MISSING)
    spread = standard_deviation(values)
    text = percent(setting.mean(label)) + (f" ± {percent(spread)} (n={len(values)})" if spread is not None else "")
    marks = [mark for mark, labels in ((CHANCE, setting.guessing), (SUSPECT, setting.doubts)) if label in labels]
    return Cell(" ".join([text, *marks]), best=label in setting.group.top and label not in setting.guessing)


def _accuracy_notes(settings: Sequence[Setting]) -> Iterator[str]:
    """Says what the figures and the marks of the table of accuracies are."""
    seeds = [len(setting.accuracies(label)) for setting in settings for label in setting.group.labels]
    yield "Test accuracy after the last epoch, in percent" + (
        ": mean ± standard deviation over n seeds." if max(seeds) > 1 else ", each of one run of one seed."
    )
    if any({*setting.group.top} - {*setting.guessing} for setting in settings):
        yield (
            "Bold: the networks that the seeds of their setting do not separate from its most accurate one "
            "(Welch's t-test, Holm-corrected), but those near chance."
        )
    if 1 in seeds and max(seeds) > 1:
        yield "A figure without ± is one run of one seed: it has no interval, no bold, and small gaps mean nothing."
    elif max(seeds) <= 1:
        yield "One seed gives no interval and no ranking: none is bold, and small gaps mean nothing."
    if any(setting.guessing for setting in settings):
        yield f"{CHANCE} Near chance: {NEAR_CHANCE_WORDS}. Too little is learnt yet to see an order in."
    for setting in settings:
        for label, doubts in setting.doubts.items():
            told = "; ".join(f"seed {seed}: {reasons}" for seed, reasons in doubts[:_MOST_REASONS])
            left = len(doubts) - _MOST_REASONS
            more = f"; and {count(left, 'seed')} more" if left > 0 else ""
            yield f"{SUSPECT} {label} is suspect in {setting.name}. {told}{more}."


def spent_table(settings: Sequence[Setting]) -> Table:
    """Lists what each network got for the budget of each setting: epochs, training time and training FLOPs."""
    rows = [[Cell(label), *(Cell(_spent(setting, label)) for setting in settings)] for label in networks(settings)]
    notes = [
        "Epochs seen, training time (data + step) and training FLOPs spent, means over the seeds. GFLOP, TFLOP, PFLOP "
        "and EFLOP are 1e9, 1e12, 1e15 and 1e18 floating-point operations, counted and not measured."
    ]
    if any(setting.group.in_parts for setting in settings):
        notes.append(f"{IN_PARTS} Batches ran in parts, for memory ran out: the time is not comparable.")
    notes += dict.fromkeys(note for setting in settings for note in elsewhere_notes(setting.group))
    return Table("", ["network", *headings(settings)], rows, notes)


def _spent(setting: Setting, label: str) -> str:
    """Writes what a network got in a setting, as far as it is known."""
    epochs, clock = (setting.mean(label, column) for column in ("epochs", "train_clock_s"))
    mark = f" {IN_PARTS}" if label in setting.group.in_parts else ""
    parts = [
        f"{significant(epochs, 3) if epochs % 1 else f'{epochs:,.0f}'} ep" if epochs is not None else "",
        f"{duration(clock)}{mark}" if clock is not None else "",
        flops_words(setting.mean(label, "train_flops_spent")),
    ]
    return ", ".join(part for part in parts if part) or MISSING


def flops_words(flops: float | None) -> str:
    """Writes training FLOPs with a unit that leaves few digits: ``16.9 PFLOP``; nothing where they are not known."""
    if not flops:
        return ""
    size, unit = next(((size, unit) for size, unit in _FLOPS if flops >= size), _FLOPS[-1])
    return f"{significant(flops / size, 3)} {unit}"


def order_table(orders: Sequence[Orders]) -> Table | None:
    """Lists for every two settings how alike their orders are; ``None`` where no two share two networks."""
    told = [each for each in orders if each.pairs]
    if not told:
        return None
    headers = ["setting", "other setting", "pairs", "Kendall's tau", "same order, both separated", "reversed"]
    headers += ["both separated by the seeds", "with an assumed deviation", "no claim"]
    rows = [
        [
            Cell(each.one.name),
            Cell(each.other.name),
            Cell(str(each.pairs)),
            Cell(f"{each.tau:+.2f}" if each.tau is not None else MISSING),
            Cell(str(each.kept)),
            Cell(str(len(each.reversals))),
            *(Cell(str(len(each.reversed_by(evidence)))) for evidence in ("seeds", "assumed", "none")),
        ]
        for each in told
    ]
    notes = [
        "Pairs: of the networks that both settings have and that are near chance in neither. Kendall's tau is +1 "
        "where their mean accuracies stand in one order and -1 where the order is the opposite; of so few pairs it is "
        "a description and no test. The last three columns split the reversed pairs."
    ]
    return Table("", headers, rows, notes, frozenset({0, 1}))


def question_table(answers: dict[str, list[Answer]]) -> Table | None:
    """Lists each question with the answer of every suite in a few words; ``None`` where nothing was asked.

    Args:
        answers: By suite, in the order of the suites.
    """
    questions = dict.fromkeys(answer.question for found in answers.values() for answer in found)
    rows = []
    for question in questions:
        told = [(suite, each.short) for suite, found in answers.items() for each in found if each.question == question]
        for place, (suite, short) in enumerate(told):
            rows.append([Cell(question if place == 0 else ""), Cell(suite), Cell(short)])
    headers = ["what was asked", "setting", "answer in a few words"]
    return Table("", headers, rows, text_columns=frozenset({0, 1, 2})) if rows else None


def chance_share(setting: Setting) -> str:
    """Says what guessing reaches, where that is known."""
    return f" (guessing among {setting.classes}: {percent(1 / setting.classes)} %)" if setting.classes else ""


def unranked_words(setting: Setting) -> str:
    """Says which networks of a setting guess; empty where none does."""
    if not setting.guessing:
        return ""
    reached = [f"{label} ({percent(setting.mean(label))} %)" for label in setting.guessing]
    return f"Near chance{chance_share(setting)}, and so without an order: {names(reached, len(reached))}."
