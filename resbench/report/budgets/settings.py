"""The settings of a collection: one for each set of a suite's trials that may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from resbench.report.experiments.runs import GUESSING, ExperimentRun, is_guessing
from resbench.report.groups import Group, comparable_groups, describe
from resbench.report.numbers import present
from resbench.stats import SHARED, mean

_TOLD_OTHERWISE = ("budget", "dataset_fingerprint")
"""What a heading says in any case, or what says nothing to a reader."""


@dataclass(frozen=True, eq=False)
class Setting:
    """Networks that were trained alike: a suite, or a part of one whose trials may not all be compared."""

    suite: str
    name: str
    """The suite's, with what tells its parts apart where there are several."""
    group: Group
    classes: int | None
    """How many there are to guess among; ``None`` where it is not known."""

    @property
    def budget(self) -> str:
        """What each network had."""
        return str(self.group.settings["budget"])

    def accuracies(self, label: str) -> list[float]:
        """Returns the last-epoch test accuracies of a network's trials that ended ``ok``, fractions."""
        return [float(value) for value in self.group.ok(label, "test_accuracy")]

    def mean(self, label: str, column: str = "test_accuracy") -> float | None:
        """Returns the mean of a column over a network's trials that ended ``ok``."""
        return mean([float(value) for value in self.group.ok(label, column)])

    def is_whole(self, label: str) -> bool:
        """Says whether every planned seed of a network ended ``ok``."""
        return all(row["ok"] == row["planned"] for row in self.group.rows if row["label"] == label)

    @cached_property
    def guessing(self) -> list[str]:
        """The networks that are near chance: no order is seen in them."""
        return [
            label
            for label in self.group.labels
            if (accuracy := self.mean(label)) is not None
            and is_guessing(accuracy, self.group.ok_of(label, "verdict_reasons"), self.classes)
        ]

    @cached_property
    def doubts(self) -> dict[str, list[tuple[int, str]]]:
        """Networks with a suspect trial, its seed and the reasons, but for those that are suspect since they guess."""
        return {
            label: doubts
            for label, doubts in self.group.doubts.items()
            if label not in self.guessing
            or any(GUESSING not in each for _, told in doubts for each in told.split("; "))
        }

    @cached_property
    def ordered(self) -> list[str]:
        """The networks that have an accuracy and do not guess, in the table's order."""
        return [label for label in self.group.labels if self.mean(label) is not None and label not in self.guessing]


def read_settings(runs: Sequence[ExperimentRun]) -> list[Setting]:
    """Returns every setting with a trial that ended ``ok``, in the order of the suites.

    Args:
        runs: The suites of a collection.
    """
    found = []
    for run in runs:
        groups = comparable_groups(run.table, run.floors) if run.table is not None else []
        measured = [group for group in groups if any(present(row["test_accuracy_mean"]) for row in group.rows)]
        classes = next((arm.classes for arm in run.arms if arm.classes), None)
        for group in measured:
            name = f"{run.name}, {group.title}" if len(measured) > 1 else run.name
            found.append(Setting(run.name, name, group, classes))
    return found


def networks(settings: Sequence[Setting]) -> list[str]:
    """Returns the networks of all settings, each once, in the order in which they first come."""
    return list(dict.fromkeys(label for setting in settings for label in setting.group.labels))


def headings(settings: Sequence[Setting]) -> list[str]:
    """Returns what a table calls each setting: its name, its budget, and in what else the settings differ."""
    differing = [
        column
        for column in SHARED
        if column not in _TOLD_OTHERWISE and len({str(_known(setting, column)) for setting in settings}) > 1
    ]
    return [
        f"{setting.name} ({', '.join([setting.budget, *(describe(c, _known(setting, c)) for c in differing)])})"
        for setting in settings
    ]


def _known(setting: Setting, column: str) -> Any:
    value = setting.group.settings[column]
    return value if present(value) else None
