"""A trial that goes on, that takes its batch in parts, and what makes its row suspect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_trials import Make, of_kind, planner, registering, run
from tiny_folder import make_tiny_folder
from torch import nn

from resbench import recorder
from resbench.conduct import Attempt
from resbench.schema import MEASURING_VERSION, Hits, Trial
from resbench.trial import run_trial
from resbench.verdicts import accuracy_doubts

TIMES = ("_s", "_ms", "_p50", "_p90", "_per_second", "_mib", "_at", "_load")
"""Ends of the names of columns that hold times, or what was measured: they differ from run to run."""


class KilledError(BaseException):
    """Stands for SIGKILL: nothing in a trial catches it."""


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return planner(make_tiny_folder(tmp_path_factory.mktemp("trust") / "tiny"))


@pytest.fixture(autouse=True)
def _brief(brief_timing: None) -> None:
    """Nothing here is about times."""


def learnt(data: dict[str, Any]) -> dict[str, Any]:
    """What of a record does not depend on the clock."""
    measured = {"resumed", "verdict", "verdict_reasons", "clock_mhz"}
    return {name: value for name, value in data.items() if not name.endswith(TIMES) and name not in measured}


def killed_after(planned: Any, attempt: Attempt, epochs: int) -> None:
    """Runs a trial that is killed when it has told of so many epochs and taken one step more."""
    told = [0]

    def emit(kind: str, data: dict[str, Any]) -> None:
        told[0] += kind == "epoch"
        if told[0] == epochs and kind == "phase":
            raise KilledError

    with pytest.raises(KilledError):
        run_trial(*planned, emit, attempt)


def with_state() -> nn.Module:
    """A network that is more than its weights: running statistics, and draws of torch's generator."""
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(32, 2))


class TestGoingOn:
    @pytest.mark.parametrize("epochs", [1, 2])
    def test_ends_with_what_an_uninterrupted_trial_ends_with(self, make, epochs, tmp_path):
        planned = make(model="with state", budget="3ep")
        attempt = Attempt(checkpoint=tmp_path / "checkpoints" / "x.pt", checkpoint_every_s=0.0)
        with registering() as add:
            add("with state", with_state)
            whole, whole_events = run(planned)
            killed_after(planned, attempt, epochs)
            record, events = run(planned, attempt)
        assert (record.resumed, whole.resumed) == (1, 0)
        assert learnt(record.to_dict()) == learnt(whole.to_dict())
        steps = whole.steps // 3
        assert of_kind(events, "training") == [{"trial_id": planned[0].trial_id, "steps": steps * epochs}]
        left = of_kind(whole_events, "epoch")[epochs:]
        assert [learnt(epoch) for epoch in of_kind(events, "epoch")] == [learnt(epoch) for epoch in left]
        assert of_kind(events, "hits") == of_kind(whole_events, "hits")
        parts = [value for name, value in record.to_dict().items() if name.endswith("_s") and name != "wall_s"]
        assert sum(parts) == pytest.approx(record.wall_s, rel=0.01)
        assert record.checkpoint_s > 0

    def test_starts_over_from_a_checkpoint_of_other_software_and_says_so(self, make, tmp_path, monkeypatch):
        planned = make()
        attempt = Attempt(checkpoint=tmp_path / "x.pt", checkpoint_every_s=0.0)
        killed_after(planned, attempt, 1)
        monkeypatch.setattr("resbench.trial.MEASURING_VERSION", 999)
        record, _ = run(planned, attempt)
        assert (record.status, record.resumed) == ("ok", 0)
        assert record.notes == [
            f"the checkpoint is of measuring version {MEASURING_VERSION}, this is 999: starting over"
        ]

    def test_a_checkpoint_that_cannot_be_written_is_noted_and_the_trial_ends_well(self, make, tmp_path):
        (tmp_path / "file").write_text("in the way")
        record, _ = run(make(), Attempt(checkpoint=tmp_path / "file" / "x.pt", checkpoint_every_s=0.0))
        assert record.status == "ok"
        unread, unwritten = record.notes
        assert unread.startswith("the checkpoint cannot be read (NotADirectoryError")
        assert unwritten.startswith("no checkpoint can be written (")


class TestHits:
    def test_are_as_many_as_the_accuracy_says(self, make):
        record, events = run(make())
        (event,) = of_kind(events, "hits")
        hits = Hits.from_dict(event).unpack()
        assert hits.mean() == record.test_accuracy
        assert len(hits) > 8  # more than a batch, the last of which is padded


class TestMicroBatches:
    def test_a_batch_in_parts_is_marked_and_learns_what_a_whole_one_does(self, make):
        # 'cnn' has no batch norm and the recipe no dropout: nothing else depends on the size of a part.
        whole, _ = run(make())
        parts, events = run(make(), Attempt(micro_batch_size=3))
        assert (whole.micro_batch_size, parts.micro_batch_size, parts.batch_size) == (8, 3, 8)
        assert parts.status == "ok"
        assert parts.test_loss == pytest.approx(whole.test_loss, rel=1e-4)
        assert of_kind(events, "profile")[0]["batch_size"] == 3
        assert parts.steps == whole.steps


class TestVerdict:
    def test_of_a_trial_that_guesses_is_suspect_and_says_why(self, make, monkeypatch):
        monkeypatch.setattr(recorder, "distortions", lambda: [])
        record, _ = run(make(budget="1steps"))
        chance = [reason for reason in record.verdict_reasons if "no better than chance" in reason]
        guesses = accuracy_doubts(make()[0], record.test_accuracy, class_counts=class_counts(make()))
        assert chance == guesses
        assert record.verdict == ("suspect" if record.verdict_reasons else "valid")

    def test_holds_what_distorts_the_figures(self, make, monkeypatch):
        monkeypatch.setattr(recorder, "distortions", lambda: ["the moon is full"])
        record, _ = run(make())
        assert record.verdict == "suspect"
        assert "the moon is full" in record.verdict_reasons

    @pytest.mark.parametrize(
        ("accuracy", "said"),
        [
            (0.100, "no better than chance: 10.00%"),
            (0.106, "no better than chance"),  # 2 standard deviations of 10,000 guesses are 0.6 points
            (0.107, None),
            (0.95, None),
            (0.999, "99.9"),
        ],
    )
    def test_of_an_accuracy(self, make, accuracy, said):
        trial: Trial = make(model="d2l_resnet18", dataset="cifar10")[0]
        doubts = accuracy_doubts(trial, accuracy, class_counts=[1000] * 10)
        if said is None:
            assert doubts == []
        else:
            assert said in " ".join(doubts)

    def test_chance_is_the_share_of_the_largest_class(self, make):
        trial = make(dataset="birds")[0]
        assert accuracy_doubts(trial, 0.6, class_counts=[600, 400])
        assert not accuracy_doubts(trial, 0.6, class_counts=[500, 500])


def class_counts(planned: Any) -> list[int]:
    from resbench.data.datasets import load_dataset

    return torch.bincount(load_dataset(planned[1].dataset).test.labels).tolist()


def test_the_folder_of_a_checkpoint_is_made_only_where_its_parent_exists(make, tmp_path: Path):
    record, _ = run(make(), Attempt(checkpoint=tmp_path / "gone" / "checkpoints" / "x.pt", checkpoint_every_s=0.0))
    assert record.status == "ok"
    assert not (tmp_path / "gone").exists()
