"""Where the time of a training step goes, operator by operator: ``python -m benchmarks.harness.kernels MODEL``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness.defaults import default_setting
from benchmarks.harness.rows import Setting
from benchmarks.harness.workbench import training_images, workbench
from resbench.report.numbers import significant
from resbench.store import write_atomically

STEPS = 5
ROWS = 20


@dataclass(frozen=True)
class Share:
    """What one kernel (on a GPU) or one operator (on a processor) takes of a step."""

    name: str
    calls: float
    """A step."""
    ms: float
    """A step, what it calls itself left out."""
    share: float
    """Of all of them, 0..1."""


def shares(setting: Setting, model: str) -> tuple[str, list[Share]]:
    """Profiles training steps of the suite's loop on a warm network.

    Returns:
        What was profiled, in words, and the operators or kernels, the longest first.
    """
    bench = workbench(setting, model, training_images(setting))
    bench.loop_steps(STEPS)
    on_cuda = setting.device.startswith("cuda")
    activity = ProfilerActivity.CUDA if on_cuda else ProfilerActivity.CPU
    with profile(activities=[activity], acc_events=True) as profiler:
        bench.loop_steps(STEPS)
    # Evaluation of one batch is in it, as it is in a trial.
    times = [
        (event.key, event.count / STEPS, (event.self_device_time_total if on_cuda else event.self_cpu_time_total))
        for event in profiler.key_averages()
    ]
    total = sum(time for _, _, time in times)
    listed = [Share(name, calls, time / 1000 / STEPS, time / total) for name, calls, time in times if time]
    return bench.described, sorted(listed, key=lambda share: share.ms, reverse=True)


def page(described: str, device_name: str, listed: list[Share]) -> str:
    """Returns the longest of them as a Markdown page; the rest is summed up in its last row."""
    rest = listed[ROWS:]
    rows = listed[:ROWS]
    if rest:
        rows = [*rows, Share(f"{len(rest)} others", sum(one.calls for one in rest), *_sums(rest))]
    table = pd.DataFrame(
        {
            "kernel or operator": [f"`{one.name}`" for one in rows],
            "calls a step": [f"{one.calls:,.1f}" for one in rows],
            "ms a step": [significant(one.ms, 3) for one in rows],
            "share (%)": [f"{100 * one.share:.1f}" for one in rows],
        }
    )
    lines = table.to_markdown(index=False, colalign=["left", "right", "right", "right"], disable_numparse=True)
    return (
        f"# {described}\n\n{device_name}, torch {torch.__version__}; training steps of the suite's own loop, "
        f"{STEPS} of them, under torch's profiler, which slows small operators down.\n\n{lines}\n"
    )


def _sums(rest: list[Share]) -> tuple[float, float]:
    return sum(one.ms for one in rest), sum(one.share for one in rest)


def main(
    model: Annotated[str, typer.Argument(help="A network.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    stem: Annotated[str | None, typer.Option(help="Default: source, on CUDA cifar.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Default: 128, on CUDA 512.")] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32, tf32 or bf16.")] = "auto",
    out_folder: Annotated[Path, typer.Option("--out", help="Gets a page.")] = Path("results/harness"),
) -> None:
    """Profile a network's training steps and write where their time goes."""
    from resbench.devices import open_device

    setting = default_setting(device, models=model, stem=stem, batch_size=batch_size, precision=precision)
    described, listed = shares(setting, model)
    text = page(described, open_device(setting.device).name, listed)
    out_folder.mkdir(parents=True, exist_ok=True)
    path = out_folder / f"kernels-{setting.device.partition(':')[0]}-{model.replace(':', '-')}.md"
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))
    typer.echo(text)
    typer.echo(f"written: {path}")


if __name__ == "__main__":
    typer.run(main)
