"""The command line: verbs that parse, call, print and set the exit code.

Exit codes: 0 all well; 1 ``compare`` found a regression; 2 bad usage or input; 3 planned trials failed or are
missing; 4 nothing comparable, nothing measured; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from resbench.errors import InputError, NothingMeasuredError, ResbenchError

if TYPE_CHECKING:
    from resbench.plan import Plan
    from resbench.store import Results

FAILED_TRIALS = 3
INTERRUPTED = 130
_WHOLE = 1000  # characters a line, where it is not a terminal that shows it

app = typer.Typer(
    help="Compare residual networks: accuracy, parameters, FLOPs, speed and memory under one fixed budget.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console()
err = Console(stderr=True)

P = ParamSpec("P")
R = TypeVar("R")


def _with_exit_codes(command: Callable[P, R]) -> Callable[P, R]:
    """Turns the project's errors into one message on stderr and their exit code."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ResbenchError as error:
            err.print(f"[bold red]error:[/bold red] {escape(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            err.print("interrupted; what ended before is recorded", highlight=False)
            raise typer.Exit(INTERRUPTED) from error
        except OSError as error:
            if error.filename is None:
                raise
            err.print(f"[bold red]error:[/bold red] {escape(_explain(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(InputError.exit_code) from error

    return guarded


def _explain(error: OSError) -> str:
    """Says which file the system refused, and why."""
    return f"cannot use {str(error.filename)!r}: {error.strerror}."


Stem = Annotated[str | None, typer.Option(help="source (as published) or cifar (3x3 stride 1, no max-pool).")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")]
Precision = Annotated[str | None, typer.Option(help="auto (bf16 on CUDA, else fp32), fp32, tf32 or bf16.")]
Compile = Annotated[str | None, typer.Option(help="torch.compile: auto (on with CUDA), on or off.")]
MemoryFormat = Annotated[str | None, typer.Option(help="channels_last or contiguous.")]
Input = Annotated[str | None, typer.Option("--input", help="Channels x height x width, such as 3x224x224.")]
OutFolder = Annotated[Path | None, typer.Option("--out", help="Results folder.")]


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
        typer.Argument(help="A suite's name or TOML file. Default: cifar10 where CUDA is, smoke elsewhere."),
    ] = None,
    models: Annotated[str | None, typer.Option(help="Networks, comma-separated; wildcards are welcome.")] = None,
    stem: Stem = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="cifar10, fashion_mnist, folder:PATH, filelist:TRAIN.txt,TEST.txt or shapes10."),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where downloaded datasets are, or go.")] = None,
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
    compile_mode: Annotated[str | None, typer.Option("--compile", help="torch.compile: auto, on or off.")] = None,
    memory_format: MemoryFormat = None,
    out_folder: OutFolder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> None:
    """Train every network of a suite under one budget and record what each costs and reaches.

    Flags replace what the suite file says. A trial that has ended well in the results folder is not run again.
    """
    from resbench.plan import plan_suite
    from resbench.suite import load_suite

    chosen = load_suite(
        suite or _default_suite(device),
        models=_split(models),
        stem=stem,
        dataset=dataset,
        input=input_shape,
        recipe=recipe,
        budget=budget,
        batch_size=batch_size,
        seeds=seeds,
        weights=weights,
        device=device,
        precision=precision,
        compile=compile_mode,
        memory_format=memory_format,
    )
    plan = plan_suite(
        chosen,
        data_dir=data_dir,
        on_message=lambda text: err.print(escape(text), highlight=False, soft_wrap=True),
    )
    folder = out_folder or Path("results") / chosen.name
    for notice in plan.notices:
        err.print(f"[bold yellow]warning:[/bold yellow] {escape(notice)}", highlight=False, soft_wrap=True)
    _print_plan(plan, folder)
    if not dry_run:
        _run(plan, folder)


def _run(plan: Plan, folder: Path) -> None:
    """Runs a plan under a view, prints its table and sets the exit code."""
    from resbench.report import write_report
    from resbench.report.tables import rich_table
    from resbench.run import run_plan, waiting_trials
    from resbench.view import RunView

    waiting = waiting_trials(plan, folder)
    if len(waiting) < len(plan.trials):
        done = len(plan.trials) - len(waiting)
        _say(f"{done} of {_count(len(plan.trials), 'trial')} ended well in {folder} before: not run again.")
    view = RunView(out, waiting)
    try:
        with view:
            results, _ = run_plan(plan, folder, on_message=view)
    except KeyboardInterrupt:
        with contextlib.suppress(ResbenchError):  # nothing had ended: there is nothing to report
            write_report(folder)
        raise
    planned = {trial.trial_id for trial in plan.trials}
    missing = _not_ok(results, planned)
    with contextlib.suppress(NothingMeasuredError):  # the page says how each trial ended
        write_report(folder)
    if len(missing) < len(planned):
        _print_table(rich_table(results, width=None if out.is_terminal else _WHOLE))
        _say(f"Tables, plots and records: {folder}")
    if missing:
        err.print(
            f"[bold red]{len(missing)} of {_count(len(planned), 'planned trial')} did not end well[/bold red] "
            f"(logs: {escape(str(folder / 'logs'))}):",
            highlight=False,
            soft_wrap=True,
        )
        for line in missing:
            err.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
        raise typer.Exit(FAILED_TRIALS)


def _not_ok(results: Results, planned: set[str]) -> list[str]:
    """Returns a line for each planned trial that did not end ``ok``."""
    return [
        f"{row.model} seed {row.seed}: {row.status} in phase {row.phase}: {row.error}"
        for row in results.trials.itertuples()
        if row.trial_id in planned and row.status != "ok"
    ]


def _print_plan(plan: Plan, folder: Path) -> None:
    """Prints what is going to run."""
    from resbench.schema import format_input

    first, suite = plan.trials[0], plan.suite
    engine = first.engine
    models = list(dict.fromkeys(trial.model for trial in plan.trials))
    rows = {
        "suite": f"{suite.name}  {suite.description}".rstrip(),
        "models": ", ".join(models),
        "trials": f"{len(plan.trials)} ({_count(len(models), 'model')} x {_count(len(suite.seed_list), 'seed')})",
        "dataset": f"{first.dataset}  ({format_input(first.input)}, {first.num_classes} classes, "
        f"sha256 {first.dataset_fingerprint[:12]})",
        "training": f"recipe {first.recipe}, budget {first.budget}, batch {first.batch_size}, stem {first.stem}",
        "engine": f"{engine.device}, {engine.precision}, {engine.memory_format}, "
        f"torch.compile {'on' if engine.compile else 'off'}",
        "results": str(folder),
    }
    _print_pairs(rows)


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
        batch_sizes=[_batch_size(text) for text in batch_size.split(",")],
        engine={
            "device": device or "auto",
            "precision": precision or "auto",
            "compile": compile_mode or "off",
            "memory_format": memory_format or "channels_last",
        },
        out=out_folder,
        on_message=lambda text: err.print(escape(text), highlight=False, soft_wrap=True),
    )
    _print_table(profile_table(frame), whole=True)
    if frame.attrs["failed"]:
        raise typer.Exit(FAILED_TRIALS)


