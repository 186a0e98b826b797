"""`python -m benchmarks.timm_families`: networks are profiled and trained as `bench` does it, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("timm")

from benchmarks import timm_families


def test_the_smallest_network_of_a_family_is_none_of_timms_own_test_networks():
    assert timm_families.smallest("pit") == "pit_ti_224"
    assert timm_families.smallest("visformer") == "visformer_tiny"


@pytest.mark.slow
def test_a_network_is_profiled_and_trained_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    table = tmp_path / "table.md"
    monkeypatch.setattr(
        timm_families, "smallest", {"efficientnet": "test_efficientnet", "sam": "samvit_base_patch16"}.get
    )
    monkeypatch.setattr(
        timm_families, "image_size", {"test_efficientnet": "3x32x32", "samvit_base_patch16": "3x31x31"}.get
    )
    timm_families.main(["efficientnet", "sam"], records=tmp_path / "records", out=table)
    head, _, _, _, trained, refused = table.read_text().splitlines()
    assert (
        "2 families: 1 trained two steps (1 of all with a complete profile), 1 refused with a reason, 0 left out, 0"
        in head
    )
    assert trained.startswith("| efficientnet | `test_efficientnet` | 3x32x32 | ")
    assert "| complete | ok |" in trained
    assert refused.startswith("| sam | `samvit_base_patch16` | 3x31x31 | | | refused | refused | ")
    assert "31" in refused.rpartition("refused |")[2]


def test_a_profile_that_lacks_a_figure_says_which():
    row = dict.fromkeys(timm_families.MEASURED, 1.0)
    assert timm_families.profile_of(row) == "complete"
    assert timm_families.profile_of({**row, "macs": None, "forward_ms": None}) == "without macs, forward_ms"
    assert timm_families.profile_of(dict.fromkeys(row)) == "no"
