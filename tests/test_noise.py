from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from records import make_record, make_trial
from small_trials import Known, ScriptedDevice, planner, registering, run
from tiny_folder import make_tiny_folder

from resbench import trial as trial_module
from resbench.compare.metrics import noise_floors
from resbench.noise import METRICS, again_job, describe_floor, how_to_repeat, noise_floor, steps_to_repeat
from resbench.training.engine import Engine


@pytest.mark.usefixtures("brief_timing")
def test_all_that_a_trial_measured_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    device, told = ScriptedDevice.everywhere(monkeypatch), list[dict]()
    planned = planner(make_tiny_folder(tmp_path / "tiny"))(model="known", budget="2ep")
    with registering() as add:
        add("known", lambda: Known(device))
        first, _ = run(planned)
        device.pace = 1.25
        again_job(*planned, {"steps": 8, "skip": 0, "preserve": False}, lambda kind, data: told.append(data))
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


@pytest.mark.parametrize(
    ("row", "how"),
    [
        ({"steps": 5000}, {"steps": 50, "skip": 1, "preserve": False}),
        ({"steps": 7}, {"steps": 7, "skip": 0, "preserve": False}),
        ({"steps": 5000, "concurrent_seeds": 2}, {"steps": 50, "skip": 1, "preserve": True}),
    ],
)
def test_training_is_measured_again_as_the_row_came_about(row, how):
    assert how_to_repeat({"step_ms_p50": 1.0, "concurrent_seeds": 1, **row}) == how


@pytest.mark.usefixtures("brief_timing")
@pytest.mark.parametrize(("how", "copied"), [({"skip": 2, "preserve": False}, 0), ({"preserve": True}, 1)])
def test_steps_are_measured_again_without_a_copy_of_the_network_and_without_the_first(
    tmp_path, monkeypatch, how, copied
):
    copies, results, emitted = [], [], []
    preserved, train_alone = Engine.preserved, trial_module.train_alone
    monkeypatch.setattr(Engine, "preserved", lambda engine: copies.append(engine) or preserved(engine))
    monkeypatch.setattr(
        trial_module, "train_alone", lambda *of, **to: results.append(train_alone(*of, **to)) or results[0]
    )
    planned = planner(make_tiny_folder(tmp_path / "tiny"))()
    again_job(*planned, {"steps": 3, **how}, lambda kind, data: emitted.append(data))
    ((result,), (figures,)) = results, emitted
    assert len(copies) == 1 + copied  # one is of the profile, in the trial as here
    assert (result.steps, len(result.step_seconds)) == (3, 3)
    assert result.images_seen == 3 * planned[0].batch_size
    assert result.train_clock_s == pytest.approx(sum(result.step_seconds))
    assert figures["train_images_per_second"] == pytest.approx(result.images_seen / result.train_clock_s)
