"""What every test shares: one thread a process, a cache of its own, and no GPU tests without a GPU."""

from __future__ import annotations

import gc
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: parallel test processes must not fight for cores
# Which vector instructions compiled code may use is found out by compiling, which takes longer than what tests compile.
os.environ["TORCHINDUCTOR_VEC_ISA_OK"] = "0"
if not Path("/dev/nvidiactl").exists():  # a GPU's kernels take all processors to be compiled in time
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
# Before Ray is imported: nobody else gets into a cluster that a test starts.
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))

# What auto is on every processor, here and in what tests start: nothing is timed to find it out.
os.environ["RESBENCH_PRECISION"] = "fp32"

import pytest

# A background job of a script inherits that SIGINT is ignored, and one of nohup SIGHUP; tests of interrupts, and what
# they start, want them as they were.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder, of all tests of this process."""
    return tmp_path_factory.getbasetemp() / "resbench-cache"


@pytest.fixture(autouse=True)
def own_cache(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps decoded datasets and compiled code out of the user's cache folder, and the environment as above.

    What runs a cluster's work sets the number of threads for its process, which is that of the tests.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RESBENCH_CACHE", str(cache_folder))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache_folder / "compiled"))
    return cache_folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs a GPU where there is none."""
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_items:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def _small_heap(frozen_modules: list[int]) -> None:
    """Keeps what torch and its like hold out of the collections that precede every measurement of memory.

    Each of these would take as long as all else that a tiny trial does.
    """
    if len(sys.modules) - frozen_modules[-1] > 100:
        frozen_modules.append(len(sys.modules))
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def frozen_modules() -> list[int]:
    """How many modules there were when the collector was last told to leave them alone."""
    return [0]


@pytest.fixture
def warm_trials() -> Iterator[None]:
    """Trials' processes need not import torch anew; module-scoped fixtures take the context manager itself."""
    from warm_processes import warm_processes

    with warm_processes():
        yield


@pytest.fixture
def brief_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times a few calls only."""
    from resbench.measure import latency

    monkeypatch.setattr(latency, "MAX_CALLS", 3)
    monkeypatch.setattr(latency, "MIN_CALLS", 3)


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves plots' files empty, for tests of what stands beside them: drawing takes most of a report's time."""

    def save(figure: Any, stem: Path) -> list[Path]:
        paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".png", ".svg")]
        for path in paths:
            path.touch()
        return paths

    for module in ("plots", "style"):
        monkeypatch.setattr(f"resbench.report.{module}.save", save)


@pytest.fixture
def no_cifar10(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine where CIFAR-10 cannot be had; returns the datasets that are asked for, in their order."""
    from resbench.data.datasets import DatasetUnavailableError, load_dataset

    asked: list[str] = []

    def load(spec: str, **options: Any) -> Any:
        asked.append(spec)
        if spec == "cifar10":
            raise DatasetUnavailableError("there is no cifar10 here")
        return load_dataset(spec, **options)

    monkeypatch.setattr("resbench.data.datasets.load_dataset", load)
    return asked


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the command line in this process, as one does whose output goes to a file."""
    from typer.testing import CliRunner

    from resbench.cli import app

    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    for name in ("choices", "distortions"):  # one thread a test process is chosen here
        monkeypatch.setattr(f"resbench.cli.suites.{name}", list)
    for name in ("show_dry_run", "show_estimate"):  # processes that their own tests start
        monkeypatch.setattr(f"resbench.cli.suites.{name}", lambda *arguments, **options: None)

    def run(*arguments: str | Path, **options: Any) -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="resbench", **options)

    return run
