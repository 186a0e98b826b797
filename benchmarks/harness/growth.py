"""What planning, resuming and reporting cost as a suite grows: at 100, 1,000 and 10,000 stored trials.

The folder is that of :mod:`benchmarks.harness.stored`: at 10,000 trials 200 cells of 50 seeds, in 20 tables of five
networks (four budgets of five recipes) and one table of a hundred, every hundredth trial diverged.

* *plan*: a suite of that many trials, five networks under many seeds, in fp32, on a dataset of 24 images
* *resume*: which of the folder's trials have to run again
* *report*: CSV files, tables, plots and page

Each size is measured in a process of its own that has imported torch beforehand: every other import counts. Peaks are
those of the whole process, torch included. Writing the folder is not measured.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

from benchmarks.harness.rows import Row, Setting, row_of
from benchmarks.harness.stored import MODELS, diverged, stored_trials, trial_events, write_folder
from resbench.store import Store

SIZES = (100, 1_000, 10_000)
APPENDS = 50
MAX_REPEATS = 3
"""A round of all sizes takes a good part of a minute."""
PHASES = ("plan", "resume", "report")


@dataclass(frozen=True)
class Costs:
    """What one process spent on one size."""

    trials: int
    start_mib: float
    """Peak resident set before anything is measured: torch. Those below contain it and each other."""
    plan_s: float
    plan_mib: float
    resume_s: float
    resume_mib: float
    report_s: float
    report_mib: float
    append_s: float
    """Median of ``APPENDS`` events, each on disk before the next."""

    @property
    def total_s(self) -> float:
        """Planning, resuming and reporting."""
        return self.plan_s + self.resume_s + self.report_s


def growth(setting: Setting) -> Iterator[Row]:
    """Measures every size in turn, round by round, and drops the first round."""
    with tempfile.TemporaryDirectory(prefix="resbench-growth-") as scratch:
        folders = {size: Path(scratch) / str(size) for size in SIZES}
        for size, folder in folders.items():
            write_folder(folder, stored_trials(size))
        repeats = min(setting.repeats, MAX_REPEATS)
        rounds = [[measure_alone(folder, size) for size, folder in folders.items()] for _ in range(repeats + 1)]
    yield from rows_of(rounds[1:])


def measure_alone(folder: Path, size: int) -> Costs:
    """Calls :func:`measure` in a new interpreter. A spawned process would import what this one's command has.

    Raises:
        subprocess.CalledProcessError: It failed; what it said stands on stderr.
    """
    command = [sys.executable, "-m", "benchmarks.harness.growth", str(folder), str(size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Costs(**json.loads(done.stdout))


def measure(folder: Path, size: int) -> Costs:
    """Plans as many trials as the folder holds, finds those of the folder that have to run again, and reports.

    Raises:
        InputError: The folder holds other trials.
        RuntimeError: The trials that wait are not those that diverged: what was timed is no resume.
    """
    import torch  # noqa: F401  # its import is not what is measured

    trials = stored_trials(size)
    with tempfile.TemporaryDirectory(prefix="resbench-growth-") as scratch:
        os.environ["RESBENCH_CACHE"] = str(Path(scratch) / "cache")
        images = draw_images(Path(scratch) / "images")
        marks = [(time.perf_counter(), peak_mib())]

        from resbench.planning.plan import plan_suite
        from resbench.suite import make_suite

        models, seeds = list(MODELS), size // len(MODELS)
        data = {"name": "growth", "models": models, "dataset": f"folder:{images}", "seeds": seeds, "batch_size": 8}
        plan = plan_suite(make_suite({**data, "budget": "1ep"}, device="cpu", precision="fp32"))
        marks.append((time.perf_counter(), peak_mib()))

        from resbench.run import open_run

        with open_run(replace(plan, trials=trials), folder, retry_failed=True) as run:
            waiting = run.waiting
        marks.append((time.perf_counter(), peak_mib()))

        from resbench.report import write_report

        write_report(folder)
        marks.append((time.perf_counter(), peak_mib()))
    if len(plan.trials) != size or waiting != [trial for index, trial in enumerate(trials) if diverged(index)]:
        raise RuntimeError(f"of {size} trials {len(plan.trials)} were planned and {len(waiting)} wait")
    seconds = [later[0] - earlier[0] for earlier, later in pairwise(marks)]
    return Costs(
        trials=size,
        start_mib=marks[0][1],
        append_s=time_append(folder),
        **{f"{phase}_s": spent for phase, spent in zip(PHASES, seconds, strict=True)},
        **{f"{phase}_mib": peak for phase, (_, peak) in zip(PHASES, marks[1:], strict=True)},
    )


def time_append(folder: Path) -> float:
    """Returns the median seconds of an appended event, and leaves the records as they were."""
    store = Store(folder)
    event, data = trial_events(stored_trials(1)[0], 0)[1]
    before, seconds = store.path.stat().st_size, []
    for _ in range(APPENDS):
        start = time.perf_counter()
        store.append(event, data)
        seconds.append(time.perf_counter() - start)
    os.truncate(store.path, before)
    return statistics.median(seconds)


def draw_images(root: Path) -> Path:
    """Writes 16 training and 8 test images of two classes as an ImageFolder tree and returns its root."""
    from PIL import Image

    for split, each in (("train", 8), ("test", 4)):
        for level, name in enumerate(("dark", "bright")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(each):
                Image.new("RGB", (8, 8), (100 * level + index,) * 3).save(folder / f"{index}.png")
    return root


def peak_mib() -> float:
    """Returns the most memory that this process has held at once, in MiB.

    Linux counts into ``ru_maxrss`` what the parent held when it started this process; ``VmHWM`` is this one's own.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return float(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def rows_of(rounds: list[list[Costs]]) -> Iterator[Row]:
    """Yields the rows of rounds that each measured the same sizes, ascending, at least two."""
    least, middle, most = ([costs[place] for costs in rounds] for place in (0, -2, -1))
    subject, base = (f"{costs[0].trials:,} stored trials" for costs in (most, middle))
    yield row_of(
        "growth / time",
        f"{subject}: plan, resume and report",
        [costs.total_s for costs in most],
        unit="s",
        target="< 20",
        detail=_figures(rounds, ("total_s", *(f"{phase}_s" for phase in PHASES))),
    )
    yield row_of(
        "growth / memory",
        f"{subject}: peak resident set, torch included",
        [costs.report_mib for costs in most],
        unit="MiB",
        target="< 1024",
        detail=_figures(rounds, ("start_mib", *(f"{phase}_mib" for phase in PHASES))),
    )
    for name in ("total", *PHASES):
        yield row_of(
            f"growth / {name} a trial",
            f"{subject} over {base}",
            [_a_trial(large, name) / _a_trial(small, name) for large, small in zip(most, middle, strict=True)],
            target="< 1.5" if name == "total" else "",
            detail=", ".join(
                f"{1e3 * statistics.median(_a_trial(costs, name) for costs in column):.3g} ms at {column[0].trials:,}"
                for column in zip(*rounds, strict=True)
            ),
        )
    yield row_of(
        "growth / append",
        f"one event, {subject} over {least[0].trials:,}",
        [large.append_s / small.append_s for large, small in zip(most, least, strict=True)],
        target="< 1.5",
        detail=_figures(rounds, ("append_s",)),
    )


def _a_trial(costs: Costs, phase: str) -> float:
    """Returns the seconds of a phase over the number of trials."""
    return float(getattr(costs, f"{phase}_s")) / costs.trials


def _figures(rounds: list[list[Costs]], names: tuple[str, ...]) -> str:
    """Says the medians over the rounds of some fields, size by size."""
    said = []
    for column in zip(*rounds, strict=True):
        medians = (statistics.median(getattr(costs, name) for costs in column) for name in names)
        figures = ", ".join(f"{name} {value:.3g}" for name, value in zip(names, medians, strict=True))
        said.append(f"{column[0].trials:,} trials: {figures}")
    return "; ".join(said)


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Path(sys.argv[1]), int(sys.argv[2])))))