@app.command()
@_with_exit_codes
def report(folder: Annotated[Path, typer.Argument(help="A results folder.")]) -> None:
    """Rebuild the CSV files, tables and plots of a results folder from its records."""
    from resbench.report import write_report
    from resbench.report.tables import rich_table
    from resbench.store import load_results

    written = write_report(folder)
    _print_table(rich_table(load_results(folder), width=None if out.is_terminal else _WHOLE))
    _say(f"{_count(len(written), 'file')} written in {folder}")


@app.command()
@_with_exit_codes
def compare(
    base: Annotated[Path, typer.Argument(help="The results folder to compare with.")],
    new: Annotated[Path, typer.Argument(help="The results folder that is judged.")],
    threshold: Annotated[
        str | None, typer.Option(help="Least change that counts, such as accuracy=0.3,throughput=5%.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Compare two results folders; exit code 1 where something got worse, 4 where nothing is comparable."""
    from resbench.compare import compare as compare_results
    from resbench.compare import parse_thresholds
    from resbench.store import load_results

    thresholds = parse_thresholds(threshold or "")
    comparison = compare_results(load_results(base), load_results(new), thresholds)
    if as_json:
        typer.echo(json.dumps(comparison.to_dicts(), indent=2))
    elif as_markdown:
        typer.echo(comparison.to_markdown())
    else:
        _print_table(comparison.to_rich())
    raise typer.Exit(comparison.exit_code)


@app.command()
@_with_exit_codes
def env(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the machine and the versions that a result made here would carry."""
    import torch

    from resbench import provenance
    from resbench.data.cache import cache_root
    from resbench.devices import open_device, resolve_device, resolve_precision

    device = resolve_device("auto")
    values: dict[str, Any] = {
        "device": device,
        "device_name": open_device(device).name,
        "default_precision": resolve_precision("auto", device),
        "cpu_threads": torch.get_num_threads(),
        "cache": str(cache_root()),
        **provenance.collect().to_dict(),
    }
    if as_json:
        typer.echo(json.dumps(values, indent=2))
        return
    _print_pairs({key: "none" if value is None else str(value) for key, value in values.items()})


def _print_pairs(rows: dict[str, str]) -> None:
    """Prints names and values, a line each, never cut: a path can be copied whole."""
    width = max(map(len, rows))
    for key, value in rows.items():
        _say(f"[dim]{key:<{width}}[/dim]  {escape(value)}", markup=True)


def _print_table(table: RenderableType, *, whole: bool = False) -> None:
    """Prints a table.

    Args:
        table: What to print.
        whole: Print it as wide as it is, in a terminal too (which breaks the lines), rather than cut its cells.
    """
    if out.is_terminal and not whole:
        out.print(table)
        return
    wide = Console(width=_WHOLE)
    wide.print(table, width=Measurement.get(wide, wide.options, table).maximum, soft_wrap=False)


def _say(text: str, *, markup: bool = False) -> None:
    """Prints one line on stdout; where it is too long the terminal breaks it."""
    out.print(text, markup=markup, highlight=False, soft_wrap=True)


def _count(number: int, noun: str) -> str:
    """Writes a number and its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _default_suite(device: str | None) -> str:
    """Returns the suite for this machine: the full one needs CUDA."""
    import torch

    asked_for_other = device is not None and not device.startswith(("auto", "cuda"))
    return "cifar10" if torch.cuda.is_available() and not asked_for_other else "smoke"


def _split(names: str | None) -> list[str] | None:
    """Splits a comma-separated list."""
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]


def _batch_size(text: str) -> int:
    """Reads one batch size.

    Raises:
        InputError: It is not a positive whole number.
    """
    if not text.strip().isdecimal() or int(text) < 1:
        raise InputError(f"the batch size {text!r} is not a positive whole number. Give such as 1,64,512.")
    return int(text)


def main() -> None:
    """Runs the command line."""
    app(prog_name="resbench")


if __name__ == "__main__":
    main()
