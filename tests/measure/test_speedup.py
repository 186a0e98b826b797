from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from resbench.measure import speedup as speedup_module
from resbench.measure.profile import Subject
from resbench.measure.speedup import measure_bf16_speedup, speedup_job
from resbench.schema import EngineSettings

SUBJECT = Subject("cnn", "source", (3, 32, 32), 10, 4, EngineSettings("cpu", "auto"))


class Window:
    """A window that has seen nothing, or a busy machine."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *raised: object) -> None: ...

    def report(self) -> SimpleNamespace:
        return SimpleNamespace(verdict="suspect" if self.reasons else "valid", reasons=self.reasons)


def seen(monkeypatch: pytest.MonkeyPatch, *reasons: str) -> None:
    telemetry = SimpleNamespace(window=lambda name: Window(list(reasons)))
    monkeypatch.setattr(speedup_module, "Telemetry", lambda device: telemetry)


def test_it_is_the_median_of_pairs_in_turn_after_a_warm_up(monkeypatch):
    """By a clock that gives each step its time: fp32 then bf16, pair by pair; the steps that warm up took longest."""
    steps = [90.0, 9.0, *(4.0, 2.0), *(6.0, 2.0), *(5.0, 1.0)]
    ran: list[str] = []
    clock = SimpleNamespace(now=0.0)

    def train_step(engine, images, labels):
        ran.append(engine.settings.precision)
        clock.now += steps[len(ran) - 1]

    monkeypatch.setattr("resbench.training.engine.Engine.train_step", train_step)
    monkeypatch.setattr(speedup_module, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(speedup_module, "SECONDS", 1000.0)
    seen(monkeypatch)
    assert measure_bf16_speedup(SUBJECT) == (3.0, [])  # of 2, 3 and 5
    assert ran == ["fp32", "bf16"] * 4


def test_no_pair_is_begun_when_time_is_up_once_there_is_one(monkeypatch):
    ran: list[str] = []
    monkeypatch.setattr(
        "resbench.training.engine.Engine.train_step", lambda engine, *batch: ran.append(engine.settings.precision)
    )
    monkeypatch.setattr(speedup_module, "SECONDS", 0.0)
    measure_bf16_speedup(SUBJECT)
    assert ran == ["fp32", "bf16"] * 2


def test_steps_are_the_engines_in_both_precisions_and_generators_stay(monkeypatch):
    seen(monkeypatch)
    before = torch.get_rng_state(), torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()
    speedup, doubts = measure_bf16_speedup(SUBJECT)
    assert 0 < speedup < float("inf")
    assert doubts == []
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()) == before[1:]


def test_a_job_emits_what_it_could_measure_and_its_doubts(monkeypatch, capsys):
    def measure(subject: Subject) -> tuple[float, list[str]]:
        if subject.model == "resnet34":
            raise ValueError("no such luck")
        return (2.0, []) if subject.model == "cnn" else (3.0, ["others were busy"])

    monkeypatch.setattr(speedup_module, "measure_bf16_speedup", measure)
    emitted: list[tuple[str, dict]] = []
    subjects = [Subject(name, "source", (3, 32, 32), 10, 4, SUBJECT.engine) for name in ("resnet34", "cnn", "resnet50")]
    speedup_job(subjects, lambda kind, data: emitted.append((kind, data)))
    assert [data["model"] for kind, data in emitted if kind == "begin"] == ["resnet34", "cnn", "resnet50"]
    assert [data for kind, data in emitted if kind == "speedup"] == [
        {"place": 1, "speedup": 2.0, "doubts": []},
        {"place": 2, "speedup": 3.0, "doubts": ["others were busy"]},
    ]
    assert "no such luck" in capsys.readouterr().out
