from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from records import make_epochs, make_record, make_trial

from resbench.errors import InputError
from resbench.live.eventfiles import EventFiles, require_tensorboard, run_folder, tensorboard_command
from resbench.schema import Trial

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

TRIAL = make_trial("resnet34", 1, budget="3ep")


class Writer:
    """Event files of a results folder, and what TensorBoard makes of them."""

    def __init__(self, results: Path, labels: dict[str, str] | None = None) -> None:
        self.results, self.said = results, list[str]()
        self.files = EventFiles(results, labels or {}, on_failure=self.said.append)

    def train(self, trial: Trial, *, steps: int = 0, epochs: slice = slice(None), accuracy: float = 0.8) -> None:
        """Sends what a training of three epochs sends, or a part of it."""
        self.files(trial, "phase", {"phase": "build"})
        self.files(trial, "training", {"trial_id": trial.trial_id, "steps": steps})
        for epoch in make_epochs(trial, accuracy=accuracy, seconds=30.0, epochs=3)[epochs]:
            self.files(trial, "progress", {"fraction": 0.5})
            self.files(trial, "epoch", epoch)

    def end(self, trial: Trial, **changes: Any) -> None:
        self.files(trial, "trial", make_record(trial, steps=294, **changes))

    def read(self) -> Any:
        """What TensorBoard reads of the only run that there is."""
        (folder,) = (self.results / "tensorboard").iterdir()
        run = accumulators.EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
        run.Reload()
        return run


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path / "out")


def steps_of(run: Any, tag: str) -> list[int]:
    return [event.step for event in run.Scalars(tag)]


