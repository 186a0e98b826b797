from __future__ import annotations

import csv
import errno
import json
import math
import os

import numpy as np
import pandas as pd
import pytest
from records import make_epochs, make_record, make_trial, write_folder

from resbench.errors import InputError, NothingMeasuredError, StorageError
from resbench.schema import SCHEMA_VERSION, EpochRecord, Hits, ProfileRecord, TrialRecord, columns
from resbench.store import TORN, Store, load_results, planned_record, write_atomically


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results", create=True)


def make_profile(**changes) -> dict:
    filled = dict.fromkeys(columns(ProfileRecord))
    return {**filled, "model": "resnet34", "batch_size": 64, "params": 1, **changes}


def test_events_come_back_as_they_were_appended(store):
    store.append("suite", {"trials": []})
    store.append("trial", {"name": "ümlaut\n", "value": 0.1})
    assert store.events() == [
        {"schema_version": SCHEMA_VERSION, "event": "suite", "trials": []},
        {"schema_version": SCHEMA_VERSION, "event": "trial", "name": "ümlaut\n", "value": 0.1},
    ]


def test_a_number_that_is_not_finite_becomes_an_empty_cell(store):
    store.append("trial", make_record(make_trial(), test_loss=math.nan, status="diverged"))
    assert store.events()[0]["test_loss"] is None
    assert pd.isna(load_results(store.folder).trials["test_loss"][0])


def test_a_torn_last_line_is_left_out_with_a_warning(store):
    store.append("suite", {"trials": []})
    with store.path.open("a") as file:
        file.write('{"schema_version": 1, "eve')
    with pytest.warns(UserWarning, match="torn"):
        assert [event["event"] for event in store.events()] == ["suite"]


def test_appending_after_a_torn_line_loses_nothing_and_sets_it_aside(store):
    store.append("suite", {"trials": []})
    with store.path.open("a") as file:
        file.write('{"schema_version": 1, "eve')
    store.append("epoch", {"n": 1})
    store.append("epoch", {"n": 2})
    assert [event.get("n") for event in store.events()] == [None, 1, 2]
    assert (store.folder / TORN).read_text() == '{"schema_version": 1, "eve\n'


def test_a_whole_last_line_without_its_newline_is_kept(store):
    store.append("suite", {"trials": []})
    store.path.write_text(store.path.read_text().rstrip("\n"))
    store.append("epoch", {})
    assert [event["event"] for event in store.events()] == ["suite", "epoch"]


def test_events_can_be_read_one_at_a_time(store):
    for number in range(3):
        store.append("epoch", {"n": number})
    with store.path.open("a") as file:
        file.write("broken\n\n{}\n")
    reading = store.read()
    assert [next(reading)["n"] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="line 4: not a resbench record"):
        next(reading)


def test_blank_lines_behind_a_torn_one_change_nothing(store):
    store.append("suite", {"trials": []})
    with store.path.open("a") as file:
        file.write('{"schema_version": 1, "eve\n\n  \n')
    with pytest.warns(UserWarning, match="torn"):
        assert len(store.events()) == 1


@pytest.mark.parametrize("broken", ["not json", "[]", "{}", '{"schema_version": 1}', "\x00\x00"])
def test_a_broken_line_in_the_middle_is_refused(store, broken):
    store.append("suite", {"trials": []})
    with store.path.open("a") as file:
        file.write(broken + "\n")
    with store.path.open("a") as file:
        file.write(json.dumps({"schema_version": 1, "event": "epoch"}) + "\n")
    with pytest.raises(InputError, match="line 2: not a resbench record"):
        store.events()


def test_a_newer_schema_is_refused_with_advice(store):
    with store.path.open("a") as file:
        file.write(json.dumps({"schema_version": SCHEMA_VERSION + 1, "event": "suite"}) + "\n")
    with pytest.raises(InputError, match="newer resbench"):
        store.events()


