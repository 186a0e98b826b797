from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resbench.executors.process import Exit
from resbench.measure.profile import Subject
from resbench.planning import precision_choice
from resbench.planning.precision_choice import (
    CLEARLY_FASTER,
    bf16_speedups,
    forget_speedups,
    kept_speedups,
    settle_precision,
)
from resbench.schema import EngineSettings

AUTO = EngineSettings("cpu", "auto")


def subjects(*names: str, **changes: Any) -> list[Subject]:
    return [replace(Subject(name, "source", (3, 32, 32), 10, 128, AUTO), **changes) for name in names]


class Processor:
    """What a processor has, how fast its bf16 is by network, and what was timed on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.speedups: dict[str, float] = {}
        self.doubts: list[str] = []
        self.timed: list[list[str]] = []
        self.batches: set[int] = set()
        self.name, self.threads = "a processor", 8
        self.file = cache / "bf16-speedups.json"
        self.has(amx=True, avx512=True, patch=monkeypatch)
        monkeypatch.setenv("RESBENCH_CACHE", str(cache))
        monkeypatch.setattr(precision_choice, "host_cpu", lambda: self.name)
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.threads)
        monkeypatch.setattr(precision_choice, "run_in_process", self.run)

    def has(self, *, amx: bool, avx512: bool, patch: pytest.MonkeyPatch) -> None:
        patch.setattr("torch.cpu._is_amx_tile_supported", lambda: amx)
        patch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: avx512)

    def run(self, job: object, arguments: Any, *, log: Path, on_message: Any, limit_s: float) -> Exit:
        """In the place of a process that times: networks without a speed-up fail."""
        (listed,) = arguments
        self.timed.append([subject.model for subject in listed])
        self.batches |= {subject.batch_size for subject in listed}
        for place, subject in enumerate(listed):
            on_message("begin", {"model": subject.model})
            if subject.model in self.speedups:
                on_message("speedup", {"place": place, "speedup": self.speedups[subject.model], "doubts": self.doubts})
        return Exit(0, "")


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Processor:
    """A processor with bf16 on which nothing was timed."""
    return Processor(monkeypatch, tmp_path / "not" / "there" / "yet")


@pytest.mark.parametrize(
    ("speedups", "expected"),
    [
        ([0.5], "fp32"),
        ([CLEARLY_FASTER - 0.01], "fp32"),
        ([CLEARLY_FASTER], "bf16"),
        ([0.8, 0.8, 2.0], "fp32"),  # geometric mean 1.09
        ([0.9, 0.9, 2.0], "bf16"),  # 1.17
    ],
)
def test_networks_decide_together_by_the_geometric_mean(processor, speedups, expected):
    names = ["cnn", "resnet34", "resnet50"][: len(speedups)]
    processor.speedups = dict(zip(names, speedups, strict=True))
    assert settle_precision(AUTO, subjects(*names)) == replace(AUTO, precision=expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_that_was_given_stays_and_nothing_is_timed(processor, precision):
    engine = EngineSettings("cpu", precision)
    assert settle_precision(engine, subjects("cnn")) == engine
    assert processor.timed == []


@pytest.mark.parametrize(
    ("amx", "avx512", "expected"),
    [(False, False, "fp32"), (True, False, "bf16"), (False, True, "bf16"), (True, True, "bf16")],
)
def test_it_is_fp32_without_timing_where_the_hardware_has_no_bf16(processor, monkeypatch, amx, avx512, expected):
    processor.has(amx=amx, avx512=avx512, patch=monkeypatch)
    processor.speedups = {"cnn": 3.0}
    assert settle_precision(AUTO, subjects("cnn")).precision == expected
    assert bool(processor.timed) == processor.file.exists() == (expected == "bf16")


def test_each_network_is_timed_once_so_that_the_same_command_plans_the_same_trials(processor):
    processor.speedups = {"cnn": 3.0, "resnet34": 3.0}
    assert settle_precision(AUTO, subjects("cnn")).precision == "bf16"
    processor.speedups = {"cnn": 0.5, "resnet34": 1.0}  # on another day
    assert settle_precision(AUTO, subjects("cnn")).precision == "bf16"
    assert settle_precision(AUTO, subjects("cnn", "resnet34")).precision == "bf16"
    assert processor.timed == [["cnn"], ["resnet34"]]
    assert kept_speedups() == {
        "cnn, source stem, 3x32x32, batch 64": 3.0,
        "resnet34, source stem, 3x32x32, batch 64": 1.0,
    }


def test_readings_are_of_stem_size_batch_and_settings(processor):
    processor.speedups = {"cnn": 2.0}
    for changes in (
        {},
        {"stem": "cifar"},
        {"input": (3, 64, 64)},
        {"batch_size": 8},
        {"engine": replace(AUTO, lowering="off")},
        {"engine": replace(AUTO, memory_format="contiguous")},
    ):
        bf16_speedups(subjects("cnn", **changes))
    assert len(processor.timed) == len(kept_speedups()) == 6
    assert processor.batches == {64, 8}


def test_of_many_networks_a_few_are_timed_from_the_first_to_the_last(processor):
    names = [f"timm:net{number:02}" for number in range(21)]
    processor.speedups = dict.fromkeys(names, 2.0)
    few = precision_choice._evenly(subjects(*names, "timm:net00"))
    assert [subject.model for subject in few] == [names[place] for place in (0, 5, 10, 15, 20)]


@pytest.mark.parametrize("change", [{"name": "another processor"}, {"threads": 2}])
def test_readings_are_of_a_processor_and_a_number_of_threads(processor, change):
    processor.speedups = {"cnn": 1.0}
    assert settle_precision(AUTO, subjects("cnn")).precision == "fp32"
    before = dict(vars(processor))
    vars(processor).update(change, speedups={"cnn": 3.0})
    assert settle_precision(AUTO, subjects("cnn")).precision == "bf16"
    vars(processor).update(before)
    assert settle_precision(AUTO, subjects("cnn")).precision == "fp32"
    assert len(processor.timed) == len(json.loads(processor.file.read_text())) == 2


def test_readings_are_of_a_version_of_torch(processor, monkeypatch):
    processor.speedups = {"cnn": 1.0}
    bf16_speedups(subjects("cnn"))
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert kept_speedups() == {}


def test_a_reading_of_a_busy_machine_is_refused_and_told(processor):
    processor.speedups, processor.doubts = {"cnn": 0.3}, ["other processes kept 2.0 of 2 threads busy"]
    told: list[str] = []
    assert settle_precision(AUTO, subjects("cnn"), told.append).precision == "bf16"  # as the hardware has it
    assert kept_speedups() == {}
    assert told == [
        "timing cnn in bf16 and fp32, for precision auto",
        "the reading is refused (other processes kept 2.0 of 2 threads busy)",
    ]
    processor.doubts = []
    assert settle_precision(AUTO, subjects("cnn")).precision == "fp32"


def test_a_network_that_fails_has_no_say(processor):
    processor.speedups = {"resnet34": 0.5}
    assert settle_precision(AUTO, subjects("cnn", "resnet34")).precision == "fp32"
    assert settle_precision(AUTO, subjects("cnn")).precision == "bf16"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"3.5", b'{"a processor": 2.0}', b'{"a processor": {"cnn": "fast"}}', b"\xff\xfe"]
)
def test_readings_are_taken_anew_where_they_were_damaged(processor, content):
    processor.file.parent.mkdir(parents=True)
    processor.file.write_bytes(content.replace(b"a processor", precision_choice._machine().encode()))
    processor.speedups = {"cnn": 3.0}
    assert [settle_precision(AUTO, subjects("cnn")).precision for _ in range(2)] == ["bf16", "bf16"]
    assert processor.timed == [["cnn"]]


def test_readings_are_taken_each_time_where_they_cannot_be_kept(processor):
    processor.file.mkdir(parents=True)
    processor.speedups = {"cnn": 3.0}
    assert [settle_precision(AUTO, subjects("cnn")).precision for _ in range(2)] == ["bf16", "bf16"]
    assert processor.timed == [["cnn"], ["cnn"]]


def test_forgotten_readings_are_this_machines(processor):
    processor.speedups = {"cnn": 1.0}
    bf16_speedups(subjects("cnn"))
    processor.threads = 2
    bf16_speedups(subjects("cnn"))
    forget_speedups()
    assert kept_speedups() == {}
    processor.threads = 8
    assert kept_speedups() == {"cnn, source stem, 3x32x32, batch 64": 1.0}


@pytest.mark.usefixtures("warm_trials")
def test_a_process_times_them(monkeypatch, tmp_path):
    """One of two networks cannot be built: the other's reading is there, unless the machine is busy."""
    monkeypatch.setenv("RESBENCH_CACHE", str(tmp_path))
    told: list[str] = []
    one, other = subjects("resnet50", "cnn", batch_size=2)
    read = bf16_speedups([replace(one, stem="none such"), other], on_message=told.append)
    assert told[:2] == [f"timing {name} in bf16 and fp32, for precision auto" for name in ("resnet50", "cnn")]
    assert list(read) == [] if told[2:] else read.keys() == {"cnn, source stem, 3x32x32, batch 2"}
    assert kept_speedups() == read
