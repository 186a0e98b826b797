"""Which trials may stand in one table: those that share data, recipe, budget and engine settings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from resbench.budget import parse_budget
from resbench.errors import InputError
from resbench.report.numbers import present
from resbench.stats import CELL, SETTINGS, SHARED, on_one_machine, split_cells, summarise
from resbench.stats.tiers import share_tier

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from resbench.store import Results

MOST_SHOWN = 24
"""Models that a plot names, or shows where each takes room of its own; more than these cannot be read."""


class Columns:
    """The trials of a folder column by column, as lists that are made when they are first asked for.

    A table and a plot need a few columns of a few trials at a time: a frame for each would cost more than they do.

    Args:
        trials: The columns of ``trials.csv``, with ``train_clock_s`` (data + step) as a further one.
    """

    def __init__(self, trials: pd.DataFrame) -> None:
        self._trials = trials
        self._lists: dict[str, list[Any]] = {}

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self._lists:
            values = self._trials[name]
            self._lists[name] = values.astype(object).where(values.notna(), None).tolist()
        return self._lists[name]


@dataclass(frozen=True, eq=False)
class Group:
    """Trials that may be compared with each other."""

    number: int
    """As ``summary.csv`` and ``pairwise.csv`` have it."""
    settings: dict[str, Any]
    """The value of every column of ``SHARED``; ``None`` where no trial got as far as knowing it."""
    title: str
    """The settings in which this group differs from the folder's others; empty where it is the only one."""
    rows: list[dict[str, Any]]
    """One row a cell, as ``summary.csv`` has it, with ``label`` as a further column."""
    columns: Columns
    """Of the whole folder, less times and memory of the trials that are ``elsewhere``."""
    recorded: Columns
    """Of the whole folder, with those."""
    ok_places: dict[str, list[int]]
    """Where the trials that ended ``ok`` are in those columns, by label."""
    floors: dict[str, float] = field(default_factory=dict)
    """By column, how far the machine was from itself, as a fraction; empty where that was not measured."""

    @property
    def labels(self) -> list[str]:
        """What tables and plots call the models, in the order of the rows."""
        return [row["label"] for row in self.rows]

    @cached_property
    def shown(self) -> list[str]:
        """The labels that plots have room for, in the table's order: where there are many, the most accurate."""
        ranked = sorted(
            self.rows, key=lambda row: -row["test_accuracy_mean"] if present(row["test_accuracy_mean"]) else 1
        )
        chosen = {row["label"] for row in ranked[:MOST_SHOWN]}
        return [label for label in self.labels if label in chosen]

    @property
    def caption(self) -> str:
        """Says below a plot's title which models it leaves out; empty where it shows all."""
        total = len(self.rows)
        return f"the {len(self.shown)} most accurate of {total:,} models" if len(self.shown) < total else ""

    @property
    def equal_time(self) -> bool:
        """Whether a budget of seconds gave all models the same training time, which then is no cost of any."""
        try:
            return parse_budget(str(self.settings["budget"])).unit == "s"
        except InputError:  # records may be a stranger's
            return False

    @property
    def slug(self) -> str:
        """The title as the beginning of a file name; empty where the title is."""
        return slug_of(self.title)

    @cached_property
    def top(self) -> list[str]:
        """The labels of the models that the data do not separate from the most accurate, it included.

        A model without a tier is none of them; empty where none has one.
        """
        ranked = [row for row in self.rows if present(row["tier"])]
        if not ranked:
            return []
        best = max(ranked, key=lambda row: row["test_accuracy_mean"])
        return [row["label"] for row in ranked if share_tier(row["tier"], best["tier"])]

    @cached_property
    def in_parts(self) -> dict[str, tuple[int, int]]:
        """Models of which a trial ran its batches in parts: images of the smallest part, and of a batch."""
        whole = self.settings["batch_size"] or 0
        smallest = {label: min(self.ok(label, "micro_batch_size"), default=whole) for label in self.labels}
        return {label: (int(part), int(whole)) for label, part in smallest.items() if part < whole}

    @cached_property
    def elsewhere(self) -> dict[str, list[tuple[int, str]]]:
        """Models of which a trial's times and memory count for none here: their seeds, and in what they differ."""
        found: dict[str, list[tuple[int, str]]] = {}
        for label, places in self.ok_places.items():
            for place in places:
                if why := self.columns["elsewhere"][place]:
                    found.setdefault(label, []).append((int(self.columns["seed"][place]), why))
        return found

    @cached_property
    def doubts(self) -> dict[str, list[tuple[int, str]]]:
        """Models of which a trial that ended ``ok`` is suspect: the seeds, and the reasons."""
        found: dict[str, list[tuple[int, str]]] = {}
        for label, places in self.ok_places.items():
            for place in places:
                if self.columns["verdict"][place] == "suspect":
                    reasons = self.columns["verdict_reasons"][place] or "no reason recorded"
                    found.setdefault(label, []).append((int(self.columns["seed"][place]), reasons))
        return found

    def by_seed(self, labels: Sequence[str], column: str) -> NDArray[np.float64]:
        """Returns one column of the trials that ended ``ok``: float [labels, seeds], NaN where there is none."""
        import numpy as np

        seeds, values = self.columns["seed"], self.columns[column]
        of_label = [{seeds[place]: values[place] for place in self.ok_places.get(label, ())} for label in labels]
        every = sorted({seed for found in of_label for seed in found})
        return np.array([[found.get(seed) for seed in every] for found in of_label], dtype=float)

    def ok_of(self, label: str, column: str) -> list[Any]:
        """Returns one column of a model's trials that ended ``ok``, ``None`` where it is empty."""
        return [self.columns[column][place] for place in self.ok_places.get(label, ())]

    def ok(self, label: str, column: str) -> list[Any]:
        """Returns one column of a model's trials that ended ``ok``, less those where it is empty."""
        return [value for value in self.ok_of(label, column) if value is not None]


