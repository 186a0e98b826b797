from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from resbench import profiling
from resbench.errors import InputError, NothingMeasuredError
from resbench.executors.process import Exit
from resbench.measure.profile import Subject
from resbench.profiling import profile_models
from resbench.registry import create_model
from resbench.schema import ProfileRecord, columns
from resbench.store import load_results

CPU = {"device": "cpu"}


@pytest.mark.usefixtures("warm_trials")
def test_a_network_is_measured_in_its_own_process_and_stored(tmp_path: Path) -> None:
    told: list[str] = []
    frame = profile_models(
        ["cnn"], input_shape="3x8x8", batch_sizes=[2], engine=CPU, out=tmp_path / "out", on_message=told.append
    )
    (row,) = frame.to_dict("records")
    assert list(frame.columns) == columns(ProfileRecord)
    assert (row["model"], row["batch_size"], row["input"], row["precision"]) == ("cnn", 2, "3x8x8", "fp32")
    assert (row["compiled"], row["compile_mode"], row["cuda_graph"]) == (False, None, False)
    assert row["params"] == sum(weight.numel() for weight in create_model("cnn", input_size=(8, 8)).parameters())
    for column in ("latency_ms_p50", "inference_images_per_second", "forward_ms", "train_images_per_second"):
        assert row[column] > 0
    assert frame.attrs["failed"] == 0
    assert [text for text in told if "suspect" not in text] == ["[1/1] cnn at batch 2"]  # other tests run beside it
    stored = load_results(tmp_path / "out").profile
    assert list(stored["model"]) == ["cnn"]
    assert stored["trial_id"].isna().all()
    assert list(pd.read_csv(tmp_path / "out" / "profile.csv")["macs"]) == [row["macs"]]


def row_of(subject: Subject) -> dict[str, Any]:
    figures = dict.fromkeys(columns(ProfileRecord))
    return {**figures, "model": subject.model, "batch_size": subject.batch_size, "trial_id": None}


@pytest.fixture
def fake_process(monkeypatch: pytest.MonkeyPatch) -> list[Subject]:
    """Measures nothing; the largest batch fails, a batch of 13 is interrupted."""
    asked: list[Subject] = []

    def run(job: Any, arguments: tuple[Subject], *, log: Path, on_message: Any) -> Exit:
        (subject,) = arguments
        asked.append(subject)
        if subject.batch_size == 13:
            raise KeyboardInterrupt
        on_message("phase", {"phase": "build"})
        if subject.batch_size >= 512:
            return Exit(-9, "too large")
        on_message("profile", row_of(subject))
        return Exit(0, "")

    monkeypatch.setattr(profiling, "run_in_process", run)
    return asked


def test_every_network_is_measured_at_every_batch_size_in_order(fake_process: list[Subject]) -> None:
    frame = profile_models(["resnet3*", "cnn"], batch_sizes=[1, 64], engine=CPU, stem="cifar", num_classes=7)
    cells = [("resnet34", 1), ("resnet34", 64), ("cnn", 1), ("cnn", 64)]
    assert [(subject.model, subject.batch_size) for subject in fake_process] == cells
    assert list(zip(frame["model"], frame["batch_size"], strict=True)) == cells
    assert {(subject.stem, subject.num_classes, subject.input) for subject in fake_process} == {
        ("cifar", 7, (3, 32, 32))
    }


def test_a_cell_that_fails_is_told_counted_and_stops_no_other(fake_process: list[Subject]) -> None:
    told: list[str] = []
    frame = profile_models(["cnn", "resnet34"], batch_sizes=[512, 1], engine=CPU, on_message=told.append)
    assert list(frame["model"]) == ["cnn", "resnet34"]
    assert frame.attrs["failed"] == 2
    assert "cnn at batch 512 failed: the process was killed by SIGKILL: too large" in told


def test_where_every_cell_fails_nothing_was_measured(fake_process: list[Subject], tmp_path: Path) -> None:
    with pytest.raises(NothingMeasuredError):
        profile_models(["cnn"], batch_sizes=[512], engine=CPU, out=tmp_path)


def test_an_interrupt_keeps_what_was_measured(fake_process: list[Subject], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile_models(["cnn"], batch_sizes=[1, 13], engine=CPU, out=tmp_path)
    assert list(pd.read_csv(tmp_path / "profile.csv")["batch_size"]) == [1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stem": "cfar"}, "unknown stem"),
        ({"models": ["resnt34"]}, "unknown model"),
        ({"input_shape": "32"}, "cannot read the input"),
        ({"engine": {"device": "gpu"}}, "unknown device"),
        ({"engine": {"device": "cpu", "precision": "fp12"}}, "unknown precision"),
        ({"engine": {"device": "cpu", "compile": "maybe"}}, "unknown compile mode"),
        ({"engine": {"device": "cpu", "cuda_graph": "on"}}, "only CUDA has graphs"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_anything_is_measured(
    fake_process: list[Subject], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        profile_models(**{"models": ["cnn"], "batch_sizes": [1], "engine": CPU, **changes})
    assert fake_process == []


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(
    fake_process: list[Subject], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        profile_models(["cnn"], batch_sizes=[1], engine=CPU, out=tmp_path / "file" / "out")
    assert fake_process == []
