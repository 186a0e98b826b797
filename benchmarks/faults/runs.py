"""A small suite as a process, and what can be done to it while it runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.faults.networks import FAULT, NAME
from resbench.store import RECORDS

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300.0
"""After which a run counts as hung."""
CLASSES, TRAIN, TEST, SIDE = 3, 240, 60, 12


@dataclass(frozen=True)
class Workplace:
    """Where the runs of one session work."""

    scratch: Path
    models: tuple[str, ...]
    epochs: int
    seeds: int = 1
    patience_s: float = PATIENCE_S

    @property
    def suite(self) -> Path:
        """The suite's file."""
        return self.scratch / "faults.toml"

    def prepare(self) -> None:
        """Draws the images and writes the suite."""
        random = np.random.default_rng(0)
        for split, total in (("train", TRAIN), ("test", TEST)):
            for label in range(CLASSES):
                folder = self.scratch / "images" / split / f"class{label}"
                folder.mkdir(parents=True)
                for index in range(total // CLASSES):
                    pixels = random.integers(40 * label, 40 * label + 130, (SIDE, SIDE, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{index:03}.png")
        self.suite.write_text(
            f"models = {list(self.models)}\ndataset = 'folder:{self.scratch / 'images'}'\n"
            f"budget = '{self.epochs}ep'\nbatch_size = 16\nseeds = {self.seeds}\n"
            "[engine]\ndevice = 'cpu'\nprecision = 'fp32'\n"
            "[run]\ncheckpoint_every = '0.2s'\ncalibrate = false\nestimate = false\n"
        )

    def start(
        self,
        out: Path,
        *flags: str,
        fault: str = "",
        limit_file_bytes: int | None = None,
        more: Mapping[str, str] | None = None,
    ) -> Run:
        """Starts ``resbench bench`` on the suite, with more in its environment."""
        environment = {
            **os.environ,
            "RESBENCH_CACHE": str(self.scratch / "cache"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            FAULT: fault,
            **(more or {}),
        }
        command = [sys.executable, "-m", "benchmarks.faults.networks", "bench", str(self.suite), "--out", str(out)]
        said = self.scratch / "said.txt"
        with said.open("wb") as file:
            process = subprocess.Popen(
                [*command, *flags],
                stdout=file,
                stderr=file,
                env=environment,
                cwd=self.scratch,
                start_new_session=True,
                # A background job inherits that SIGINT is ignored, and one of the faults is that.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )
        if limit_file_bytes is not None:
            psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (limit_file_bytes, limit_file_bytes))
        return Run(process, out, said, patience_s=self.patience_s)


@dataclass
class Run:
    """A run that is under way."""

    process: subprocess.Popen[bytes]
    out: Path
    said_in: Path
    started: float = field(default_factory=time.monotonic)
    patience_s: float = PATIENCE_S

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def wait(self) -> int:
        """Waits for its end and returns the exit code.

        Raises:
            TimeoutError: It hangs; it was killed.
        """
        try:
            return self.process.wait(timeout=self.patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise TimeoutError(f"the run took longer than {self.patience_s:.0f} s:\n{self.said()}") from None

    def said(self) -> str:
        """Returns what it has printed."""
        return self.said_in.read_text(errors="replace")

    def wait_for(self, what: Callable[[], bool]) -> bool:
        """Waits until something is so; returns whether that came before the run's end."""
        while self.alive and time.monotonic() - self.started < self.patience_s:
            if what():
                return True
            time.sleep(0.02)
        return what()

    def has_event(self, kind: str) -> bool:
        """Returns whether the records hold such an event."""
        try:
            lines = (self.out / RECORDS).read_text(errors="replace").splitlines()
        except OSError:
            return False
        return any(f'"event": {json.dumps(kind)}' in line for line in lines)

    def children(self) -> list[psutil.Process]:
        """Returns the processes of trials that are under way."""
        try:
            below = psutil.Process(self.process.pid).children(recursive=True)
            return [child for child in below if "spawn_main" in " ".join(child.cmdline())]
        except psutil.Error:
            return []


def target_models(count: int) -> tuple[str, ...]:
    """Returns the first of the models that the suite compares."""
    return (NAME, "cnn", "d2l_resnet18")[:count]
