"""Several ranks on a machine with CUDA: NCCL with one GPU, and what two make of a batch that they share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_rank_jobs
import pytest
import torch
from tiny_folder import make_tiny_folder

from resbench.executors.process import run_in_process
from resbench.run import run_suite
from resbench.schema import EngineSettings
from resbench.suite import make_suite

pytestmark = pytest.mark.gpu

TWO_GPUS = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
ROUNDING = 1e-4
"""Of the same sums in another order, on weights and gradients of about 1."""


def emitted(folder: Path, job: Callable[..., None], *arguments: Any, processes: int = 1) -> dict[str, Any]:
    """Runs a job in a process of its own and returns the one thing that it emits."""
    found: list[dict[str, Any]] = []
    log = folder / "log"
    ended = run_in_process(
        job, arguments, log=log, on_message=lambda kind, data: found.append(data), processes=processes
    )
    assert ended.code == 0, log.read_text()
    (data,) = found
    return data


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_gradients_through_nccl_are_those_without_it(tmp_path: Path, compiled: bool) -> None:
    data = emitted(tmp_path, gpu_rank_jobs.nccl_with_one_rank, compiled)
    own, averaged = data["found"]
    assert data["fallbacks"] == []
    assert max(map(abs, own)) > 0.01
    assert averaged == pytest.approx(own, abs=ROUNDING)


@TWO_GPUS
def test_two_gpus_with_synchronised_batch_norm_train_as_one_does(tmp_path: Path) -> None:
    two = emitted(tmp_path, gpu_rank_jobs.on_all, EngineSettings("cuda", "fp32", devices=2), processes=2)
    one = emitted(tmp_path, gpu_rank_jobs.on_one)
    assert two["weights"] == pytest.approx(one["weights"], rel=1e-3, abs=ROUNDING)


@TWO_GPUS
@pytest.mark.parametrize("recipe", ["common", "common_sync_bn"])
def test_a_suite_on_two_gpus_leaves_one_row(tmp_path: Path, recipe: str) -> None:
    suite = make_suite(
        {
            "name": "two",
            "models": ["d2l_resnet18"],
            "dataset": f"folder:{make_tiny_folder(tmp_path / 'tiny', size=32)}",
            "recipe": recipe,
            "batch_size": 8,
            "budget": "2ep",
            "engine": {"device": "cuda", "devices": 2},
        }
    )
    (row,) = run_suite(suite, out=tmp_path / "out").trials.to_dict("records")
    assert (row["status"], row["devices"], row["compiled"], row["cuda_graph"]) == ("ok", 2, True, False)
    assert (row["images_seen"], row["steps"]) == (64, 8)
