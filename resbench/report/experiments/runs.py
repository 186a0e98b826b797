"""One experiment of a collection as it was run: its arms, and what their trials have in common."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from resbench.experiment import Arm, Comparison, SourceTable
from resbench.stats import mean

if TYPE_CHECKING:
    import pandas as pd

NEAR_CHANCE = 1.5
"""Accuracies up to this many times a class's share are near chance: too little is learnt to see an order in."""
NEAR_CHANCE_WORDS = f"at most {NEAR_CHANCE:g} times what guessing reaches, or no better than guessing by every verdict"
"""What that is, for readers."""
GUESSING = "no better than chance"
"""What the verdict of a row says that guesses, see :func:`~resbench.verdicts.accuracy_doubts`."""


@dataclass(frozen=True, eq=False)
class ArmRun:
    """One arm and the trials that are its own; they differ in their seed only."""

    name: str
    asked: Arm | None
    """As its suite has it; ``None`` where only the records know it."""
    trials: list[dict[str, Any]]
    """Its rows of ``trials.csv``, planned ones that did not run among them, with ``None`` for what is empty and
    ``train_clock_s`` (data + step) and ``elsewhere`` as further columns: see
    :func:`~resbench.stats.cells.on_one_machine`, which has emptied times and memory where that says why."""
    epochs: pd.DataFrame | None
    """Its rows of ``epochs.csv``, of trials that ended ``ok``; ``None`` where the suite was not run."""
    classes: int | None = None
    """Width of its logits."""
    wants_pretraining: bool = False
    """Whether pretrained weights were asked for, by arm or suite, or are its network's default."""

    @property
    def label(self) -> str:
        """What sentences call it."""
        return quoted(self.name)

    @cached_property
    def ok(self) -> list[dict[str, Any]]:
        """The rows that ended ``ok``: no figure comes from another."""
        return [row for row in self.trials if row["status"] == "ok"]

    def values(self, column: str) -> list[Any]:
        """Returns one column of the rows that ended ``ok``, less those where it is empty."""
        return [row[column] for row in self.ok if row.get(column) is not None]

    def distinct(self, column: str) -> list[Any]:
        """Returns each value of a column once: of the rows that ended ``ok``, else of those that were planned."""
        return list(dict.fromkeys(row[column] for row in self.ok or self.trials if row.get(column) is not None))

    def mean(self, column: str) -> float | None:
        """Returns the mean of a column over the rows that ended ``ok``."""
        return mean([float(value) for value in self.values(column)])

    @property
    def endings(self) -> str:
        """How its trials ended, in words: ``2 ok, 1 oom``; ``not run`` where there is none."""
        counts = Counter(row["status"] for row in self.trials)
        return ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in counts.items()) or "not run"

    @property
    def suspects(self) -> list[tuple[int, str]]:
        """Seed and reasons of each row that ended ``ok`` and is suspect."""
        return [
            (int(row["seed"]), row["verdict_reasons"] or "no reason recorded")
            for row in self.ok
            if row["verdict"] == "suspect"
        ]

    @property
    def doubted(self) -> bool:
        """Whether a row is suspect for more than that it guesses, which answers say in their own words."""
        return any(GUESSING not in reason for _, reasons in self.suspects for reason in reasons.split("; "))

    @property
    def in_parts(self) -> bool:
        """Whether batches ran in parts, for memory ran out: its speed and memory are not comparable then."""
        return any((row["micro_batch_size"] or 0) < (row["batch_size"] or 0) for row in self.ok)

    @property
    def guesses(self) -> bool:
        """Whether its mean accuracy is near chance, see :func:`is_guessing`."""
        accuracy = self.mean("test_accuracy")
        if accuracy is None:
            return False
        return is_guessing(accuracy, [row["verdict_reasons"] for row in self.ok], self.classes)

    @property
    def lacks_pretraining(self) -> bool:
        """Whether random weights ran where pretrained ones were wanted."""
        return self.wants_pretraining and "random" in self.distinct("weights")


@dataclass(frozen=True, eq=False)
class ExperimentRun:
    """What a source said, and what was made of it here."""

    name: str
    """The suite's, which is its folder's."""
    description: str
    source: SourceTable | None
    compare: list[Comparison]
    arms: list[ArmRun]
    unassigned: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the folder that are of no arm."""
    notices: list[str] = field(default_factory=list)
    """What its reader must know first, a stand-in for the data above all."""
    floors: dict[str, float] = field(default_factory=dict)
    """By column, how far the machine was from itself, as a fraction."""
    table: pd.DataFrame | None = None
    """The columns of ``trials.csv`` of its whole folder; ``None`` where it was not run."""

    @property
    def title(self) -> str:
        """The source's, or the suite's where there is none."""
        return self.source.title if self.source else self.name

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every planned trial of it, once."""
        every = [*(row for arm in self.arms for row in arm.trials), *self.unassigned]
        return list({row["trial_id"]: row for row in every}.values())

    @property
    def ran(self) -> bool:
        """Whether an arm has a trial that ended ``ok``."""
        return any(arm.ok for arm in self.arms)

    def arm(self, name: str) -> ArmRun:
        """Returns an arm by its name, or by its network's where a suite names networks alone; else an empty one."""
        of_network = [arm for arm in self.arms if arm.asked is None and arm.distinct("model") == [name]]
        named = [arm for arm in self.arms if arm.name == name] or (of_network if len(of_network) == 1 else [])
        return next(iter(named), ArmRun(name, None, [], None))


def is_guessing(accuracy: float, reasons: Sequence[str | None], classes: int | None) -> bool:
    """Says whether a network is near chance, as :data:`NEAR_CHANCE_WORDS` has it.

    Args:
        accuracy: Mean test accuracy, a fraction.
        reasons: What the verdict of each of its rows says.
        classes: How many there are to guess among; ``None`` where it is not known.
    """
    by_verdict = all(GUESSING in (reason or "") for reason in reasons)
    return by_verdict or (classes is not None and accuracy <= NEAR_CHANCE / classes)


def quoted(name: str) -> str:
    """Returns an arm's name as it stands in a sentence: quoted where it is more than one word."""
    return name if re.fullmatch(r"[\w.+:-]+", name) else f"“{name}”"
