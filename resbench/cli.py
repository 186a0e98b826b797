"""The command line: verbs that parse, call, print and set the exit code.

Exit codes: 0 all well; 1 ``compare`` found a regression, or ``reproduce`` is not within noise; 2 bad usage or input;
3 planned trials failed or are missing, or an instrument is wrong; 4 nothing measured or comparable; 130 interrupted.
"""

from __future__ import annotations

import functools
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer
from rich.markup import escape
from rich.table import Table

from resbench.console import WHOLE, complain, count, out, print_pairs, print_table, say
from resbench.errors import InputError, ResbenchError
from resbench.options import (
    Calibrate,
    CheckpointEvery,
    Compile,
    ConcurrentSeeds,
    CudaGraph,
    DataDir,
    Dataset,
    Device,
    Input,
    MemoryFormat,
    MemoryLimit,
    NoCacheFeatures,
    OutFolder,
    OutOfMemory,
    Precision,
    RetryFailed,
    Stem,
    TestImages,
    TrainImages,
    TrialTimeout,
    parse_batch_size,
)

FAILED_TRIALS = 3
INTERRUPTED = 130

app = typer.Typer(
    help="Compare residual networks: accuracy, parameters, FLOPs, speed and memory under one fixed budget.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
P = ParamSpec("P")
R = TypeVar("R")


def _with_exit_codes(command: Callable[P, R]) -> Callable[P, R]:
    """Turns the project's errors into one message on stderr and their exit code."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ResbenchError as error:
            complain(str(error), label="error")
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            complain("interrupted; what ended before is recorded")
            raise typer.Exit(INTERRUPTED) from error
        except OSError as error:
            if error.filename is None:
                raise
            complain(f"cannot use {str(error.filename)!r}: {error.strerror}.", label="error")
            raise typer.Exit(InputError.exit_code) from error

    return guarded


@app.command("list")
@_with_exit_codes
def list_command(
    pattern: Annotated[str, typer.Argument(help="A wildcard, such as 'resnet*'.")] = "*",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the networks of the registry."""
    from resbench.registry import list_models, model_entry

    entries = [model_entry(name) for name in list_models(pattern)]
    if as_json:
        rows = [{"name": entry.name, "source": entry.source, "summary": entry.summary} for entry in entries]
        typer.echo(json.dumps(rows, indent=2))
        return
    if not entries:
        raise InputError(f"no model matches {pattern!r}. `resbench list` shows all {len(list_models())}.")
    texts = {entry.name: (entry.summary.replace("`", ""), entry.source) for entry in entries}
    if not out.is_terminal:  # a line a model, whole, for grep and its like
        width = max(map(len, texts))
        for name, (summary, source) in texts.items():
            typer.echo(f"{name:<{width}}  {summary} [{source}]")
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, (summary, source) in texts.items():
        table.add_row(escape(name), f"{escape(summary)}\n[dim]{escape(source)}[/dim]")
    out.print(table)


@app.command()
@_with_exit_codes
def bench(
    suite: Annotated[
        str | None,
        typer.Argument(
            help="A suite's name or TOML file; `sources` for every source's own experiment. "
            "Default: cifar10 where CUDA is, smoke elsewhere."
        ),
    ] = None,
    models: Annotated[str | None, typer.Option(help="Networks, comma-separated; wildcards are welcome.")] = None,
    stem: Stem = None,
    dataset: Dataset = None,
    data_dir: DataDir = None,
    train_images: TrainImages = None,
    test_images: TestImages = None,
    input_shape: Input = None,
    recipe: Annotated[str | None, typer.Option(help="How to train; `common` is the same for every network.")] = None,
    budget: Annotated[str | None, typer.Option(help="26ep, 2000steps, 500000img, 10min, 90s or 5e15flop.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images a step.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds, from 0.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="For networks that take them: random, default or a state-dict file.")
    ] = None,
    device: Device = None,
    precision: Precision = None,
    compile_mode: Compile = None,
    cuda_graph: CudaGraph = None,
    memory_format: MemoryFormat = None,
    no_cache_features: NoCacheFeatures = False,
    concurrent_seeds: ConcurrentSeeds = None,
    trial_timeout: TrialTimeout = None,
    oom: OutOfMemory = None,
    memory_limit: MemoryLimit = None,
    checkpoint_every: CheckpointEvery = None,
    calibrate: Calibrate = None,
    retry_failed: RetryFailed = False,
    out_folder: OutFolder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> None:
    """Train every network of a suite under one budget and record what each costs and reaches.

    Flags replace what the suite file says. The same command goes on where it was
    cut short: what ended is not run again, what was interrupted continues.
    """
    from resbench.bench import bench as run_bench
    from resbench.bench import default_suite

    failed = run_bench(
        default_suite(device) if suite is None else suite,
        {
            "models": _split(models),
            "stem": stem,
            "dataset": dataset,
            "train_images": train_images,
            "test_images": test_images,
            "input": input_shape,
            "recipe": recipe,
            "budget": budget,
            "batch_size": batch_size,
            "seeds": seeds,
            "weights": weights,
            "device": device,
            "precision": precision,
            "compile": compile_mode,
            "cuda_graph": cuda_graph,
            "memory_format": memory_format,
            "cache_features": False if no_cache_features else None,
            "concurrent_seeds": concurrent_seeds,
            "trial_timeout": trial_timeout,
            "oom": oom,
            "memory_limit": memory_limit,
            "checkpoint_every": checkpoint_every,
            "calibrate": calibrate,
        },
        data_dir=data_dir,
        out_folder=out_folder,
        retry_failed=retry_failed,
        dry_run=dry_run,
    )
    if failed:
        raise typer.Exit(FAILED_TRIALS)


@app.command()
@_with_exit_codes
def profile(
    models: Annotated[list[str] | None, typer.Argument(help="Networks; wildcards are welcome. Default: all.")] = None,
    stem: Stem = "source",
    input_shape: Input = "3x32x32",
    num_classes: Annotated[int, typer.Option(min=1, help="Width of the logits.")] = 10,
    batch_size: Annotated[str, typer.Option(help="Comma-separated, such as 1,64,512.")] = "64",
    device: Device = "auto",
    precision: Precision = "auto",
    compile_mode: Compile = "off",
    cuda_graph: CudaGraph = "off",
    memory_format: MemoryFormat = "channels_last",
    out_folder: OutFolder = None,
) -> None:
    """Measure what networks cost before any training: size, MACs, latency, throughput, memory.

    Each network and batch size is measured in a process of its own.
    """
    from resbench.profiling import profile_models
    from resbench.report.profiles import profile_table

    frame = profile_models(
        models or ["*"],
        stem=stem or "source",
        input_shape=input_shape or "3x32x32",
        num_classes=num_classes,
        batch_sizes=[parse_batch_size(text) for text in batch_size.split(",")],
        engine={
            "device": device or "auto",
            "precision": precision or "auto",
            "compile": compile_mode or "off",
            "cuda_graph": cuda_graph or "off",
            "memory_format": memory_format or "channels_last",
        },
        out=out_folder,
        on_message=complain,
    )
    print_table(profile_table(frame, width=None if out.is_terminal else WHOLE))
    if frame.attrs["failed"]:
        raise typer.Exit(FAILED_TRIALS)


@app.command()
@_with_exit_codes
def report(folder: Annotated[Path, typer.Argument(help="A results folder, or a collection's.")]) -> None:
    """Rebuild the CSV files, tables and plots of a results folder from its records."""
    from resbench.report import rebuild_collection, write_report
    from resbench.report.sources.stored import COLLECTION
    from resbench.report.tables import rich_table
    from resbench.store import Store

    if (folder / COLLECTION).is_file():
        written = rebuild_collection(folder)
    else:
        results = Store(folder).derive()
        written = write_report(folder, results=results)
        print_table(rich_table(results, width=None if out.is_terminal else WHOLE))
    say(f"{count(len(written), 'file')} written in {folder}")


@app.command()
@_with_exit_codes
def compare(
    base: Annotated[Path, typer.Argument(help="The results folder to compare with.")],
    new: Annotated[Path | None, typer.Argument(help="The results folder that is judged.")] = None,
    against: Annotated[
        str | None, typer.Option(help="published: BASE's accuracies beside published ones, in the place of NEW.")
    ] = None,
    threshold: Annotated[
        str | None, typer.Option(help="Least change that counts, such as accuracy=0.3,throughput=5%.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Compare two results folders; exit code 1 where something got worse, 4 where nothing is comparable."""
    from resbench.compare import compare_with, parse_thresholds

    comparison = compare_with(base, new, against=against, thresholds=parse_thresholds(threshold or ""))
    if as_json:
        typer.echo(json.dumps(comparison.to_json(), indent=2))
    elif as_markdown:
        typer.echo(comparison.to_markdown())
    else:
        print_table(comparison.to_rich())
    raise typer.Exit(comparison.exit_code)


@app.command()
@_with_exit_codes
def reproduce(
    folder: Annotated[Path, typer.Argument(help="A results folder.")],
    trial_id: Annotated[str, typer.Argument(help="A trial's id there, or the beginning of it.")],
    dataset: Annotated[str | None, typer.Option(help="Where its data are now, if they have moved.")] = None,
    data_dir: DataDir = None,
    weights: Annotated[str | None, typer.Option(help="Where its weights file is now, if it has moved.")] = None,
    out_folder: OutFolder = None,
) -> None:
    """Run a stored trial again from its own record; exit code 1 where it does not fall within noise.

    4 where there is nothing to hold the rerun against, 3 where the rerun fails.
    """
    from resbench.reproduce import reproduce as rerun

    code = rerun(folder, trial_id, dataset=dataset, data_dir=data_dir, weights=weights, out_folder=out_folder)
    raise typer.Exit(code)


@app.command()
@_with_exit_codes
def env(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the machine and the versions that a result made here would carry, and test the instruments.

    A sleep, an allocation and convolutions of known size are measured, and what distorts measurements here is named.
    Exit code 3 where an instrument is wrong.
    """
    from resbench.environment import distortions
    from resbench.machine import calibrate_machine, default_engine, machine_facts, ruler_table

    engine = default_engine()
    facts, warnings = machine_facts(engine), distortions()
    if not as_json:
        print_pairs({key: "none" if value is None else str(value) for key, value in facts.items()})
        for text in warnings:
            complain(text, label="warning")
    ruler = calibrate_machine(engine)
    if as_json:
        typer.echo(json.dumps({**facts, "distortions": warnings, "ruler": ruler.to_dict()}, indent=2))
    else:
        print_table(ruler_table(ruler))
    ruler.check()


def _split(names: str | None) -> list[str] | None:
    """Splits a comma-separated list."""
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]


def main() -> None:
    """Runs the command line."""
    try:
        app(prog_name="resbench")
    finally:  # a Ctrl-C while Python tears itself down is too late to interrupt anything, and would hide how it ended
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
