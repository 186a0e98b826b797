"""Collections: TOML files that name several suites, which run one after another and fill one page."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from resbench.data.datasets import DatasetUnavailableError
from resbench.errors import InputError
from resbench.planning.arms import plan_arms
from resbench.planning.plan import Plan, plan_suite
from resbench.plugins import import_code
from resbench.report.experiments.stored import COLLECTION
from resbench.store import WRITTEN, refuse_others_files, write_atomically
from resbench.suite import Suite, check_folder_name, explain, find_suite_file, load_suite

SUITE = "suite"
"""The key of a suite's table that says which suite it is of."""


class Collection(BaseModel):
    """Suites that belong together."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, AfterValidator(check_folder_name)]
    description: str = ""
    without_cuda: str | None = None
    """The collection that takes its place where there is no CUDA device and no budget is given."""
    suites: dict[str, dict[str, Any]] = Field(min_length=1)
    """A suite's name, and which of its keys have other values here: a ``[suites.NAME]`` table each. Its key ``suite``
    says which suite the table is of, where that is not its name: one suite can so stand in several tables."""

    @model_validator(mode="after")
    def _names_suites(self) -> Collection:
        """Refuses a table whose key ``suite`` is no name."""
        for name, own in self.suites.items():
            if SUITE in own and not (isinstance(own[SUITE], str) and own[SUITE]):
                raise ValueError(
                    f"the key 'suites.{name}.{SUITE}' is {own[SUITE]!r}: give the name of a suite, or the path of its "
                    "file"
                )
        return self


@dataclass(frozen=True)
class Experiment:
    """One suite of a collection."""

    suite: Suite
    plan: Plan | None
    """``None`` where its dataset cannot be had."""
    missing: str = ""
    """Why not."""


def is_collection(name: str) -> bool:
    """Says whether a name, or a path of a TOML file, is that of a collection; a file that is no TOML is none."""
    try:
        return "suites" in tomllib.loads(find_suite_file(name).read_text(encoding="utf-8"))
    except (InputError, OSError, ValueError, RecursionError):
        return False  # load_suite says what is wrong


def load_collection(name: str) -> Collection:
    """Reads a collection by name or path.

    Raises:
        InputError: There is no such file, or it is not valid; the message names the key.
    """
    path = find_suite_file(name)
    try:
        data = {"name": path.stem, **tomllib.loads(path.read_text(encoding="utf-8"))}
    except OSError as error:
        raise InputError(f"cannot read the collection {str(path)!r}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"the collection {str(path)!r} is not valid TOML: {error}.") from error
    try:
        return Collection.model_validate(data)
    except ValidationError as error:
        faults = dict.fromkeys(explain(fault) for fault in error.errors())
        raise InputError(f"the collection {str(path)!r} is not valid: {'; '.join(faults)}.") from error


def load_suites(collection: Collection, **changes: Any) -> list[Suite]:
    """Reads the suites of a collection; changes given here go before those of its file.

    A choice of networks (``models``) leaves out the suites that have none of them.

    Raises:
        InputError: A suite is not there or not valid, a change reaches none, or no suite has a chosen network.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    suites = [_load(collection, name, own, given) for name, own in collection.suites.items()]
    if len({suite.name for suite in suites}) < len(suites):
        raise InputError(f"two suites of the collection {collection.name!r} have the same name: it names their folder.")
    if "models" not in given:
        return suites
    chosen, refusal = [], None
    for suite in suites:
        try:
            import_code(suite.imports)
            plan_arms(suite)
            chosen.append(suite)
        except InputError as error:
            refusal = error
    if refusal and not chosen:
        raise refusal
    return chosen


def _load(collection: Collection, name: str, own: dict[str, Any], given: dict[str, Any]) -> Suite:
    """Reads the suite of one table; of a suite that goes by another name, the table's is its name and its folder's."""
    if SUITE not in own:
        return load_suite(name, **{**own, **given})
    changes = {"name": name, **{key: value for key, value in own.items() if key != SUITE}, **given}
    try:
        return load_suite(own[SUITE], **changes)
    except InputError as error:
        raise InputError(f"[suites.{name}] of the collection {collection.name!r}: {error}") from error


def plan_collection(
    suites: list[Suite], *, data_dir: Path | None = None, on_message: Callable[[str], None] = lambda message: None
) -> list[Experiment]:
    """Plans every suite before the first one runs, so that a mistake in the last is found here.

    Args:
        suites: From :func:`load_suites`.
        data_dir: Where downloaded datasets are, or go.
        on_message: Told what takes time.

    Returns:
        One for each suite; one whose dataset cannot be had says why and has no plan, and the others run.

    Raises:
        InputError: Anything else about a suite is wrong; or no dataset of any can be had.
    """
    experiments = []
    missing: dict[str, DatasetUnavailableError] = {}  # each is asked for once: a silent server takes its time
    for suite in suites:
        try:
            plan = plan_suite(suite, data_dir=data_dir, on_message=on_message, missing=missing)
            experiments.append(Experiment(suite, plan))
        except DatasetUnavailableError as error:
            experiments.append(Experiment(suite, None, str(error)))
        except InputError as error:
            raise InputError(f"suite {suite.name}: {error}") from error
    if not any(experiment.plan for experiment in experiments):
        raise InputError(experiments[0].missing)
    for text in _repeats(experiments):
        on_message(text)
    return experiments


def _repeats(experiments: Sequence[Experiment]) -> Iterator[str]:
    """Says which suites run trials that an earlier one has run: a flag has taken away what they differ in."""
    plans = [(each.suite.name, {trial.trial_id for trial in each.plan.trials}) for each in experiments if each.plan]
    for place, (name, trials) in enumerate(plans):
        for earlier, its in plans[:place]:
            if trials & its:
                yield (
                    f"{name} runs {len(trials & its)} of its {len(trials)} trials a second time, for {earlier} has the "
                    "same ones: leave out the flag that makes the two alike, or name one suite."
                )
                break


def write_collection(folder: Path, collection: Collection, experiments: list[Experiment]) -> None:
    """Writes which suites a results folder is of, and what their sources said, for the page that tells of them.

    Args:
        folder: Gets a ``collection.json``; made where it does not exist.
        collection: Whose folder it is.
        experiments: From :func:`plan_collection`.

    Raises:
        InputError: The folder cannot be written to, or holds a page of somebody else's.
    """
    refuse_others_files(folder, COLLECTION, WRITTEN[:1])
    suites = [experiment.suite for experiment in experiments]
    data = {
        "name": collection.name,
        "description": collection.description,
        "suites": [suite.name for suite in suites],
        "missing": {
            experiment.suite.name: f"the dataset {experiment.suite.dataset} is neither on disk nor downloadable"
            for experiment in experiments
            if experiment.plan is None
        },
        "experiments": {
            suite.name: suite.model_dump(include={"description", "source", "arms", "compare"}) for suite in suites
        },
    }
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / COLLECTION, lambda path: path.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"cannot write to the results folder {str(folder)!r}: {error.strerror or error}. "
            "Give a folder that you may write to with --out."
        ) from error
