"""`python -m benchmarks.audit`: the networks that it names are there, and its table holds what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import audit
from resbench.audit.findings import Audit, Finding
from resbench.registry import model_entry


def test_the_twenty_networks_of_timm_are_there() -> None:
    pytest.importorskip("timm")
    names = [name for group in audit.GROUPS for name in group.models if name != "*"]
    assert len(set(names)) == len(names) == 20
    assert [model_entry(name).name for name in names] == names


def test_the_table_has_a_row_for_each_network_and_what_was_not_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def audit_models(models: list[str], *, input_shape: str, **options: Any) -> list[Audit]:
        asked.append((models, input_shape))
        findings = [
            Finding("builds", "builder", "pass", "", 0.1),
            Finding("memory", "state", "fail", "a | b", 0.1),
            Finding("compiled", "speed", "skipped", "", 0.1),
        ]
        return [Audit(models[0], "test", "source", input_shape, 10, 4, "cpu", "fp32", "capture", findings)]

    monkeypatch.setattr(audit, "audit_models", audit_models)
    audit.main(["timm:dla34", "timm:mixer_s32_224"], out=tmp_path / "table.md")
    assert asked == [(["timm:dla34"], "3x64x64"), (["timm:mixer_s32_224"], "3x224x224")]
    assert (tmp_path / "table.md").read_text().splitlines()[2:] == [
        r"| `timm:dla34` | 3x64x64 | fail | fail: memory: a \| b |",
        r"| `timm:mixer_s32_224` | 3x224x224 | fail | fail: memory: a \| b |",
    ]
