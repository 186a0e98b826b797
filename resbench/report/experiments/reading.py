"""From a results folder to an experiment: which of its rows belong to which arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from resbench.compare.metrics import noise_floors
from resbench.errors import InputError, NothingMeasuredError
from resbench.experiment import Arm
from resbench.report.experiments.runs import ArmRun, ExperimentRun
from resbench.report.experiments.stored import Experiment
from resbench.report.groups import model_label, records
from resbench.report.numbers import present
from resbench.stats import on_one_machine, split_cells
from resbench.store import RECORDS, Store, load_results

if TYPE_CHECKING:
    from resbench.store import Results


def read_run(name: str, experiment: Experiment, folder: Path) -> ExperimentRun:
    """Joins what a suite's file says with what its results folder holds.

    Args:
        name: Of the suite.
        experiment: Its tables.
        folder: Its results folder, which need not exist.

    Raises:
        InputError: Its records cannot be read.
    """
    try:
        results = load_results(folder) if (folder / RECORDS).is_file() else None
    except NothingMeasuredError:
        results = None
    if results is not None:
        return run_of(name, experiment, results)
    nothing = [ArmRun(arm.name, arm, [], None) for arm in experiment.arms]
    return ExperimentRun(name, experiment.description, experiment.source, experiment.compare, nothing)


def own_run(results: Results) -> ExperimentRun | None:
    """Returns a folder's experiment as its own records say it; ``None`` where they ask no questions."""
    suite = (results.suites[-1].get("suite") or {}) if results.suites else {}
    try:
        experiment = Experiment.model_validate({name: suite.get(name) or [] for name in ("arms", "compare")})
    except ValidationError:  # records may be a stranger's
        return None
    return run_of(str(suite.get("name")), experiment, results) if experiment.compare else None


def run_of(name: str, experiment: Experiment, results: Results) -> ExperimentRun:
    """Joins what a suite's file says with what was measured.

    Args:
        name: Of the suite.
        experiment: Its tables.
        results: Of its folder.
    """
    rows = _rows(results)
    event = results.suites[-1] if results.suites else {}
    ids = _ids_of_arms(event, experiment.arms, rows)
    asked = {arm.name: arm for arm in experiment.arms}
    classes = _classes(results.folder)
    arms = []
    for each in dict.fromkeys((*asked, *ids)):
        own = [rows[trial_id] for trial_id in dict.fromkeys(ids.get(each, ())) if trial_id in rows]
        is_ok = {row["trial_id"] for row in own if row["status"] == "ok"}
        epochs = results.epochs[results.epochs["trial_id"].isin(is_ok)]
        width = next((classes[row["trial_id"]] for row in own if row["trial_id"] in classes), None)
        pretraining = _wants_pretraining(asked.get(each), event.get("suite") or {}, own)
        arms.append(ArmRun(each, asked.get(each), own, epochs, width, pretraining))
    assigned = {row["trial_id"] for arm in arms for row in arm.trials}
    rest = [row for trial_id, row in rows.items() if trial_id not in assigned]
    notices = list(dict.fromkeys(notice for suite in results.suites for notice in suite.get("notices", ())))
    return ExperimentRun(
        name,
        experiment.description,
        experiment.source,
        experiment.compare,
        arms,
        rest,
        notices,
        noise_floors(results),
        results.trials,
    )


def _rows(results: Results) -> dict[str, dict[str, Any]]:
    """Returns the rows of ``trials.csv`` by id, in their order."""
    found = records(on_one_machine(split_cells(results.trials)[0]))
    return {row["trial_id"]: {name: value if present(value) else None for name, value in row.items()} for row in found}


def _ids_of_arms(
    event: Mapping[str, Any], arms: list[Arm], rows: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[str]]:
    """Returns the trials of each arm: as the run says, or by what each arm asks for where an old one does not.

    Where a suite has no arms, each of its networks is one.
    """
    if event.get("arms"):
        return {arm["name"]: arm["trial_ids"] for arm in event["arms"]}
    suite = event.get("suite") or {}
    found: dict[str, list[str]] = {}
    for trial_id, row in rows.items():
        if not arms:  # a suite that names networks alone
            found.setdefault(model_label(row["model"], row["weights"]), []).append(trial_id)
            continue
        takers = [arm.name for arm in arms if _asks_for(arm, suite, row)]
        if len(takers) == 1:  # two arms that ask for the same cannot be told apart
            found.setdefault(takers[0], []).append(trial_id)
    return found


def _asks_for(arm: Arm, suite: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Says whether a row is what an arm asks for, as far as it or its suite says."""
    asked = {name: getattr(arm, name) or suite.get(name) for name in ("recipe", "weights")}
    return row["model"] == arm.model and all(value in (None, row[name]) for name, value in asked.items())


def _classes(folder: Path) -> dict[str, int]:
    """Returns the width of the logits of each planned trial; the tables do not have it."""
    found: dict[str, int] = {}
    for event in Store(folder).checked():
        plans: Iterable[dict[str, Any]] = event["trials"] if event["event"] == "suite" else ()
        if event["event"] == "start":
            plans = (event["trial"],)
        found |= {plan["trial_id"]: plan["num_classes"] for plan in plans if plan["num_classes"] > 0}
    return found


def _wants_pretraining(asked: Arm | None, suite: Mapping[str, Any], rows: list[dict[str, Any]]) -> bool:
    """Says whether an arm was to start from pretrained weights."""
    from resbench.registry import model_entry

    if asked is not None and asked.weights == "default":
        return True
    of_suite = suite.get("weights") if asked is None or asked.weights is None else None
    for model in {row["model"] for row in rows if ":" not in row["model"]}:  # a library's own start from random ones
        try:
            entry = model_entry(model)
        except InputError:  # a network of a plug-in that is not here
            continue
        if entry.default_weights == "default" or (entry.accepts_weights and of_suite == "default"):
            return True
    return False
