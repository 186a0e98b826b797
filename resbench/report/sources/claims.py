"""Figures that a source reports, and ours beside them where they may be held there."""

from __future__ import annotations

import math
from collections.abc import Iterator

from resbench.errors import InputError
from resbench.experiment import Claim
from resbench.recipes import get_recipe
from resbench.report.experiments.runs import ArmRun, ExperimentRun, quoted
from resbench.report.numbers import count, percent, significant
from resbench.stats import standard_deviation

_ACCURACIES = {
    "test_accuracy": "test accuracy",
    "best_test_accuracy": "test accuracy of the best epoch",
    "train_accuracy": "train accuracy",
}
_LEARNT = frozenset({*_ACCURACIES, "test_loss"})
"""Columns that depend on the data and on how long was trained."""
_EXACT = {
    "params": "parameters",
    "trainable_params": "trainable parameters",
    "macs": "MACs",
    "macs_fvcore": "MACs by fvcore",
    "forward_flops": "forward FLOPs",
    "train_flops_per_image": "training FLOPs an image",
    "activations": "activations",
}
"""Columns that must be equal to the last digit."""
_SAME_EPOCHS = 1e-6
"""Epochs are a quotient of steps; this much of one is rounding."""


def claim_words(claim: Claim) -> str:
    """Writes what a source reports: ``d2l: test accuracy 89.20 % after 16 epochs on fashion_mnist``."""
    parts = [f"{quoted(claim.arm)}: {column_words(claim.column)} {value_words(claim.column, claim.value)}"]
    if claim.epochs is not None:
        parts.append(f"after {count(claim.epochs, 'epoch')}")
    if claim.dataset is not None:
        parts.append(f"on {claim.dataset}")
    return " ".join(parts)


def column_words(column: str) -> str:
    """Returns what a column is called in a sentence."""
    return _ACCURACIES.get(column) or _EXACT.get(column) or column.replace("_", " ")


def value_words(column: str, value: float) -> str:
    """Writes a figure of a column, with its unit where the name has none."""
    if column in _ACCURACIES:
        return f"{percent(value)} %"
    return f"{value:,.0f}" if column in _EXACT else significant(value)


def judge_claim(claim: Claim, run: ExperimentRun) -> str:
    """Holds a claim beside what was measured, or says why it may not be.

    Args:
        claim: Of the source.
        run: The experiment; the claim's arm need not have run.
    """
    arm = run.arm(claim.arm)
    name = f"{arm.label}, {column_words(claim.column)}: the source reports {value_words(claim.column, claim.value)}"
    values = [float(value) for value in arm.values(claim.column)]
    if not values:
        return f"{name}. Not measured here: {arm.endings}."
    ours = sum(values) / len(values)
    if claim.column in _EXACT:
        return f"{name}, here {value_words(claim.column, ours)}: {_off(ours, claim.value)}."
    here = f"{name}, here {value_words(claim.column, ours)}{_spread(claim.column, values)}"
    reasons = list(_not_comparable(claim, arm))
    if reasons:
        return f"{here}. Not comparable: {', '.join(reasons)}."
    done = ", ".join(f"{epochs:g}" for epochs in dict.fromkeys(arm.values("epochs")))
    apart = ours - claim.value
    gap = (
        f"{100 * abs(apart):.2f} points {'above' if apart > 0 else 'below'}"
        if claim.column in _ACCURACIES
        else f"{significant(abs(apart))} {'above' if apart > 0 else 'below'}"
    )
    held = f"{here}, on the same data after {done} epochs: {gap if apart else 'the same'}"
    further = "; ".join([*_longer(claim, arm), *_other_batch(arm)])
    return f"{held}. Not alike: {further}." if further else f"{held}."


def count_words(claim: Claim, run: ExperimentRun) -> str | None:
    """Says in a few words how a count came out beside its claim; ``None`` where it is no count or was not measured."""
    ours = run.arm(claim.arm).mean(claim.column)
    if claim.column not in _EXACT or ours is None:
        return None
    return f"{quoted(claim.arm)}: {column_words(claim.column)} {_off(ours, claim.value)}"


def _not_comparable(claim: Claim, arm: ArmRun) -> Iterator[str]:
    """Yields each reason for which a learnt figure may not be held beside its claim."""
    if claim.column not in _LEARNT:
        yield "another machine and another way of measuring"
        return
    datasets = arm.distinct("dataset")
    if claim.dataset is None:
        yield "the claim names no data"
    elif datasets != [claim.dataset]:
        yield f"other data ({', '.join(datasets)} and not {claim.dataset})"
    epochs = arm.values("epochs")
    if claim.epochs is None:
        yield "the claim names no epochs"
    elif not epochs or min(epochs) < claim.epochs - _SAME_EPOCHS:
        done = f"{significant(min(epochs), 3)} of {claim.epochs}" if epochs else "not recorded"
        yield f"fewer epochs ({done})"
    if arm.lacks_pretraining:
        yield "random weights in the place of pretrained ones"
    if arm.suspects:
        yield "suspect rows"


def _longer(claim: Claim, arm: ArmRun) -> Iterator[str]:
    """Says that more epochs were run than the claim is about."""
    if claim.epochs is not None and max(arm.values("epochs")) > claim.epochs + _SAME_EPOCHS:
        yield f"the source trained {count(claim.epochs, 'epoch')}"


def _other_batch(arm: ArmRun) -> Iterator[str]:
    """Says that the batch is not the recipe's own."""
    for recipe in arm.distinct("recipe"):
        try:
            own = get_recipe(recipe).batch_size
        except InputError:  # a recipe of another version
            continue
        other = [batch for batch in arm.distinct("batch_size") if batch != own]
        if other:
            yield f"batch {', '.join(map(str, other))} where the recipe has {own}"


def _off(ours: float, theirs: float) -> str:
    """Says whether two counts are equal, or by how much ours is off."""
    if math.isclose(ours, theirs, rel_tol=1e-12):
        return "equal"
    apart = ours - theirs
    share = f" ({significant(100 * abs(apart) / abs(theirs), 2)} %)" if theirs else ""
    return f"{abs(apart):,.0f} {'more' if apart > 0 else 'fewer'}{share}"


def _spread(column: str, values: list[float]) -> str:
    """Writes the standard deviation over seeds and their number."""
    spread = standard_deviation(values)
    if spread is None:
        return " (one seed)"
    written = f"{percent(spread)} points" if column in _ACCURACIES else significant(spread, 2)
    return f" ± {written} (n={len(values)})"
