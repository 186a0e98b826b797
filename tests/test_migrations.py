"""Records of every earlier schema version, as they were written then, are read as today's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resbench.errors import InputError
from resbench.migrations import upgrade
from resbench.schema import SCHEMA_VERSION, Trial, TrialRecord, columns
from resbench.store import Store, load_results

STORED = Path(__file__).parent / "stored"


def test_there_is_a_stored_file_of_each_earlier_version():
    assert sorted(path.name for path in STORED.iterdir()) == [f"records-v{n}" for n in range(1, SCHEMA_VERSION)]


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_an_older_file_is_read_and_stays_as_it_was(version):
    folder = STORED / f"records-v{version}"
    before = (folder / "records.jsonl").read_bytes()
    assert {json.loads(line)["schema_version"] for line in before.splitlines()} == {version}
    results = load_results(folder)
    assert {event["schema_version"] for event in Store(folder).read()} == {SCHEMA_VERSION}
    assert (folder / "records.jsonl").read_bytes() == before
    assert list(results.trials.columns) == columns(TrialRecord)
    assert set(results.trials["status"]) == {"ok"}


def test_version_1_keeps_its_figures_and_says_what_it_did_not_know():
    row = load_results(STORED / "records-v1").trials.iloc[0]
    assert row["trial_id"] == "820bbd7c36b5"
    assert row["test_accuracy"] == 0.6509
    assert row["micro_batch_size"] == row["batch_size"] == 128
    assert row["measuring_version"] == 1
    assert row["resumed"] == 0
    assert row["verdict"] is None
    assert row["verdict_reasons"] == ""


def test_version_2_knew_no_cached_features_and_keeps_its_ids():
    row = load_results(STORED / "records-v2").trials.iloc[0]
    assert row["trial_id"] == "7a1a8cfb4951"
    assert not row["cached_features"]
    assert row["cached_features"] is not None
    planned = next(event for event in Store(STORED / "records-v2").read() if event["event"] == "suite")["trials"][0]
    assert Trial.from_dict(planned).trial_id == row["trial_id"]


def test_version_3_knew_one_device_no_nodes_and_no_code_of_the_users_and_keeps_its_ids():
    row = load_results(STORED / "records-v3").trials.iloc[0]
    assert row["trial_id"] == "7b607f7586eb"
    assert row["devices"] == 1
    assert row["node"] is None
    assert row["code"] is None
    planned = next(event for event in Store(STORED / "records-v3").read() if event["event"] == "suite")["trials"][0]
    assert Trial.from_dict(planned).trial_id == row["trial_id"]


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_that_never_was_is_refused(version, tmp_path):
    with pytest.raises(ValueError, match=f"no schema version {version}"):
        upgrade({"schema_version": version, "event": "trial"})
    (tmp_path / "records.jsonl").write_text(f'{{"schema_version": {version}, "event": "x"}}\n' * 2)
    with pytest.raises(InputError, match="line 1: not a resbench record"):
        load_results(tmp_path)


def test_version_4_knew_no_lowered_convolutions_and_keeps_its_ids():
    results = load_results(STORED / "records-v4")
    row = results.trials.iloc[0]
    assert row["trial_id"] == "aac9cebcb80f"
    assert row["lowering"] == "off"
    assert results.profile["lowering"].tolist() == ["off"]
    planned = next(event for event in Store(STORED / "records-v4").read() if event["event"] == "suite")["trials"][0]
    assert Trial.from_dict(planned).trial_id == row["trial_id"]
