from __future__ import annotations

from pathlib import Path

from records import FIVE_MODELS, make_record, make_trial, write_folder

from resbench.report.details import _devices, method
from resbench.report.groups import comparable_groups
from resbench.report.headline import headline
from resbench.schema import EngineSettings
from resbench.store import Store, load_results


def groups_of(folder: Path, *records: dict, planned=()):
    store = Store(folder, create=True)
    store.append("suite", {"trials": [trial.to_dict() for trial in planned]})
    for record in records:
        store.append("trial", record)
    return comparable_groups(load_results(folder).trials)


def test_one_group_has_no_title(tmp_path):
    (group,) = comparable_groups(load_results(write_folder(tmp_path, seeds=2)).trials)
    assert (group.title, group.slug) == ("", "")
    assert group.labels == list(FIVE_MODELS)


def test_what_differs_is_never_in_one_table(tmp_path):
    groups = groups_of(
        tmp_path,
        make_record(make_trial()),
        make_record(make_trial(budget="10min")),
        make_record(make_trial(dataset_fingerprint="f" * 64)),
        make_record(make_trial(stem="source")),
        make_record(make_trial(recipe="other")),
        make_record(make_trial(batch_size=64)),
        make_record(make_trial("resnet50"), compiled=False),
        make_record(make_trial("resnet152"), device_name="another"),
    )
    assert len(groups) == 8
    assert all(row["planned"] == 1 for group in groups for row in group.rows)
    assert len({group.slug for group in groups}) == 8


def test_a_trial_that_never_ran_joins_those_it_was_planned_with(tmp_path):
    planned = [make_trial(), make_trial("resnet50")]
    (group,) = groups_of(tmp_path, make_record(planned[0]), planned=planned)
    assert group.labels == ["resnet34", "resnet50"]
    assert group.settings["device_name"] == "NVIDIA H200"


def test_seeds_that_fell_back_to_eager_are_not_averaged_with_compiled_ones(tmp_path):
    groups = groups_of(tmp_path, make_record(make_trial(seed=0)), make_record(make_trial(seed=1), compiled=False))
    assert [group.title for group in groups] == ["compiled", "eager"]


def test_trials_on_several_devices_have_a_table_of_their_own_and_are_named(tmp_path):
    four = EngineSettings("cuda", "bf16", compile=True, devices=4)
    one, several = groups_of(tmp_path, make_record(make_trial()), make_record(make_trial(engine=four)))
    assert (one.title, several.title) == ("1 device a trial", "4 devices a trial")
    assert "on 4 x NVIDIA H200, resnet34 reaches" in headline(several)
    assert "on NVIDIA H200, resnet34 reaches" in headline(one)
    trials = load_results(tmp_path).trials
    assert list(_devices(trials)) == ["NVIDIA H200", "4 x NVIDIA H200"]
    assert [said for said in method(trials) if "training images/s are of all of them" in said]
    assert not [said for said in method(trials[trials["devices"] == 1]) if "all of them" in said]


def test_pretrained_weights_share_the_table_and_show_in_the_name(tmp_path):
    engine = EngineSettings("cuda", "bf16", compile=True)
    (group,) = groups_of(
        tmp_path,
        make_record(make_trial(engine=engine)),
        make_record(make_trial(engine=engine, weights="somewhere/net.pt")),
    )
    assert group.labels == ["resnet34", "resnet34 (net.pt weights)"]
