"""`resbench profile --out`: a results folder with its page and plots, as `resbench bench` leaves one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from profile_records import profile_record

from resbench.store import Store


@pytest.mark.usefixtures("no_drawing")
def test_a_profile_with_a_folder_leaves_its_page_there(
    invoke: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [profile_record("resnet34", batch_size) for batch_size in (1, 64, 512)]

    def measure(models: list[str], *, out: Path, **options: Any) -> pd.DataFrame:
        store = Store(out, create=True)
        for row in rows:
            store.append("profile", row)
        store.derive()
        frame = pd.DataFrame(rows)
        frame.attrs["failed"] = 0
        return frame

    monkeypatch.setattr("resbench.profiling.profile_models", measure)
    folder = tmp_path / "sweep"
    result = invoke("profile", "resnet34", "--batch-size", "1,64,512", "--out", str(folder))
    assert result.exit_code == 0, result.output
    assert f"Tables, plots and records: {folder}" in result.stdout.replace("\n", "")
    assert (folder / "plots" / "batch_size.png").is_file()
    page = (folder / "README.md").read_text()
    assert "resnet34" in page
    assert "NVIDIA H200" in page
