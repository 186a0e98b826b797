"""``python -m benchmarks.harness.against CHECKOUT``: this code against another checkout, window by window in turn.

Each checkout has a process of its own for a network, which waits for a line on its standard input and then measures
once: A B A B. Both run in this Python, so with the same torch.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.harness.__main__ import machine_of
from benchmarks.harness.defaults import default_setting
from benchmarks.harness.rows import REPEATS, Pairs, Row, Setting, measure_pairs, row_of
from benchmarks.harness.table import Rows
from resbench.console import complain
from resbench.report.numbers import significant

SERVER = """
import json, sys
from benchmarks.harness.rows import Setting
from benchmarks.harness.workbench import training_images, workbench
from resbench.measure.latency import measure_latency

setting = Setting(**json.loads(sys.argv[1]))
bench = workbench(setting, setting.models[0], training_images(setting))
measures = {
    "step": lambda argument: bench.loop_steps(int(argument)),
    "single": lambda argument: 1 / measure_latency(
        bench.engine, bench.device, with_step=False, train=False, max_seconds=float(argument)
    ).single.ms(),
}
print(bench.described, bench.steps_in(setting.seconds), sep="\\t", flush=True)
for line in sys.stdin:
    what, argument = line.split()
    print(measures[what](argument), flush=True)
"""
"""Runs in either checkout, by what both have; ``single`` is passes of one image in a millisecond."""


class Contender:
    """A process that measures one network with the code of a checkout.

    Args:
        checkout: Its root.
        setting: What is measured; one network.

    Raises:
        subprocess.CalledProcessError: The process ended before it was ready; what it says goes to stderr.
    """

    def __init__(self, checkout: Path, setting: Setting) -> None:
        command = [sys.executable, "-c", SERVER, json.dumps(asdict(setting))]
        self._process = subprocess.Popen(
            command, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment(checkout)
        )
        self.described, steps = self._answer().split("\t")
        self.steps = int(steps)

    def measure(self, what: str, argument: float) -> float:
        """Measures once; the process waits, idle, at any other time."""
        assert self._process.stdin is not None
        print(what, argument, file=self._process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise subprocess.CalledProcessError(self._process.wait(), "a checkout's process")
        return line.rstrip("\n")

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.kill()
        self._process.wait()


def _environment(checkout: Path) -> dict[str, str]:
    """Returns this process's variables, with the checkout's packages before any that are installed."""
    return {**os.environ, "PYTHONPATH": str(checkout)}


def against(checkout: Path, setting: Setting) -> Iterator[Row]:
    """Measures each network's training steps and its latency with one image, here and in the other checkout."""
    here, other = Path(__file__).parents[2], checkout.resolve()
    name = _commit(other)
    for model in setting.models:
        complain(f"measuring {model}")
        with ExitStack() as stack:
            one = replace(setting, models=(model,))
            first, second = (stack.enter_context(Contender(path, one)) for path in (here, other))
            steps = _in_turn(first, second, "step", second.steps, setting.repeats)
            yield row_of(
                f"step / step of {name}", first.described, steps.ratios, detail=steps.detail("now", name, "images/s")
            )
            single = _in_turn(first, second, "single", setting.seconds / 3, setting.repeats)
            yield row_of(
                f"latency of {name} / latency",
                first.described.replace(f"batch {setting.batch_size}", "one image"),
                single.ratios,
                detail=f"now {_ms(single.first)}, {name} {_ms(single.second)}",
            )


def _in_turn(first: Contender, second: Contender, what: str, argument: float, repeats: int) -> Pairs:
    return measure_pairs(lambda: first.measure(what, argument), lambda: second.measure(what, argument), repeats=repeats)


def _ms(passes: Sequence[float]) -> str:
    """Returns the median time of a pass, of passes a millisecond."""
    return f"{significant(1 / statistics.median(passes))} ms"


def _commit(checkout: Path) -> str:
    """Returns the first digits of the commit that a checkout holds."""
    told = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    return told.stdout[:7]


def main(
    checkout: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Such as a git worktree.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    models: Annotated[str | None, typer.Option(help="Networks, comma-separated. Default: five.")] = None,
    stem: Annotated[str | None, typer.Option(help="Default: source, on CUDA cifar.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Default: 128, on CUDA 512.")] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32, tf32 or bf16.")] = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="Pairs that count; one more is dropped.")] = REPEATS,
    seconds: Annotated[float, typer.Option(min=0.01, help="About how long one measurement takes.")] = 3.0,
    out_folder: Annotated[Path, typer.Option("--out", help="Gets the table.")] = Path("results/harness"),
) -> None:
    """Measure training steps and latency of this code over those of another checkout."""
    setting = default_setting(
        device,
        models=models,
        stem=stem,
        batch_size=batch_size,
        precision=precision,
        repeats=repeats,
        seconds=seconds,
    )
    rows, machine = Rows(out_folder), machine_of(setting)
    for row in against(checkout, setting):
        rows.keep(row, machine)
        complain(f"{row.benchmark}, {row.subject}: {row.median:.3g} ({row.detail})")
    rows.write_page()


if __name__ == "__main__":
    typer.run(main)
