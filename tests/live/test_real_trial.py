"""What a trial really sends, as the view and the event files take it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from small_trials import of_kind, planner, run
from tiny_folder import make_tiny_folder

from resbench.live.eventfiles import SCALARS, EventFiles
from resbench.live.view import RunView

pytestmark = pytest.mark.usefixtures("brief_timing")


def test_a_trials_own_messages_fill_the_dashboard_and_the_event_files(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trial, inputs = planner(make_tiny_folder(tmp_path / "images"))(budget="2ep")
    record, events = run((trial, inputs))
    assert record.status == "ok"
    progress = of_kind(events, "progress")
    assert progress
    assert all(20 < message["memory_mib"] < 100_000 for message in progress)

    file, failures = io.StringIO(), list[str]()
    console = Console(file=file, force_terminal=True, width=80, height=24, color_system=None, _environ={})
    writer = EventFiles(tmp_path / "out", {}, on_failure=failures.append)
    with RunView(console, [trial], also=[writer]) as view:
        for kind, data in [*events, ("trial", record.to_dict())]:
            view(trial, kind, data)
    text = file.getvalue()
    assert f"ok  test {record.test_accuracy:.2%}" in text
    assert "1 of 1 ended" in text
    assert record.device_name is not None
    assert record.device_name[:70] in text
    assert failures == []
    (folder,) = (tmp_path / "out" / "tensorboard").iterdir()
    run_read = accumulators.EventAccumulator(str(folder))
    run_read.Reload()
    for tag in SCALARS:
        assert [event.step for event in run_read.Scalars(tag)] == [4, 8]
    assert run_read.Scalars("final/params")[0].value == record.params
