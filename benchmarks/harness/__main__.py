"""``python -m benchmarks.harness``: runs the benchmarks, prints their table, writes their CSV file."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.harness.catalogue import BENCHMARKS, measure
from benchmarks.harness.defaults import default_setting
from benchmarks.harness.processes import in_fresh_process
from benchmarks.harness.rows import REPEATS, Setting
from benchmarks.harness.table import MACHINE_COLUMNS, Machine, Rows, rich_table
from resbench import provenance
from resbench.console import complain, print_table, say
from resbench.devices import open_device
from resbench.errors import ResbenchError, in_one_line, unknown

NAMES = ", ".join(BENCHMARKS)


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Which: {NAMES}. Default: all.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    models: Annotated[str | None, typer.Option(help="Networks, comma-separated. Default: two, on CUDA five.")] = None,
    stem: Annotated[str | None, typer.Option(help="Default: source, on CUDA cifar.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Default: 128, on CUDA 512.")] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32, tf32 or bf16.")] = "auto",
    dataset: Annotated[str, typer.Option(help="noise, or a dataset as in a suite.")] = "noise",
    repeats: Annotated[int, typer.Option(min=1, help="Pairs that count; one more is dropped.")] = REPEATS,
    seconds: Annotated[float, typer.Option(min=0.01, help="About how long one measurement takes.")] = 3.0,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Begin no other benchmark after this long; those left are named.")
    ] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Gets the table.")] = Path("results/harness"),
) -> None:
    """Measure what the harness costs, each row a ratio of two things measured in turn on this machine."""
    try:
        setting = default_setting(
            device,
            models=models,
            stem=stem,
            batch_size=batch_size,
            precision=precision,
            dataset=dataset,
            repeats=repeats,
            seconds=seconds,
        )
        for name in names or []:
            if name not in BENCHMARKS:
                raise unknown("benchmark", name, BENCHMARKS)
        failed = run(names or list(BENCHMARKS), setting, out_folder, minutes=minutes)
    except ResbenchError as error:
        complain(str(error), label="error")
        raise typer.Exit(error.exit_code) from error
    if failed:
        raise typer.Exit(3)


def run(names: list[str], setting: Setting, folder: Path, *, minutes: float | None = None) -> int:
    """Runs benchmarks, each in a process of its own, and keeps every row as soon as it is there.

    Returns:
        How many processes failed or were not begun in time; each has been named on stderr.
    """
    rows, failed, began = Rows(folder), 0, time.monotonic()
    for name, models in _in_order(names, setting):
        what = f"{name}: {models[0]}" if BENCHMARKS[name].each_model else name
        if minutes is not None and time.monotonic() - began > 60 * minutes:
            complain(f"{what}: not begun within {minutes:g} minutes", label="warning")
            failed += 1
            continue
        complain(f"measuring {what}")
        failed += not _measure(name, replace(setting, models=models), rows, what)
    if rows.path.exists():
        rows.write_page()
        print_table(rich_table(rows.read()))
        say(f"Table and CSV: {folder}")
    return failed


def _in_order(names: list[str], setting: Setting) -> list[tuple[str, tuple[str, ...]]]:
    """Returns the benchmarks that get a process each, with their networks."""
    return [
        (name, models)
        for name in names
        for models in ([(model,) for model in setting.models] if BENCHMARKS[name].each_model else [setting.models])
    ]


def machine_of(setting: Setting) -> Machine:
    """Says where and with what is measured now."""
    values = provenance.collect().to_dict()
    return Machine(
        device_name=open_device(setting.device).name,
        cpu_threads=torch.get_num_threads(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: values[name] for name in MACHINE_COLUMNS & values.keys()},
    )


def _measure(name: str, setting: Setting, rows: Rows, what: str) -> bool:
    """Runs one benchmark in a process of its own and keeps its rows; says whether it ended well."""
    machine = machine_of(setting)
    try:
        measured = in_fresh_process(measure, name, setting)
    except Exception as error:
        complain(f"{what}: {in_one_line(error)}", label="failed")
        return False
    for row in measured:
        rows.keep(row, machine)
    return True


if __name__ == "__main__":
    typer.run(main)
