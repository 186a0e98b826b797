from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import make_trial

from resbench.schema import (
    PROFILED,
    EngineSettings,
    EpochRecord,
    ProfileRecord,
    Trial,
    TrialRecord,
    columns,
    format_input,
)

NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
TRIALS = st.builds(
    Trial,
    model=NAMES,
    stem=st.sampled_from(["source", "cifar"]),
    dataset=NAMES,
    dataset_fingerprint=NAMES,
    num_classes=st.integers(2, 1000),
    input=st.tuples(st.integers(1, 4), st.integers(8, 256), st.integers(8, 256)),
    recipe=NAMES,
    batch_size=st.integers(1, 4096),
    budget=NAMES,
    seed=st.integers(0, 2**32 - 1),
    engine=st.builds(
        EngineSettings,
        device=NAMES,
        precision=st.sampled_from(["fp32", "tf32", "bf16"]),
        cuda_graph=st.booleans(),
        compile_mode=st.sampled_from(["default", "reduce-overhead", "max-autotune-no-cudagraphs"]),
        cache_features=st.booleans(),
        devices=st.integers(1, 8),
    ),
    code=st.none() | NAMES,
)


@given(TRIALS)
def test_a_trial_survives_a_round_trip_through_json(trial):
    rebuilt = Trial.from_dict(json.loads(json.dumps(trial.to_dict())))
    assert rebuilt == trial
    assert rebuilt.trial_id == trial.trial_id


def test_trial_id_is_pinned():
    # Results in the field carry this id: a change here orphans them and wants a new SCHEMA_VERSION.
    assert make_trial().trial_id == "78ddefab880d"


def test_a_trial_that_was_stored_before_a_setting_existed_keeps_its_id():
    stored = make_trial().to_dict()
    del stored["engine"]["compile_mode"], stored["engine"]["cache_features"], stored["engine"]["devices"]
    del stored["code"]
    rebuilt = Trial.from_dict(stored)
    assert rebuilt == make_trial()
    assert rebuilt.trial_id == stored["trial_id"] == "78ddefab880d"


def test_a_changed_copy_has_an_id_of_its_own():
    trial = make_trial()
    assert replace(trial, seed=1).trial_id != trial.trial_id  # the id is kept once it was computed
    assert replace(trial, seed=1).trial_id == make_trial(seed=1).trial_id
    assert replace(replace(trial, seed=1), seed=0).trial_id == trial.trial_id


CHANGES = {
    "model": "other",
    "stem": "source",
    "dataset": "cifar10",
    "dataset_fingerprint": "f" * 64,
    "num_classes": 20,
    "input": (1, 28, 28),
    "recipe": "other",
    "batch_size": 64,
    "budget": "27ep",
    "seed": 1,
    "weights": "default",
    "code": "my_nets.py sha256:0123456789ab",
}
ENGINE_CHANGES = {
    "device": "cpu",
    "precision": "fp32",
    "compile": False,
    "memory_format": "contiguous",
    "cuda_graph": True,
    "compile_mode": "max-autotune-no-cudagraphs",
    "cache_features": False,
    "devices": 2,
    "lowering": "off",
}


@pytest.mark.parametrize("field", [field.name for field in fields(Trial) if field.name != "engine"])
def test_every_field_changes_the_id(field):
    assert make_trial(**{field: CHANGES[field]}).trial_id != make_trial().trial_id


@pytest.mark.parametrize("field", [field.name for field in fields(EngineSettings)])
def test_every_engine_setting_changes_the_id(field):
    trial = make_trial()
    changed = replace(trial, engine=replace(trial.engine, **{field: ENGINE_CHANGES[field]}))
    assert changed.trial_id != trial.trial_id


def test_the_input_reads_as_the_flags_have_it():
    assert format_input((3, 32, 64)) == "3x32x64"


DOCUMENTED = """
trial_id model code source stem dataset dataset_fingerprint input recipe budget seed
device_name devices precision tf32 memory_format compiled compile_mode cuda_graph lowering cached_features batch_size
cpu_threads
concurrent_seeds
status phase error stopped_by overshoot
params trainable_params macs forward_flops train_flops_per_image activations peak_memory_allocated_mib
peak_memory_reserved_mib inference_memory_mib train_images_per_second inference_images_per_second step_ms_p50
step_ms_p90 forward_ms backward_ms mfu energy_j
test_accuracy best_test_accuracy train_accuracy test_loss epochs steps images_seen train_flops_spent
build_s compile_s warmup_s data_s step_s eval_s checkpoint_s other_s wall_s
git_sha git_dirty resbench torch torchvision cuda cudnn driver python host_cpu node started_at
"""


def test_trials_csv_has_every_documented_column():
    assert set(DOCUMENTED.split()) <= set(columns(TrialRecord))


def test_a_trial_has_every_column_that_it_takes_from_its_profile():
    assert len(set(PROFILED)) == len(PROFILED)
    for record in (TrialRecord, ProfileRecord):
        assert set(PROFILED) <= set(columns(record))
    assert {"compiled", "compile_mode", "cuda_graph", "lowering"} <= set(PROFILED)


@pytest.mark.parametrize("record", [TrialRecord, EpochRecord, ProfileRecord])
def test_columns_are_the_fields_in_order(record):
    assert columns(record) == [field.name for field in fields(record)]
    assert len(set(columns(record))) == len(columns(record))
