"""The project's own networks pass: the checks that no other test of them makes, on small images."""

from __future__ import annotations

import pytest
from audit_cases import BY_NAME

from resbench.audit.case import Case
from resbench.audit.catalogue import run_check
from resbench.audit.findings import Outcome
from resbench.measure.profile import Subject
from resbench.registry import list_models
from resbench.schema import EngineSettings


def outcome(name: str, check: str, *, side: int = 16) -> Outcome:
    subject = Subject(name, "source", (3, side, side), 10, 2, EngineSettings("cpu", "fp32"))
    return run_check(BY_NAME[check], Case(subject))


@pytest.mark.parametrize("name", [name for name in list_models() if not name.startswith("resnet152")])
def test_a_registered_network_calls_all_its_modules_and_hides_none(name: str) -> None:
    for check in ("unused modules", "registered", "training changes"):
        assert outcome(name, check).verdict == "pass", outcome(name, check)


def test_a_librarys_network_without_a_stem_to_change_is_at_no_fault() -> None:
    pytest.importorskip("timm")
    found = outcome("timm:convnext_atto", "stems", side=32)
    assert found.verdict == "skipped"
    assert found.detail.startswith("model 'timm:convnext_atto' has no stem that can be made a 'cifar' one: it cuts the")


def test_the_frozen_network_trains_its_head() -> None:
    assert outcome("resnet152_frozen", "frozen and trained") == Outcome(
        "pass", "20,490 of 58,164,298 parameters are trained: fc.weight, fc.bias"
    )
