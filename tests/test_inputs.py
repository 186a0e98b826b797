from __future__ import annotations

from pathlib import Path

import pytest
from tiny_folder import make_tiny_folder

import resbench
from resbench.inputs import Inputs
from resbench.rerun.stored_trial import find_trial, inputs_of
from resbench.suite import make_suite


@pytest.mark.parametrize(
    "inputs",
    [
        Inputs("shapes10"),
        Inputs("folder:x", Path("/data"), (300, 256), "mine.pt", channels=1, train_images=20, test_images=10),
    ],
    ids=["least", "all"],
)
def test_inputs_come_back_from_what_is_recorded(inputs: Inputs) -> None:
    assert Inputs.from_dict(inputs.to_dict()) == inputs


def test_records_of_before_had_fewer_fields() -> None:
    old = {"dataset": "cifar10", "data_dir": "/data", "resize": [32, 16], "weights": None}
    assert Inputs.from_dict(old) == Inputs("cifar10", Path("/data"), (32, 16))


@pytest.mark.parametrize(
    ("identity", "built_with"),
    [("random", "random"), ("default", "default"), ("mine.pt:0123456789ab", "/data/mine.pt")],
)
def test_a_network_is_built_with_what_its_trial_names(identity: str, built_with: str) -> None:
    assert Inputs("shapes10", weights="/data/mine.pt").weights_of(identity) == built_with


@pytest.mark.usefixtures("warm_trials")
def test_a_trial_on_gray_and_fewer_images_finds_them_again_from_its_record(tmp_path: Path) -> None:
    folder = make_tiny_folder(tmp_path / "tiny")
    data = {"name": "x", "models": ["cnn"], "dataset": f"folder:{folder}", "batch_size": 8, "budget": "1steps"}
    suite = make_suite(data, input="1x8x8", train_images=16, test_images=6, device="cpu", calibrate=False)
    results = resbench.run_suite(suite, out=tmp_path / "out")
    (row,) = results.trials.itertuples()
    assert (row.status, row.dataset, row.input) == ("ok", "tiny-gray-subset", "1x8x8")
    inputs = inputs_of(find_trial(tmp_path / "out", row.trial_id))
    assert (inputs.channels, inputs.train_images, inputs.test_images) == (1, 16, 6)
    found = inputs.load()
    assert (len(found.train), len(found.test), found.fingerprint) == (16, 6, row.dataset_fingerprint)
