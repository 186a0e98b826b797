"""A folder in which every command of the documents can be run in a moment: tiny images, results, a suite, weights."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from documents import ROOT, code_blocks
from tiny_folder import make_tiny_folder

from resbench import registry
from resbench.executors.process import Exit, Task

IMAGES = "cifar10-tiny"
"""A name that published figures may stand beside."""
SMALL = ("--budget", "2steps", "--batch-size", "8", "--seeds", "1", "--device", "cpu", "--precision", "fp32",
         "--no-calibrate", "--no-estimate")  # fmt: skip


@contextmanager
def jobs_in_this_process() -> Iterator[None]:
    """Runs here what would get a process of its own, with a few timed calls and no second counter of FLOPs."""

    def run_all(tasks: Sequence[Task], **options: Any) -> list[Exit]:
        return [run_one(task.job, task.arguments, on_message=task.on_message) for task in tasks]

    def run_one(job: Callable[..., None], arguments: tuple[Any, ...], *, on_message: Any, **options: Any) -> Exit:
        job(*arguments, on_message)
        return Exit(0, "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resbench.executors.local.run_in_processes", run_all)
        patch.setattr("resbench.profiling.run_in_process", run_one)
        patch.setattr("resbench.audit.run.run_in_process", run_one)
        patch.setattr("resbench.measure.latency.MAX_CALLS", 3)
        patch.setattr("resbench.measure.latency.MIN_CALLS", 3)
        patch.setattr("resbench.measure.flops.count_with_fvcore", lambda model, shape: (None, None, ()))
        yield


@contextmanager
def without_plots() -> Iterator[None]:
    """Leaves plots out of a report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resbench.report.plots.MOST_PLOTTED", 0)
        yield


TOML = ("my-suite.toml", "my-budgets.toml")
"""What commands call the TOML that README.md shows, in its order."""


def build_world(root: Path, invoke: Callable[..., Any]) -> None:
    """Makes what the commands name; the working directory is ``root``."""
    make_tiny_folder(root / IMAGES)
    for split in ("train", "test"):
        images = sorted((root / IMAGES / split).glob("*/*.*"))
        (root / f"{split}.txt").write_text("".join(f"{path.relative_to(root)} {path.parent.name}\n" for path in images))
    for (_, text), name in zip(code_blocks("README.md", "toml"), TOML, strict=True):
        (root / name).write_text(text)
    (root / "my_nets.py").write_text(code_blocks("README.md", "python")[0][1])
    save_weights(root / "resnet152.pth")
    with without_plots():
        done = invoke(
            "bench", "--models", "cnn,d2l_resnet18", "--dataset", f"folder:{IMAGES}", *SMALL, "--out", "results/mine"
        )
    assert done.exit_code == 0, done.output
    for name in ("before", "after", "equal-flops"):
        shutil.copytree(root / "results/mine", root / "results" / name)
    sources, mine = ROOT / "results/sources-jpeg75-cpu", root / "results/my-sources"
    shutil.copytree(sources / "source-cnn", mine / "source-cnn", ignore=shutil.ignore_patterns("plots"))
    shutil.copy(sources / "collection.json", mine)


def save_weights(path: Path) -> None:
    """Writes a state dict of resnet152 in kilobytes: each tensor is one number that is repeated."""
    with torch.device("meta"):
        state = registry.create_model("resnet152").state_dict()
    torch.save({name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) for name, tensor in state.items()}, path)


def placed(words: Sequence[str], trial_id: str) -> list[str]:
    """Puts what is there into the place of what a reader has elsewhere: images, a trial's id."""
    words = [re.sub(r"^folder:.+", f"folder:{IMAGES}", word) for word in words]
    return [trial_id if re.fullmatch("[0-9a-f]{12}", word) else word for word in words]
