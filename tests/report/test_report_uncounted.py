"""Networks whose MACs are 0 or not known stand in every table and plot that they have a figure for."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from records import make_epochs, make_record, make_trial

from resbench.report import write_report
from resbench.store import Store

MACS = {"counted": 37_016_576, "nothing": 0, "unknown": None}
"""By network."""


def write(folder: Path, models: list[str]) -> Path:
    store = Store(folder, create=True)
    for place, model in enumerate(models):
        for seed in range(2):
            trial = make_trial(model, seed)
            macs = MACS[model]
            per_image = None if macs is None else 6 * macs
            for row in make_epochs(trial, accuracy=0.8 + 0.01 * place, seconds=10.0, epochs=3):
                spent = None if per_image is None else float(per_image * row["images_seen"])
                store.append("epoch", {**row, "train_flops_spent": spent})
            store.append(
                "trial",
                make_record(
                    trial,
                    macs=macs,
                    forward_flops=None if macs is None else 2 * macs,
                    train_flops_per_image=per_image,
                    train_flops_spent=None if per_image is None else per_image * 150_000.0,
                    test_accuracy=0.8 + 0.01 * place,
                ),
            )
    return folder


@pytest.mark.parametrize("models", [["counted", "nothing", "unknown"], ["nothing"], ["unknown"]])
def test_a_report_is_written_of_them(tmp_path, models):
    write_report(write(tmp_path, models))
    page = (tmp_path / "README.md").read_text()
    assert all(f"| {model}" in page or f"`{model}`" in page for model in models)
    summary = pd.read_csv(tmp_path / "summary.csv").set_index("model")["macs"]
    assert {model: None if pd.isna(macs) else macs for model, macs in summary.items()} == {
        model: MACS[model] for model in models
    }
    if len(models) > 1:
        by_flops, by_epochs = (
            (tmp_path / "plots" / f"learning_curves_{name}.svg").read_text() for name in ("flops", "epochs")
        )
        assert [model in by_flops for model in models] == [True, True, False]
        assert all(model in by_epochs for model in models)
