from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from records import make_record, make_trial

from resbench.errors import InputError, NothingMeasuredError
from resbench.rerun.stored_trial import find_trial, inputs_of
from resbench.schema import Trial
from resbench.store import Store

SUITE = {"name": "pets", "dataset": "folder:/data/pets", "fallback_dataset": None, "input": None, "weights": None}


def store_of(folder: Path, *trials: Trial, suite: dict[str, Any] | None = None, **event: Any) -> Path:
    """A folder in which every trial was planned and ended ok."""
    store = Store(folder, create=True)
    planned = [trial.to_dict() for trial in trials]
    store.append("suite", {"suite": SUITE if suite is None else suite, "trials": planned, "notices": [], **event})
    for trial in trials:
        store.append("trial", make_record(trial))
    return folder


def test_a_trial_is_found_by_its_id_or_the_beginning_of_it(tmp_path: Path) -> None:
    trials = [make_trial(seed=seed) for seed in range(5)]
    folder = store_of(tmp_path, *trials)
    for given in (trials[2].trial_id, trials[2].trial_id[:6], trials[2].trial_id[:6].upper() + " "):
        stored = find_trial(folder, given)
        assert stored.trial == trials[2]
        assert stored.row["seed"] == 2
        assert stored.row["energy_j"] is None
        assert stored.suite_event["suite"] == SUITE


def test_an_id_that_is_not_one_trials(tmp_path: Path) -> None:
    trials = [make_trial(seed=seed) for seed in range(40)]
    folder = store_of(tmp_path, *trials)
    first = trials[0].trial_id
    with pytest.raises(InputError, match=f"Did you mean {first}"):
        find_trial(folder, f"{first[:-1]}x")
    with pytest.raises(InputError, match=r"There are .*, and more\. trials.csv has the ids"):
        find_trial(folder, "zzz")
    with pytest.raises(InputError, match="no trial ''"):
        find_trial(folder, " ")
    shared = next(a for a in "0123456789abcdef" if sum(trial.trial_id.startswith(a) for trial in trials) > 1)
    with pytest.raises(InputError, match=rf"\d+ trials in .* begin with '{shared}'.*Give more of the id"):
        find_trial(folder, shared)


@pytest.mark.parametrize("status", ["oom", "not_run", "crashed"])
def test_there_is_nothing_to_hold_a_rerun_of_a_failure_against(tmp_path: Path, status: str) -> None:
    trial = make_trial()
    folder = store_of(tmp_path, trial)
    Store(folder).append("trial", make_record(trial, status=status))
    with pytest.raises(NothingMeasuredError, match=f"ended {status}") as caught:
        find_trial(folder, trial.trial_id)
    assert caught.value.exit_code == 4


def test_the_plan_is_that_of_the_run_that_left_the_record(tmp_path: Path) -> None:
    trial = make_trial()
    folder = store_of(tmp_path, trial, suite={**SUITE, "dataset": "folder:/first"})
    Store(folder).append("suite", {"suite": {**SUITE, "dataset": "folder:/later"}, "trials": [trial.to_dict()]})
    assert find_trial(folder, trial.trial_id).suite_event["suite"]["dataset"] == "folder:/first"
    Store(folder).append("start", {"trial": trial.to_dict(), "steps": 0, "started_at": "2030-01-01"})
    Store(folder).append("trial", make_record(trial))
    assert find_trial(folder, trial.trial_id).suite_event["suite"]["dataset"] == "folder:/later"


def test_a_record_without_a_plan_or_with_a_changed_one_is_refused(tmp_path: Path) -> None:
    trial = make_trial()
    Store(tmp_path / "a", create=True).append("trial", make_record(trial))
    with pytest.raises(InputError, match="hold no plan"):
        find_trial(tmp_path / "a", trial.trial_id)
    store = Store(tmp_path / "b", create=True)
    store.append("suite", {"suite": SUITE, "trials": [{**trial.to_dict(), "recipe": "other"}]})
    store.append("trial", make_record(trial))
    with pytest.raises(InputError, match="the records were changed after they were written"):
        find_trial(tmp_path / "b", trial.trial_id)