def slug_of(title: str) -> str:
    """Returns a title as a part of a file's name: letters a to z, digits and hyphens."""
    return re.sub(r"[^0-9a-z]+", "-", title.lower()).strip("-")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the rows of a table, one dict a row."""
    return [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def model_label(model: str, weights: str) -> str:
    """Returns what tables and plots call a model: its name, and its weights where they are not random."""
    return model if weights == "random" else f"{model} ({PurePath(weights).name} weights)"


def groups_of(results: Results) -> list[Group]:
    """Returns the groups of a folder, which know its noise floors."""
    from resbench.compare.metrics import noise_floors  # compare is built on this module

    return comparable_groups(results.trials, noise_floors(results))


def comparable_groups(trials: pd.DataFrame, floors: dict[str, float] | None = None) -> list[Group]:
    """Splits trials into groups that may each fill one table, in the order in which they were planned.

    Args:
        trials: The columns of ``trials.csv``.
        floors: As :class:`Group` has them.
    """
    filled, cells = split_cells(trials)
    rows = records(summarise(trials))
    members: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        row["label"] = model_label(row["model"], row["weights"])
        members.setdefault(row["group"], []).append(index)
    settings_of = {
        number: {name: _known(rows[index][name] for index in indices) for name in SHARED}
        for number, indices in members.items()
    }
    differing = [name for name in SHARED if len({str(settings[name]) for settings in settings_of.values()}) > 1]
    columns, recorded = Columns(on_one_machine(filled)), Columns(filled)
    groups = []
    for number, indices in members.items():
        settings = settings_of[number]
        _tell_apart([rows[index] for index in indices])
        ok_places: dict[str, list[int]] = {}
        for index in indices:
            places = [place for place in cells[index].tolist() if columns["status"][place] == "ok"]
            ok_places.setdefault(rows[index]["label"], []).extend(places)
        title = ", ".join(describe(name, settings[name]) for name in differing)
        groups.append(
            Group(
                number, settings, title, [rows[index] for index in indices], columns, recorded, ok_places, floors or {}
            )
        )
    return groups


def _tell_apart(rows: Sequence[dict[str, Any]]) -> None:
    """Adds to labels that are alike what their cells differ in: the code that made the network, cached features."""
    counts = Counter(row["label"] for row in rows)
    repeated = [row for row in rows if counts[row["label"]] > 1]
    for name in (*CELL, *SETTINGS):
        if name not in (*SHARED, "model", "weights") and len({str(row[name]) for row in repeated}) > 1:
            for row in repeated:
                row["label"] += f" ({name.replace('_', ' ')} {row[name] if present(row[name]) else 'unknown'})"


def _known(values: Iterable[Any]) -> Any:
    """Returns the first value that is there, or ``None``."""
    return next((value for value in values if present(value)), None)


def describe(name: str, value: Any) -> str:
    """Names one setting in words: ``budget 26ep``, ``batch size 512``, ``fingerprint 0123456789ab``."""
    if value is None:
        return f"unknown {name.replace('_', ' ')}"
    words = {
        "dataset_fingerprint": f"fingerprint {str(value)[:12]}",
        "stem": f"{value} stem",
        "budget": f"budget {value}",
        "recipe": f"recipe {value}",
        "batch_size": f"batch size {value}",
        "devices": "1 device a trial" if value == 1 else f"{value} devices a trial",
        "tf32": f"TF32 {'on' if value else 'off'}",
        "compiled": "compiled" if value else "eager",
        "compile_mode": f"torch.compile mode {value}" if present(value) else "no torch.compile",
        "cuda_graph": "CUDA graph" if value else "no CUDA graph",
    }
    return words.get(name, str(value))