def texts_of(writer: Writer, tag: str) -> list[str]:
    """What TensorBoard's tab of texts shows, which another reader is behind."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    (folder,) = (writer.results / "tensorboard").iterdir()
    run = EventAccumulator(str(folder))
    run.Reload()
    name = f"{tag}/text_summary"
    events = run.Tensors(name) if name in run.Tags()["tensors"] else []
    return [event.tensor_proto.string_val[0].decode() for event in events]


def test_every_epoch_is_at_its_step(writer: Writer) -> None:
    writer.train(TRIAL)
    run = writer.read()
    epochs = make_epochs(TRIAL, accuracy=0.8, seconds=30.0, epochs=3)
    columns = {
        "loss/train": "train_loss",
        "loss/test": "test_loss",
        "accuracy/train": "train_accuracy",
        "accuracy/test": "test_accuracy",
        "learning_rate": "learning_rate",
        "images_per_second": "train_images_per_second",
        "train_flops_spent": "train_flops_spent",
        "train_clock_s": "train_clock_s",
    }
    assert set(run.Tags()["scalars"]) == set(columns)
    for tag, column in columns.items():
        assert steps_of(run, tag) == [98, 196, 294]
        assert [event.value for event in run.Scalars(tag)] == pytest.approx([epoch[column] for epoch in epochs])


def test_an_epoch_is_on_disk_when_it_was_told(writer: Writer) -> None:
    writer.train(TRIAL, epochs=slice(0, 1))
    assert steps_of(writer.read(), "loss/test") == [98]
    assert not [path for path in Path("/proc/self/fd").glob("*") if "tfevents" in os.path.realpath(path)]


def test_a_trial_that_ended_well_has_its_settings_and_results_in_the_table_of_hyperparameters(writer: Writer) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    writer.train(TRIAL)
    writer.end(TRIAL, test_accuracy=0.75, peak_memory_allocated_mib=1500.0, data_s=2.0, step_s=30.0)
    run = writer.read()
    stored = HParamsPluginData.FromString(run.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    settings = {
        name: value.string_value if value.HasField("string_value") else value.number_value
        for name, value in stored.session_start_info.hparams.items()
    }
    assert settings == {
        **{"model": "resnet34", "recipe": "baseline", "stem": "cifar", "weights": "random"},
        **{"budget": "3ep", "batch_size": 512, "seed": 1, "precision": "bf16"},
    }
    final = {tag: run.Scalars(tag) for tag in run.Tags()["scalars"] if tag.startswith("final/")}
    assert {tag: (event.step, event.value) for tag, (event,) in final.items()} == {
        "final/test_accuracy": (294, 0.75),
        "final/params": (294, 21_289_802),
        "final/macs": (294, 74_765_312),
        "final/peak_memory_mib": (294, 1500),
        "final/train_images_per_second": (294, 44_000),
        "final/train_s": (294, 32),
    }
    metrics = HParamsPluginData.FromString(run.SummaryMetadata("_hparams_/experiment").plugin_data.content)
    assert {metric.name.tag for metric in metrics.experiment.metric_infos} == set(final)
    assert texts_of(writer, "status") == []


def test_a_figure_that_was_not_measured_is_left_out(writer: Writer) -> None:
    writer.end(TRIAL, peak_memory_allocated_mib=None)
    assert "final/peak_memory_mib" not in writer.read().Tags()["scalars"]
    assert writer.said == []


def test_settings_are_text(writer: Writer) -> None:
    writer.train(TRIAL)
    (text,) = texts_of(writer, "trial")
    for name, value in (
        ("trial_id", TRIAL.trial_id),
        ("budget", "3ep"),
        ("precision", "bf16"),
        ("dataset", "shapes10"),
    ):
        assert f"| {name} | {value} |" in text


def test_a_trial_that_did_not_end_well_says_how(writer: Writer) -> None:
    writer.train(TRIAL, epochs=slice(0, 1))
    writer.end(TRIAL, status="crashed", phase="train", error="killed <script> [x](y)")
    run = writer.read()
    assert texts_of(writer, "status") == ["**crashed** in phase train: killed &lt;script&gt; \\[x\\](y)"]
    assert not [tag for tag in run.Tags()["scalars"] if tag.startswith("final/")]


def test_a_trial_that_goes_on_shows_every_step_once_and_as_it_was_taken_last(writer: Writer, tmp_path: Path) -> None:
    writer.train(TRIAL, accuracy=0.4)
    writer.end(TRIAL, status="interrupted", phase="train", error="by the user")
    again = Writer(tmp_path / "out")
    again.train(TRIAL, steps=98, epochs=slice(1, 3), accuracy=0.9)  # a checkpoint after the first epoch
    again.end(TRIAL)
    run = again.read()
    assert steps_of(run, "accuracy/test") == [98, 196, 294]
    first, *_ = make_epochs(TRIAL, accuracy=0.4, seconds=30.0, epochs=3)
    *_, second, third = make_epochs(TRIAL, accuracy=0.9, seconds=30.0, epochs=3)
    values = [event.value for event in run.Scalars("accuracy/test")]
    assert values == pytest.approx([epoch["test_accuracy"] for epoch in (first, second, third)])
    assert texts_of(again, "status") == ["**ok**"]
    assert len(texts_of(again, "trial")) == 1
    assert steps_of(run, "final/params") == [294]


@pytest.mark.parametrize("reopened", [True, False])
def test_a_trial_that_begins_anew_shows_nothing_of_what_was_before(
    writer: Writer, tmp_path: Path, reopened: bool
) -> None:
    writer.train(TRIAL, accuracy=0.4)
    if reopened:
        writer.end(TRIAL, status="oom", phase="train", error="no memory")
        writer = Writer(tmp_path / "out")
    writer.train(TRIAL, epochs=slice(0, 1), accuracy=0.9)
    run = writer.read()
    assert steps_of(run, "accuracy/test") == [98]
    assert run.Scalars("accuracy/test")[0].value == pytest.approx(
        make_epochs(TRIAL, accuracy=0.9, seconds=30.0, epochs=3)[0]["test_accuracy"]
    )
    assert len(texts_of(writer, "trial")) == 1


def test_a_trial_that_goes_on_without_earlier_files_has_its_settings_and_what_is_left(writer: Writer) -> None:
    writer.train(TRIAL, steps=98, epochs=slice(1, 3))
    run = writer.read()
    assert steps_of(run, "loss/train") == [196, 294]
    assert len(texts_of(writer, "trial")) == 1


def test_seeds_that_train_at_once_have_folders_of_their_own(writer: Writer) -> None:
    trials = [make_trial("cnn", seed) for seed in range(3)]
    for trial in trials:
        writer.files(trial, "training", {"steps": 0})
    for epochs in zip(*(make_epochs(trial, accuracy=0.5, seconds=3.0, epochs=2) for trial in trials), strict=True):
        for trial, epoch in zip(trials, epochs, strict=True):
            writer.files(trial, "epoch", epoch)
    folders = sorted((writer.results / "tensorboard").iterdir())
    assert [folder.name for folder in folders] == [f"cnn-seed-{trial.seed}-{trial.trial_id[:8]}" for trial in trials]
    for folder in folders:
        run = accumulators.EventAccumulator(str(folder))
        run.Reload()
        assert steps_of(run, "loss/train") == [98, 196]


@pytest.mark.parametrize(
    "label",
    ["../../etc/passwd", "a\0b", "", ".", "..", "-rf", "x" * 500, "猫", "\x1b[31m", "timm:resnet18.a1_in1k s 0"],
)
def test_a_label_makes_a_folders_name_that_leads_nowhere_else(label: str) -> None:
    name = run_folder(TRIAL, label)
    assert re.fullmatch(r"([0-9A-Za-z][0-9A-Za-z._-]{0,79}-)?[0-9a-f]{8}", name)
    assert name.endswith(TRIAL.trial_id[:8])


def test_a_folder_that_is_gone_is_told_once_and_ends_nothing_else(writer: Writer) -> None:
    writer.train(TRIAL, epochs=slice(0, 1))
    shutil.rmtree(writer.results)
    writer.train(TRIAL, epochs=slice(1, 3), steps=98)
    assert writer.said == []  # another attempt makes its folder
    shutil.rmtree(writer.results)
    for epoch in make_epochs(TRIAL, accuracy=0.8, seconds=30.0, epochs=3):
        writer.files(TRIAL, "epoch", epoch)
    writer.end(TRIAL)
    (said,) = writer.said
    assert "no longer written" in said
    assert "No such file or directory" in said
    assert not writer.results.exists()


def test_a_full_disk_is_told_once(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer.train(TRIAL, epochs=slice(0, 1))
    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    writer.train(TRIAL, epochs=slice(1, 3))
    writer.train(make_trial("cnn"))
    assert len(writer.said) == 1
    assert "No space left on device" in writer.said[0]


def test_a_file_in_the_folders_place_is_told(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    (tmp_path / "tensorboard").write_text("not a folder")
    writer.train(TRIAL)
    assert len(writer.said) == 1


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match=r"package tensorboard, which is not installed.*'resbench\[tensorboard\]'"):
        require_tensorboard()


def test_the_command_can_be_pasted() -> None:
    assert tensorboard_command(Path("my results")) == "tensorboard --logdir 'my results/tensorboard'"


def test_flops_that_are_not_known_leave_all_else_in_the_files(writer: Writer) -> None:
    writer.files(TRIAL, "training", {"trial_id": TRIAL.trial_id, "steps": 0})
    for epoch in make_epochs(TRIAL, accuracy=0.8, seconds=30.0, epochs=3):
        writer.files(TRIAL, "epoch", {**epoch, "train_flops_spent": None})
    writer.end(TRIAL, macs=None)
    run = writer.read()
    assert writer.said == []
    assert len(run.Scalars("accuracy/test")) == 3
    assert not {"train_flops_spent", "final/macs"} & set(run.Tags()["scalars"])