# Where data and weights are ---------------------------------------------------------------------------------------


def test_the_recorded_inputs_come_first_and_what_is_given_before_them(tmp_path: Path) -> None:
    recorded = {"dataset": "folder:/there/pets", "data_dir": "/data", "resize": [64, 48], "weights": None}
    stored = find_trial(store_of(tmp_path, trial := make_trial(dataset="pets"), inputs=recorded), trial.trial_id)
    inputs = inputs_of(stored)
    assert (inputs.dataset, inputs.data_dir, inputs.resize) == ("folder:/there/pets", Path("/data"), (64, 48))
    inputs = inputs_of(stored, dataset="folder:/here/pets", data_dir=Path("elsewhere"))
    assert (inputs.dataset, inputs.data_dir, inputs.resize) == ("folder:/here/pets", Path("elsewhere"), (64, 48))


@pytest.mark.parametrize(
    ("suite", "dataset", "spec", "resize"),
    [
        ({}, "pets", "folder:/data/pets", None),
        ({"dataset": "cifar10", "fallback_dataset": "shapes10"}, "cifar10", "cifar10", None),
        ({"dataset": "cifar10", "fallback_dataset": "shapes10"}, "shapes10", "shapes10", None),
        ({"input": "3x32x32"}, "pets", "folder:/data/pets", (32, 32)),
    ],
)
def test_an_older_record_says_it_through_its_suite(
    tmp_path: Path, suite: dict[str, Any], dataset: str, spec: str, resize: tuple[int, int] | None
) -> None:
    folder = store_of(tmp_path, trial := make_trial(dataset=dataset), suite={**SUITE, **suite})
    inputs = inputs_of(find_trial(folder, trial.trial_id))
    assert (inputs.dataset, inputs.data_dir, inputs.resize, inputs.weights) == (spec, None, resize, None)


def test_data_that_the_record_does_not_place_must_be_given(tmp_path: Path) -> None:
    stored = find_trial(store_of(tmp_path, trial := make_trial(dataset="birds")), trial.trial_id)
    with pytest.raises(InputError, match=r"do not say where the dataset 'birds' is\. Give --dataset SPEC"):
        inputs_of(stored)
    assert inputs_of(stored, dataset="folder:birds").dataset == "folder:birds"


def test_weights_from_a_file_are_those_that_the_trial_began_with(tmp_path: Path) -> None:
    file, other = tmp_path / "w.pth", tmp_path / "other.pth"
    file.write_bytes(b"weights")
    other.write_bytes(b"others")
    identity = f"w.pth:{hashlib.sha256(b'weights').hexdigest()[:12]}"
    trial = make_trial(weights=identity)
    inputs = {"dataset": "shapes10", "data_dir": None, "resize": None, "weights": str(file)}
    stored = find_trial(store_of(tmp_path / "a", trial, inputs=inputs), trial.trial_id)
    assert inputs_of(stored).weights == str(file)
    with pytest.raises(InputError, match=f"are not those that the trial began with.*recorded is {identity[6:]}"):
        inputs_of(stored, weights=str(other))
    file.rename(tmp_path / "moved.pth")
    with pytest.raises(InputError, match=r"no such file\. Give it with --weights FILE"):
        inputs_of(stored)
    assert inputs_of(stored, weights=str(tmp_path / "moved.pth")).weights == str(tmp_path / "moved.pth")


def test_a_file_for_a_trial_that_began_with_none_is_refused(tmp_path: Path) -> None:
    folder = store_of(tmp_path, trial := make_trial(dataset="pets"))
    with pytest.raises(InputError, match="began with random weights"):
        inputs_of(find_trial(folder, trial.trial_id), weights="w.pth")
