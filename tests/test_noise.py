from __future__ import annotations

import pytest
from records import make_record, make_trial

from resbench.noise import METRICS, describe_floor, noise_floor, steps_to_repeat


def test_the_floor_is_the_relative_difference_of_each_figure_that_both_have():
    row = make_record(make_trial(), train_images_per_second=1000.0, latency_ms_p50=2.0, inference_memory_mib=None)
    again = {name: row[name] for name in METRICS} | {"train_images_per_second": 980.0, "latency_ms_p50": 2.1}
    event = noise_floor(row, {**again, "reasons": []})
    assert event["relative"]["train_images_per_second"] == pytest.approx(0.02)
    assert event["relative"]["latency_ms_p50"] == pytest.approx(0.05)
    assert event["relative"]["step_ms_p50"] == 0
    assert "inference_memory_mib" not in event["relative"]
    assert (event["trial_id"], event["verdict"], event["verdict_reasons"]) == (row["trial_id"], "valid", [])
    assert (
        describe_floor(event)
        == "noise floor, resnet34 against itself: train images/s 2.0%, latency p50 5.0%, step p50 0.0%"
    )


def test_a_floor_that_was_measured_on_a_busy_machine_says_so():
    row = make_record(make_trial(), verdict_reasons=["train: busy"])
    event = noise_floor(row, {**{name: row[name] for name in METRICS}, "reasons": ["train: busy", "profile: busy"]})
    assert (event["verdict"], event["verdict_reasons"]) == ("suspect", ["train: busy", "profile: busy"])
    assert describe_floor(event).endswith("(suspect: the machine was busy with other things)")


@pytest.mark.parametrize(
    ("step_ms", "taken", "steps"),
    [(1.0, 5000, 50), (400.0, 5000, 25), (5000.0, 5000, 10), (1.0, 7, 7), (None, 100, 50), (1.0, None, 1)],
)
def test_as_many_steps_are_measured_again_as_ten_seconds_allow(step_ms, taken, steps):
    assert steps_to_repeat({"step_ms_p50": step_ms, "steps": taken}) == steps
