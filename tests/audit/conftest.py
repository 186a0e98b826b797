"""What tests of the audit share: a case around a builder, which is registered for as long as the test runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from audit_cases import BY_NAME

from resbench import registry
from resbench.audit.case import Case
from resbench.audit.catalogue import run_check
from resbench.audit.findings import Outcome
from resbench.measure.profile import Subject
from resbench.schema import EngineSettings


@pytest.fixture
def case_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Case]:
    """Makes a case of a builder: 8x8 images, batches of four, five classes."""
    registry.list_models()
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))

    def make(build: Callable[..., Any], *, compiling: str = "capture", size: int = 8) -> Case:
        registry._ENTRIES.pop("audited", None)
        registry.register_model("audited", source="test")(build)
        subject = Subject("audited", "source", (3, size, size), 5, 4, EngineSettings("cpu", "fp32"))
        return Case(subject, compiling)

    return make


@pytest.fixture
def outcome_of(case_of: Callable[..., Case]) -> Callable[..., Outcome]:
    """Runs one check on a builder."""

    def run(check: str, build: Callable[..., Any], **options: Any) -> Outcome:
        return run_check(BY_NAME[check], case_of(build, **options))

    return run
