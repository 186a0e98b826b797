"""The short form of ``make faults``, one kill of the run and one of a trial; and what counts as a difference."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from records import FIVE_MODELS, make_trial, write_folder

from benchmarks.faults.__main__ import main
from benchmarks.faults.catalogue import BROKEN, kill_child, kill_parent, kills
from benchmarks.faults.networks import NAME
from benchmarks.faults.same import differences
from resbench.registry import list_models
from resbench.schema import Hits
from resbench.store import RECORDS, Store


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_records(capsys: pytest.CaptureFixture[str]) -> None:
    main(kill=2, others=False, models=1, epochs=6, seed=0)
    *_, last = capsys.readouterr().out.splitlines()
    assert last == "2 of 2 faults survived: after each the records equal the undisturbed run's."


def test_parent_and_child_are_killed_in_turn() -> None:
    assert [inject for _, inject in kills(4)] == [kill_parent, kill_child] * 2
    assert {"SIGINT", "SIGTERM", "a full disk", "a trial that hangs"} <= set(BROKEN)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    clean = write_folder(tmp_path / "clean", seeds=2, epochs=3)
    hits = {"images": 8, "bits": "/w=="}
    Store(clean).append("hits", {"trial_id": make_trial(next(iter(FIVE_MODELS))).trial_id, **hits})
    return clean, shutil.copytree(clean, tmp_path / "other")


def change(folder: Path, event: str, **values: object) -> None:
    lines = [json.loads(line) for line in (folder / RECORDS).read_text().splitlines()]
    changed = next(line for line in lines if line["event"] == event)
    changed.update(values)
    (folder / RECORDS).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_times_may_differ(folders: tuple[Path, Path]) -> None:
    assert differences(*folders) == []
    change(folders[1], "trial", wall_s=1e6, step_ms_p50=3.0, train_images_per_second=1.0, started_at="x", resumed=3)
    change(folders[1], "epoch", train_clock_s=9.0, eval_s=9.0)
    assert differences(*folders) == []


@pytest.mark.parametrize(
    ("event", "values", "said"),
    [
        ("trial", {"test_accuracy": 0.8500001}, "trials.test_accuracy: 1 of 10 rows differ"),
        ("trial", {"status": "crashed"}, "trials.status: 1 of 10 rows differ"),
        ("trial", {"error": "x"}, "trials.error: 1 of 10 rows differ"),
        ("trial", {"notes": ["x"]}, "trials.notes: 1 of 10 rows differ"),
        ("epoch", {"train_loss": 2.0000000001}, "epochs.train_loss: 1 of 30 rows differ"),
        ("epoch", {"epoch": 1.5}, "epochs: 30 rows and 30, or in another order"),
        ("hits", Hits(8, b"\xfe").to_dict(), "hits: other test images were right"),
    ],
)
def test_nothing_else_may(folders: tuple[Path, Path], event: str, values: dict[str, object], said: str) -> None:
    change(folders[1], event, **values)
    assert said in differences(*folders)


def test_the_network_that_breaks_is_registered_only_where_it_is_run() -> None:
    assert NAME not in list_models()
