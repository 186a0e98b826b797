"""Whether an accuracy can be believed: what makes a row ``suspect`` though its trial ended well."""

from __future__ import annotations

import math

from resbench.published import is_implausible
from resbench.schema import Trial

GUESSING_SD = 2.0
"""An accuracy counts as more than chance above this many standard deviations of guessing (one-sided p of 0.023)."""


def accuracy_doubts(trial: Trial, test_accuracy: float, *, class_counts: list[int]) -> list[str]:
    """Returns why a test accuracy is suspect; nothing where it is not.

    Chance is the share of the largest class: what a network reaches that always says the same. Guesses at chance c
    over n images have a standard deviation of sqrt(c (1 - c) / n).

    Args:
        trial: What was run.
        test_accuracy: A fraction.
        class_counts: Test images of each class.
    """
    images = sum(class_counts)
    chance = max(class_counts) / images
    limit = chance + GUESSING_SD * math.sqrt(chance * (1 - chance) / images)
    doubts = []
    if test_accuracy <= limit:
        doubts.append(
            f"the test accuracy is no better than chance: {test_accuracy:.2%}, and guessing reaches {chance:.2%}"
        )
    implausible = is_implausible(trial.model, trial.dataset, test_accuracy, weights=trial.weights)
    if implausible:
        doubts.append(implausible)
    return doubts
