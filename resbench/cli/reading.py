"""The verbs that read: ``list``, ``report``, ``compare``, ``env``. They parse, call, print and set the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from resbench.cli.exits import with_exit_codes
from resbench.console import WHOLE, complain, count, out, print_pairs, print_table, say
from resbench.errors import InputError


@with_exit_codes
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


@with_exit_codes
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


@with_exit_codes
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


@with_exit_codes
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
