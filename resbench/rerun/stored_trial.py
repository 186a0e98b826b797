"""A trial out of a results folder's records: its row, its plan, and where its data and weights were."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resbench.errors import InputError, NothingMeasuredError, did_you_mean, nearest
from resbench.inputs import Inputs
from resbench.libraries import split_name
from resbench.plugins import code_of, specs_of
from resbench.registry import model_entry
from resbench.report.groups import records
from resbench.report.numbers import present
from resbench.schema import Trial
from resbench.store import Store, load_results

if TYPE_CHECKING:
    from resbench.store import Results

MOST_NAMED = 5
"""Ids that a message names."""


@dataclass(frozen=True)
class StoredTrial:
    """One trial that ended ``ok``, with all that is recorded of how it ran."""

    results: Results
    row: dict[str, Any]
    """Its row of ``trials.csv``; what is not known is ``None``."""
    trial: Trial
    """Its plan."""
    suite_event: dict[str, Any]
    """The ``suite`` event that planned it, less its trials; empty where none did."""


def find_trial(folder: Path, given: str) -> StoredTrial:
    """Finds a trial by its id or the beginning of it.

    Args:
        folder: A results folder.
        given: A ``trial_id``, or as much of it as no other has.

    Raises:
        InputError: The folder cannot be read, the id is not that of one trial, or its plan is not recorded.
        NothingMeasuredError: The trial did not end ``ok``: there is nothing to hold a rerun against.
    """
    results = load_results(folder)
    trial_id = _complete(given.strip().lower(), results.trials["trial_id"].tolist(), folder)
    (found,) = records(results.trials[results.trials["trial_id"] == trial_id])
    row = {name: value if present(value) else None for name, value in found.items()}
    if row["status"] != "ok":
        raise NothingMeasuredError(
            f"trial {trial_id} ({row['model']} seed {row['seed']}) ended {row['status']} in {str(folder)!r}: there is "
            "nothing to hold a rerun against. `resbench bench` runs it again."
        )
    return StoredTrial(results, row, *_plan_of(folder, trial_id))


def _complete(given: str, known: list[str], folder: Path) -> str:
    """Returns the id that begins with what was given.

    Raises:
        InputError: None does, or several do.
    """
    found = [trial_id for trial_id in known if trial_id.startswith(given)] if given else []
    if given in found:
        return given
    if not found:
        close = nearest(given, known)
        hint = did_you_mean(close) if close else f" There are {', '.join(known[:MOST_NAMED])}"
        more = "" if close else ", and more." if len(known) > MOST_NAMED else "."
        raise InputError(f"no trial {given!r} in {str(folder)!r}.{hint}{more} trials.csv has the ids.")
    if len(found) > 1:
        listed = ", ".join(found[:MOST_NAMED]) + (", ..." if len(found) > MOST_NAMED else "")
        raise InputError(f"{len(found)} trials in {str(folder)!r} begin with {given!r}: {listed}. Give more of the id.")
    return found[0]


def _plan_of(folder: Path, trial_id: str) -> tuple[Trial, dict[str, Any]]:
    """Returns a trial's plan and the ``suite`` event that its record came after.

    Raises:
        InputError: No event planned it, or the plan is not the one that the id was made of.
    """
    suite: dict[str, Any] = {}
    told: tuple[dict[str, Any], dict[str, Any]] | None = None
    latest: tuple[dict[str, Any], dict[str, Any]] | None = None
    for event in Store(folder).checked():
        if event["event"] == "suite":
            suite = {key: value for key, value in event.items() if key != "trials"}
            planned = next((trial for trial in event["trials"] if trial["trial_id"] == trial_id), None)
            latest = (planned, suite) if planned else latest
        elif event["event"] == "start" and event["trial"]["trial_id"] == trial_id:
            latest = event["trial"], latest[1] if latest else suite
        elif event["event"] == "trial" and event["trial_id"] == trial_id:
            told = latest  # a later record counts more, a plan without a record after it does not
    if told is None:
        raise InputError(
            f"the records in {str(folder)!r} hold no plan of trial {trial_id}: it cannot be run again from them."
        )
    trial = Trial.from_dict(told[0])
    if trial.trial_id != trial_id:
        raise InputError(
            f"the plan of trial {trial_id} in {str(folder)!r} gives the id {trial.trial_id}: the records were changed "
            "after they were written."
        )
    return trial, told[1]


def check_code(trial: Trial) -> None:
    """Checks that the code of a stored trial's network is here, where that is none of resbench's own.

    What the records say to import is never imported: they may come from a stranger.

    Raises:
        InputError: It is not imported here, or it is another version of it.
    """
    if trial.code is None:
        return
    name = trial.code.rpartition(" ")[0]
    of_library = bool(split_name(trial.model)[0])
    try:
        here = code_of(model_entry(trial.model))
    except InputError as error:
        if of_library:
            raise
        raise InputError(
            f"the trial's network {trial.model!r} was registered by {name}, which is not imported here. Give it with "
            "--import, if you trust it."
        ) from error
    if here != trial.code:
        advice = "Install that version" if of_library else f"Give the same version of {name} with --import"
        raise InputError(
            f"the code of {trial.model!r} is not the one that the trial ran: recorded is {trial.code}, here is "
            f"{here or 'a network of another origin'}. {advice}."
        )


def inputs_of(
    stored: StoredTrial, *, dataset: str | None = None, data_dir: Path | None = None, weights: str | None = None
) -> Inputs:
    """Returns where a stored trial's data and weights are: as given, else as its run recorded it.

    Args:
        stored: From :func:`find_trial`.
        dataset: A dataset spec, for data that have moved.
        data_dir: Where downloaded datasets are.
        weights: A state-dict file, for weights that have moved.

    Raises:
        InputError: The records do not say where the data are, or the weights are not those that the trial began with.
    """
    suite = stored.suite_event.get("suite", {})
    told = stored.suite_event.get("inputs")
    recorded = Inputs.from_dict(
        told
        or {
            "dataset": _recorded_spec(suite, stored.trial),
            "resize": stored.trial.input[1:] if suite.get("input") else None,
            "weights": suite.get("weights"),
        }
    )
    if dataset is None and recorded.dataset is None:
        raise InputError(f"the records do not say where the dataset {stored.trial.dataset!r} is. Give --dataset SPEC.")
    return replace(
        recorded,
        dataset=dataset or recorded.dataset,
        data_dir=data_dir or recorded.data_dir,
        imports=specs_of([model_entry(stored.trial.model)]) if stored.trial.code else (),
        weights=_weights(stored.trial, weights, recorded.weights),
    )


def _recorded_spec(suite: dict[str, Any], trial: Trial) -> str | None:
    """Returns which of a suite's datasets a trial was planned with, by the name that its row carries."""
    from resbench.data.datasets import dataset_name

    specs = (suite.get("dataset"), suite.get("fallback_dataset"))
    return next((spec for spec in specs if spec and dataset_name(spec) == trial.dataset), None)


def _weights(trial: Trial, given: str | None, recorded: str | None) -> str | None:
    """Returns the weights that a trial began with.

    Raises:
        InputError: They are a file that is not there, or holds something else; or a file is given for a trial that
            began with none.
    """
    name, _, digest = trial.weights.rpartition(":")
    if not digest or not name:  # random, or torchvision's
        if given not in (None, trial.weights):
            raise InputError(f"the trial began with {trial.weights} weights: --weights is for those from a file.")
        return recorded
    path = Path(given or recorded or name).expanduser()
    if not path.is_file():
        raise InputError(f"the trial began with weights from {name!r}: no such file. Give it with --weights FILE.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(digest):
        raise InputError(
            f"the weights in {str(path)!r} are not those that the trial began with: their sha256 begins with "
            f"{found[: len(digest)]}, recorded is {digest}. Give the right file with --weights."
        )
    return str(path)
