from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from records import make_record, make_trial

from resbench.schema import Hits
from resbench.stats import SHARED, pairwise
from resbench.stats.images import image_interval
from resbench.stats.pairwise import PAIR
from resbench.store import Store, load_results


def rows_of(frame: pd.DataFrame) -> dict[tuple[str, str], dict]:
    return {(row["model"], row["other"]): row for row in frame.to_dict("records")}


@pytest.fixture
def three(accuracies):
    return [
        *accuracies("a", 0.90, 0.91, 0.92),
        *accuracies("b", 0.95, 0.949, 0.951),
        *accuracies("c", 0.901, None, 0.922),
    ]


def hits_of(records, images: int = 400) -> dict[str, Hits]:
    """Hits of every trial that ended ok, each with the accuracy of its record."""
    generator = np.random.default_rng(0)
    ok = [record for record in records if record["test_accuracy"] is not None]
    return {record["trial_id"]: Hits.pack(generator.random(images) < record["test_accuracy"]) for record in ok}


def test_a_row_a_pair_the_better_first(trials_of, three):
    frame = pairwise(trials_of(*three), {})
    assert list(frame.columns) == [*PAIR, *SHARED]
    rows = rows_of(frame)
    # By their means: c's is over two seeds.
    assert list(rows) == [("b", "c"), ("b", "a"), ("c", "a")]
    row = rows["b", "a"]
    assert (row["group"], row["n"], row["tests"]) == (1, 3, 3)
    assert row["difference"] == pytest.approx(0.04)
    spreads = [np.std(values, ddof=1) for values in ([0.90, 0.91, 0.92], [0.95, 0.949, 0.951])]
    assert row["difference_se"] == pytest.approx(np.hypot(*spreads) / np.sqrt(3))
    welch = scipy.stats.ttest_ind([0.95, 0.949, 0.951], [0.90, 0.91, 0.92], equal_var=False)
    assert row["p"] == pytest.approx(welch.pvalue)
    assert row["difference_ci95"] == pytest.approx(welch.confidence_interval(0.95).high - 0.04)
    assert row["p"] < row["p_holm"] < 1
    assert (row["dataset"], row["budget"], row["device_name"]) == ("shapes10", "26ep", "NVIDIA H200")
    assert rows["b", "c"]["n"] == rows["c", "a"]["n"] == 2
    assert rows["c", "a"]["difference"] == pytest.approx(0.0015)
    assert frame["images"].isna().all()


def test_the_interval_over_images_is_of_the_common_seeds(trials_of, three):
    hits = hits_of(three)
    rows = rows_of(pairwise(trials_of(*three), hits))
    ids = {(record["model"], record["seed"]): record["trial_id"] for record in three}
    sides = [np.stack([hits[ids[model, seed]].unpack() for seed in (0, 2)]) for model in ("b", "c")]
    row = rows["b", "c"]
    assert row["images"] == 400
    assert (row["images_low"], row["images_high"]) == pytest.approx(image_interval(*sides))
    assert row["images_low"] < row["images_high"]


@pytest.mark.parametrize("other", [None, Hits.pack(np.ones(7, dtype=bool)), Hits(0, b"")])
def test_without_hits_of_every_seed_there_is_no_interval_over_images(trials_of, three, other):
    hits = hits_of(three)
    first = three[0]["trial_id"]
    hits = {key: value for key, value in hits.items() if key != first} | ({first: other} if other else {})
    rows = rows_of(pairwise(trials_of(*three), hits))
    assert pd.isna(rows["b", "a"]["images_low"])
    assert pd.isna(rows["b", "a"]["images"])
    assert not pd.isna(rows["b", "c"]["images_low"])


def test_one_seed_has_an_interval_over_images_and_no_other(trials_of, accuracies):
    records = [*accuracies("a", 0.9), *accuracies("b", 0.7)]
    (row,) = pairwise(trials_of(*records), hits_of(records)).to_dict("records")
    assert (row["n"], row["separated"]) == (1, False)
    assert row["reason"] == "one seed: no interval and no p"
    assert np.isnan([row["p"], row["p_holm"], row["difference_ci95"]]).all()
    assert 0 < row["images_low"] < 0.2 < row["images_high"] < 0.4


def test_only_what_may_be_compared_is(trials_of, accuracies):
    other_budget = make_record(make_trial("b", budget="1ep"))
    other_weights = make_record(make_trial("a", weights="default"), test_accuracy=0.5)
    frame = pairwise(trials_of(*accuracies("a", 0.9), other_budget, other_weights), {})
    assert [(row["model"], row["weights"], row["other"], row["other_weights"]) for row in frame.to_dict("records")] == [
        ("a", "random", "a", "default")
    ]
    assert pairwise(trials_of(other_budget), {}).empty


def test_what_never_ran_has_no_pairs(trials_of, accuracies):
    never = make_record(make_trial("b"), status="not_run", test_accuracy=None, device_name=None)
    assert pairwise(trials_of(*accuracies("a", 0.9), never), {}).empty


def test_the_file_holds_the_frame(tmp_path, three):
    store = Store(tmp_path, create=True)
    for record in three:
        store.append("trial", record)
    for trial_id, hits in hits_of(three).items():
        store.append("hits", {"trial_id": trial_id, **hits.to_dict()})
    results = store.derive()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "pairwise.csv"), results.pairwise, check_dtype=False)
    pd.testing.assert_frame_equal(load_results(tmp_path).pairwise, results.pairwise)
    assert results.pairwise["images_low"].notna().all()
