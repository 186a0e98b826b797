"""`resbench check`: what it prints and how it exits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from resbench import console
from resbench.audit.catalogue import CHECKS
from resbench.audit.findings import Audit, Finding

Invoke = Callable[..., Result]

SOUND = Finding("builds", "builder", "pass", "Sequential of 10 parameters", 0.5)
WARNING = Finding("batch of one", "output", "warn", "training mode does not take one image", 0.5)
FAULT = Finding("gradients", "parameters", "fail", "no gradient reaches [bold]a\x1b[2J.weight", 0.5)
NOT_CHECKED = Finding("CUDA graph", "speed", "skipped", "the device is cpu", 0.0)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is found is put in here, by network; what is asked for is kept under ``asked``."""
    there: dict[str, Any] = {}

    def audit_models(models: list[str], *, on_audit: Callable[[Audit], None], **options: Any) -> list[Audit]:
        there["asked"] = (models, options)
        audits = [
            Audit(name, "test", "source", "3x32x32", 10, 8, "cpu", "fp32", "capture", there[name]) for name in models
        ]
        for audit in audits:
            on_audit(audit)
        return audits

    monkeypatch.setattr("resbench.audit.run.audit_models", audit_models)
    return there


def test_to_a_file_there_is_a_line_for_each_finding(invoke: Invoke, found: dict[str, Any]) -> None:
    found |= {"one": [SOUND, WARNING, FAULT], "two": [SOUND, NOT_CHECKED]}
    result = invoke("check", "one", "two", "--classes", "7", "--batch-size", "3", "--compile", "off")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "one  pass     builds        Sequential of 10 parameters",
        "one  warn     batch of one  training mode does not take one image",
        "one  fail     gradients     no gradient reaches [bold]a\\x1b[2J.weight",
        "two  pass     builds      Sequential of 10 parameters",
        "two  skipped  CUDA graph  the device is cpu",
        "2 networks: 2 checks passed, 1 warned, 1 failed, 1 skipped. Faults in: one.",
    ]
    _, asked = found["asked"]
    assert (asked["num_classes"], asked["batch_size"], asked["compiling"]) == (7, 3, "off")


def test_warnings_are_no_faults(invoke: Invoke, found: dict[str, Any]) -> None:
    found["one"] = [SOUND, WARNING]
    result = invoke("check", "one")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "1 network: 1 check passed, 1 warned, 0 failed, 0 skipped. No faults."


def test_a_terminal_of_80_columns_shows_marks_and_what_is_not_right(
    invoke: Invoke, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found["one"] = [SOUND, WARNING, FAULT, NOT_CHECKED]
    monkeypatch.setattr(console.out, "_force_terminal", True)
    monkeypatch.setenv("TERM", "xterm")
    text = re.sub(r"\x1b\[[0-9;]*m", "", invoke("check", "one").stdout)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    words = " ".join(text.split())
    assert "one source stem, 3x32x32, 10 classes, batch 8, cpu, fp32" in words
    assert "builder ✓ builds output ! batch of one parameters ✗ gradients speed - CUDA graph" in words
    order = [words.index(finding.detail[:20]) for finding in (FAULT, WARNING, NOT_CHECKED)]
    assert order == sorted(order)
    assert SOUND.detail not in words


def test_json_holds_everything(invoke: Invoke, found: dict[str, Any]) -> None:
    found |= {"one": [SOUND, FAULT], "two": [NOT_CHECKED]}
    result = invoke("check", "one", "two", "--json")
    assert result.exit_code == 1
    written = json.loads(result.stdout)
    assert list(written) == ["version", "resbench", "torch", "networks", "summary"]
    assert [(network["model"], network["verdict"]) for network in written["networks"]] == [
        ("one", "fail"),
        ("two", "pass"),
    ]
    assert written["networks"][0]["findings"][1] == {
        "check": "gradients", "theme": "parameters", "verdict": "fail", "detail": FAULT.detail, "seconds": 0.5,
    }  # fmt: skip
    assert written["summary"] == {"pass": 1, "warn": 0, "fail": 1, "skipped": 1}


def test_the_checks_are_listed_with_what_each_proves(invoke: Invoke) -> None:
    rows = json.loads(invoke("check", "--list", "--json").stdout)
    assert [row["check"] for row in rows] == [check.name for check in CHECKS]
    assert len({row["check"] for row in rows}) == len(rows)
    text = " ".join(invoke("check", "--list").stdout.split())
    for row in rows:
        assert re.fullmatch(r"[A-Z`].*\.", row["proves"]), row
        assert f"{row['theme']} {row['check']} {row['proves'].replace('`', '')}" in text


def test_bad_usage_has_exit_code_2(invoke: Invoke) -> None:
    for words, said in (([], "no network was named"), (["resnt34"], "Did you mean resnet34")):
        result = invoke("check", *words)
        assert (result.exit_code, said in result.stderr) == (2, True)
