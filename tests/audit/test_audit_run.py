"""Networks are audited in a process each: what ends one is a finding, and the others go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resbench.audit import run
from resbench.audit.catalogue import CHECKS
from resbench.audit.findings import Audit, Finding, tally
from resbench.audit.run import audit_models
from resbench.errors import InputError
from resbench.executors.process import Exit
from resbench.measure.profile import Subject

CPU = {"device": "cpu", "precision": "fp32"}


@pytest.mark.usefixtures("warm_trials")
def test_a_network_is_audited_in_a_process_of_its_own() -> None:
    told: list[str] = []
    (audit,) = audit_models(
        ["cnn"], input_shape="3x8x8", batch_size=2, compiling="off", engine=CPU, on_message=told.append
    )
    assert [finding.check for finding in audit.findings] == [check.name for check in CHECKS]
    assert tally(audit.findings) == {"pass": 35, "warn": 0, "fail": 0, "skipped": 5}
    assert (audit.verdict, audit.model, audit.input, audit.compile) == ("pass", "cnn", "3x8x8", "off")
    assert told == ["[1/1] cnn"]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Subject, str]]:
    """Checks nothing: cnn passes its one check and ends late, resnet34 is killed in its second, resnet50 before any."""
    asked: list[tuple[Subject, str]] = []

    def end(job: Any, arguments: Any, *, log: Path, on_message: Callable[[str, dict[str, Any]], None]) -> Exit:
        asked.append(arguments)
        name = arguments[0].model
        if name != "resnet50":
            on_message("check", {"check": "builds", "theme": "builder"})
            on_message(
                "finding", {"check": "builds", "theme": "builder", "verdict": "pass", "detail": "", "seconds": 1}
            )
        if name == "resnet34":
            on_message("check", {"check": "logits", "theme": "output"})
        if name == "cnn":
            on_message("done", {})
        return Exit(-15 if name == "cnn" else -11, "")

    monkeypatch.setattr(run, "run_in_process", end)
    return asked


def test_a_process_that_is_killed_is_a_fault_of_its_check_and_the_next_network_goes_on(
    processes: list[tuple[Subject, str]],
) -> None:
    audits: list[Audit] = []
    returned = audit_models(["resnet34", "resnet50", "cnn"], engine=CPU, on_audit=audits.append)
    assert returned == audits
    said = "the process was killed by SIGSEGV; what comes after was not checked"
    assert [audit.findings[-1] for audit in audits] == [
        Finding("logits", "output", "fail", said, 0.0),
        Finding("process", "builder", "fail", said, 0.0),
        Finding("builds", "builder", "pass", "", 1),
    ]
    assert [audit.verdict for audit in audits] == ["fail", "fail", "pass"]


@pytest.mark.parametrize(("compiling", "level"), [("auto", "capture"), ("on", "on"), ("off", "off")])
def test_on_a_processor_auto_traces_and_compiles_nothing(
    compiling: str, level: str, processes: list[tuple[Subject, str]]
) -> None:
    audit_models(["cnn"], compiling=compiling, engine=CPU, num_classes=7, stem="cifar", input_shape="1x9x8")
    ((subject, asked),) = processes
    assert (asked, subject.engine.compile) == (level, compiling == "on")
    assert (subject.num_classes, subject.stem, subject.input, subject.batch_size) == (7, "cifar", (1, 9, 8), 8)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": ["resnt34"]}, "unknown model"),
        ({"models": ["resnt*"]}, "no model matches"),
        ({"stem": "cfar"}, "unknown stem"),
        ({"input_shape": "32"}, "cannot read the input"),
        ({"compiling": "max-autotune"}, "unknown compile setting 'max-autotune'"),
        ({"engine": {"device": "gpu"}}, "unknown device"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_anything_is_checked(
    changes: dict[str, Any], said: str, processes: list[tuple[Subject, str]]
) -> None:
    with pytest.raises(InputError, match=said):
        audit_models(**{"models": ["cnn"], "engine": CPU, **changes})
    assert processes == []
