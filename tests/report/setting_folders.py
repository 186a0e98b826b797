"""Collections of settings: the same networks in several suites, with accuracies made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from source_folders import arm, read, write_suite

from resbench.report.budgets.settings import Setting, read_settings

Accuracies = dict[str, tuple[float | None, ...]]
"""By network, one a seed; ``None`` ran out of memory."""


def asks(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Returns the tables of a suite that names networks alone, with a question for each pair of them."""
    compare = [{"question": f"What does {one} add?", "arm": one, "against": other} for one, other in pairs]
    return {"description": "words", "compare": compare}


def write_setting(folder: Path, accuracies: Accuracies, /, *, budget: str = "26ep", stem: str = "cifar",
                  **changes: Any) -> Path:  # fmt: skip
    """Writes the results folder of a suite that names networks alone."""
    trial = {"budget": budget, "stem": stem}
    arms = {name: arm(name, *values, trial=trial, **changes) for name, values in accuracies.items()}
    return write_suite(folder, arms, with_arms=False)


def settings_of(folder: Path, **suites: Accuracies) -> list[Setting]:
    """Writes suites and reads them back as settings."""
    runs = []
    for name, accuracies in suites.items():
        arms = {label: arm(label, *values) for label, values in accuracies.items()}
        runs.append(read(folder / name, arms, asks(), with_arms=False))
    return read_settings(runs)