def test_a_folder_that_cannot_be_made_is_refused_with_advice(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--out"):
        Store(tmp_path / "file" / "below", create=True)


def test_a_folder_without_records_is_no_results_folder(tmp_path):
    with pytest.raises(InputError, match="not a results folder"):
        Store(tmp_path)


def test_a_folder_of_results_folders_names_them(tmp_path):
    for name in ("two", "one"):
        Store(tmp_path / "all" / name, create=True)
    with pytest.raises(InputError, match=r"Give one of those in it: \S+/all/one, \S+/all/two\."):
        Store(tmp_path / "all")


def test_a_folder_with_empty_records_has_nothing_measured(store):
    with pytest.raises(NothingMeasuredError):
        load_results(store.folder)


def test_a_records_file_that_is_gone_is_reported(store):
    store.path.unlink()
    with pytest.raises(StorageError, match="is gone: the results folder was moved or removed"):
        store.append("suite", {})


def test_a_full_disk_is_reported_and_leaves_no_half_line(store, monkeypatch):
    store.append("suite", {"trials": []})
    before = store.path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot append to .*: No space left on device\. .* intact"):
        store.append("epoch", {"a": 1})
    monkeypatch.undo()
    assert store.path.read_bytes() == before
    store.append("epoch", {"a": 2})
    assert [event["event"] for event in store.events()] == ["suite", "epoch"]


def test_a_start_marks_a_trial_and_a_training_takes_back_what_came_after_its_step(store):
    trial = make_trial()
    rows = make_epochs(trial, accuracy=0.9, seconds=10.0, epochs=3)
    store.append("suite", {"trials": [trial.to_dict()]})
    started = {"trial": trial.to_dict(), "started_at": "2030-01-01T00:00:00+00:00"}
    store.append("start", started)
    for row in rows:
        store.append("epoch", row)
    cut_off = store.derive()
    assert list(cut_off.trials["status"]) == ["interrupted"]
    assert "left no record" in cut_off.trials["error"][0]
    assert cut_off.trials["started_at"][0] == "2030-01-01T00:00:00+00:00"
    assert list(cut_off.epochs["epoch"]) == [1, 2, 3]
    store.append("start", started)
    assert list(store.derive().epochs["epoch"]) == [1, 2, 3]  # it may still go on from there
    store.append("training", {"trial_id": trial.trial_id, "steps": rows[0]["steps"]})
    assert list(store.derive().epochs["epoch"]) == [1]
    store.append("training", {"trial_id": trial.trial_id, "steps": 0})
    assert store.derive().epochs.empty


def test_epochs_stand_in_the_order_of_planning_whenever_their_trials_ran(store):
    trials = [make_trial(seed=seed) for seed in range(3)]
    store.append("suite", {"trials": [trial.to_dict() for trial in trials]})
    for trial in (trials[2], trials[0], trials[1]):
        for row in make_epochs(trial, accuracy=0.9, seconds=10.0, epochs=2):
            store.append("epoch", row)
    assert list(store.derive().epochs["seed"]) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("left", [b"\0" * 300 + b"\n", b"[]\n", b'{"schema_version": 2, "ev\n'])
def test_a_whole_last_line_that_is_no_event_is_set_aside_when_a_run_goes_on(store, left):
    store.append("suite", {"trials": []})
    with store.path.open("ab") as file:
        file.write(left)
    again = Store(store.folder, create=True)
    again.append("epoch", {})
    again.append("epoch", {})
    assert [event["event"] for event in again.events()] == ["suite", "epoch", "epoch"]
    assert (store.folder / TORN).read_bytes() == left


def test_hits_come_back_as_they_were_packed(store):
    correct = np.arange(13) % 3 == 0
    store.append("hits", {"trial_id": "x", **Hits.pack(correct).to_dict()})
    assert load_results(store.folder).hits["x"].unpack().tolist() == correct.tolist()


def test_planned_trials_without_a_record_are_not_run(store):
    trials = [make_trial(seed=seed) for seed in range(3)]
    store.append("suite", {"trials": [trial.to_dict() for trial in trials]})
    store.append("trial", make_record(trials[1]))
    table = store.derive().trials
    assert list(table["seed"]) == [0, 1, 2]
    assert list(table["status"]) == ["not_run", "ok", "not_run"]


def test_the_last_record_of_a_trial_counts(store):
    trial = make_trial()
    for status in ("crashed", "ok"):
        store.append("trial", make_record(trial, status=status))
    assert list(store.derive().trials["status"]) == ["ok"]


def test_the_last_word_on_a_trial_counts(store):
    trials = [make_trial(seed=seed) for seed in range(3)]
    for trial, status in zip(trials, ["ok", "oom", "ok"], strict=True):
        store.append("trial", make_record(trial, status=status))
    store.append("trial", make_record(trials[2], status="crashed"))
    store.append("start", {"trial": trials[1].to_dict(), "started_at": "2030-01-01T00:00:00+00:00"})
    ids = [trial.trial_id for trial in trials]
    assert store.standing().statuses == dict(zip(ids, ["ok", "interrupted", "crashed"], strict=True))


def test_a_record_takes_the_place_of_its_plan_and_one_without_a_plan_comes_last(store):
    first, second, unplanned = (make_trial(seed=seed) for seed in range(3))
    store.append("trial", make_record(unplanned))
    store.append("suite", {"trials": [trial.to_dict() for trial in (first, second)]})
    store.append("trial", make_record(second))
    store.append("suite", {"trials": [trial.to_dict() for trial in (second, first, unplanned)]})
    store.append("trial", make_record(first, status="oom"))
    table = load_results(store.folder).trials
    assert list(zip(table["seed"], table["status"], strict=True)) == [(2, "ok"), (0, "oom"), (1, "ok")]


def test_results_hold_the_suites_less_their_trials(store):
    store.append("suite", {"suite": {"name": "one"}, "notices": ["careful"], "trials": [make_trial().to_dict()]})
    store.append("suite", {"suite": {"name": "two"}, "trials": []})
    first, second = load_results(store.folder).suites
    assert (first["suite"]["name"], first["notices"], second["suite"]["name"]) == ("one", ["careful"], "two")
    assert "trials" not in first


def test_a_column_that_a_record_does_not_have_is_empty(store):
    record = make_record(make_trial())
    for column in ("energy_j", "cuda", "cpu_threads"):
        del record[column]
    store.append("trial", record)
    row = store.derive().trials.iloc[0]
    assert row[["energy_j", "cuda", "cpu_threads"]].isna().all()


def test_the_epochs_of_a_rerun_replace_those_before(store):
    trial, other = make_trial(seed=0), make_trial(seed=1)
    for row in make_epochs(trial, accuracy=0.5, seconds=1.0, epochs=3):
        store.append("epoch", row)
    store.append("epoch", make_epochs(other, accuracy=0.5, seconds=1.0, epochs=1)[0])
    for row in make_epochs(trial, accuracy=0.9, seconds=1.0, epochs=2):
        store.append("epoch", row)
    epochs = load_results(store.folder).epochs
    assert list(epochs.groupby("trial_id", sort=False).size()) == [2, 1]
    assert epochs.loc[epochs["trial_id"] == trial.trial_id, "test_accuracy"].max() > 0.5


def test_profiles_of_unfinished_trials_and_repeats_are_left_out(store):
    done, broken = make_trial(seed=0), make_trial(seed=1)
    for trial in (done, broken, done):
        store.append("profile", make_profile(trial_id=trial.trial_id, params=1))
    store.append("profile", make_profile(trial_id=done.trial_id, params=2))
    store.append("profile", make_profile(trial_id=None, params=3))
    store.append("trial", make_record(done))
    assert list(load_results(store.folder).profile["params"]) == [2, 3]


def test_profiles_of_one_network_under_other_settings_are_all_kept(store):
    others = {
        "model": "resnet50", "stem": "cifar", "input": "3x64x64", "num_classes": 100, "batch_size": 1,
        "device_name": "another", "precision": "bf16", "memory_format": "contiguous", "compiled": True,
        "compile_mode": "max-autotune-no-cudagraphs", "cuda_graph": True, "lowering": "auto",
    }  # fmt: skip
    for changes in ({}, *({column: value} for column, value in others.items())):
        for params in (1, 2):
            store.append("profile", make_profile(**{"trial_id": None, "params": params, **changes}))
    assert list(load_results(store.folder).profile["params"]) == [2] * (1 + len(others))


def test_csv_files_hold_the_frames_in_the_order_of_the_schema(tmp_path):
    folder = write_folder(tmp_path, seeds=1, epochs=2)
    results = Store(folder).derive()
    for name, record in (("trials", TrialRecord), ("epochs", EpochRecord), ("profile", ProfileRecord)):
        frame = getattr(results, name)
        with (folder / f"{name}.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        assert header == list(frame.columns) == columns(record)
        assert len(rows) == len(frame)
    read = pd.read_csv(folder / "summary.csv", dtype={"code": object})
    pd.testing.assert_frame_equal(read.fillna({"code": ""}), results.summary.fillna({"code": ""}), check_dtype=False)


def test_whole_numbers_stay_whole_beside_an_empty_cell(store):
    store.append("trial", make_record(make_trial(seed=0)))
    store.append("trial", make_record(make_trial(seed=1), status="crashed", params=None))
    store.derive()
    with (store.folder / "trials.csv").open(newline="") as file:
        assert [row["params"] for row in csv.DictReader(file)] == ["21289802", ""]


def test_notes_are_one_cell(store):
    store.append("trial", make_record(make_trial(), notes=["one", "two"]))
    assert load_results(store.folder).trials["notes"][0] == "one; two"


def test_a_planned_record_knows_the_settings_asked_for():
    record = planned_record(make_trial(), source="somewhere")
    assert (record.status, record.precision, record.batch_size, record.input) == ("not_run", "bf16", 512, "3x32x32")
    assert record.compiled is None  # only a run can tell


def test_writing_is_all_or_nothing(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("before")

    def fail(temporary):
        temporary.write_text("half")
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.md"]
    assert path.read_text() == "before"


def test_what_somebody_else_wrote_is_not_written_over(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds README.md and no records.jsonl: it is no folder of results"):
        Store(tmp_path, create=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "notes.txt"]
    (tmp_path / "README.md").unlink()
    Store(tmp_path, create=True)
    (tmp_path / "README.md").write_text("derived")
    Store(tmp_path, create=True)  # it is a results folder now
