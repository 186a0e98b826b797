from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from records import make_record, make_trial
from small_trials import Known, ScriptedDevice, planner, registering, run
from tiny_folder import make_tiny_folder

from resbench.compare.metrics import noise_floors
from resbench.noise import METRICS, again_job, describe_floor, noise_floor, steps_to_repeat


@pytest.mark.usefixtures("brief_timing")
def test_all_that_a_trial_measured_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    device, told = ScriptedDevice.everywhere(monkeypatch), list[dict]()
    planned = planner(make_tiny_folder(tmp_path / "tiny"))(model="known", budget="2ep")
    with registering() as add:
        add("known", lambda: Known(device))
        first, _ = run(planned)
        device.pace = 1.25
        again_job(*planned, 8, lambda kind, data: told.append(data))
    times = {"latency_ms_p50": 500.0, "step_ms_p50": 2750.0}
    rates = {"train_images_per_second": 64 / 34, "inference_images_per_second": 8 / 0.5}
    memory = {"peak_memory_allocated_mib": 100.0, "inference_memory_mib": 100.0}
    row = first.to_dict()
    assert {name: row[name] for name in METRICS} == pytest.approx(times | rates | memory)
    slower = {name: 1.25 * value for name, value in (times | memory).items()}
    slower |= {name: value / 1.25 for name, value in rates.items()}
    assert {name: told[0][name] for name in METRICS} == pytest.approx(slower)
    event = noise_floor(row, told[0])
    assert event["first"] == pytest.approx(times | rates | memory)
    assert event["again"] == pytest.approx(slower)
    assert event["relative"] == pytest.approx({**dict.fromkeys(times | memory, 0.25), **dict.fromkeys(rates, 0.2)})


@pytest.mark.parametrize("measured", [(0.02, 0.08, 0.04), (0.08, 0.02, None), (None, -0.08, 0.02)])
def test_the_largest_of_several_floors_counts(measured: tuple[float | None, ...]):
    events = [{"relative": {"latency_ms_p50": value, "step_ms_p50": 0.01}} for value in measured]
    folders: Any = [SimpleNamespace(noise_floors=some) for some in (events[:2], events[2:])]
    assert noise_floors(*folders) == noise_floors(*reversed(folders)) == {"latency_ms_p50": 0.08, "step_ms_p50": 0.01}


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
    event = noise_floor(row, {**{name: row[name] for name in METRICS}, "reasons": ["profile: busy"]})
    assert (event["verdict"], event["verdict_reasons"]) == ("suspect", ["train: busy", "profile: busy"])
    assert describe_floor(event).endswith("(suspect: the machine was busy with other things)")


@pytest.mark.parametrize(
    ("step_ms", "taken", "steps"),
    [(1.0, 5000, 50), (400.0, 5000, 25), (5000.0, 5000, 10), (1.0, 7, 7), (None, 100, 50), (1.0, None, 1)],
)
def test_as_many_steps_are_measured_again_as_ten_seconds_allow(step_ms, taken, steps):
    assert steps_to_repeat({"step_ms_p50": step_ms, "steps": taken}) == steps
