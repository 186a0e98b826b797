"""The verbs that read: ``list``, ``report``, ``compare``, ``env``. They parse, call, print and set the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.columns import Columns
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from resbench.cli.exits import with_exit_codes
from resbench.cli.imports import import_told
from resbench.cli.options import Imports
from resbench.console import WHOLE, complain, count, out, print_pairs, print_table, say
from resbench.errors import InputError


@with_exit_codes
def list_command(
    pattern: Annotated[str, typer.Argument(help="A wildcard, such as 'resnet*' or 'timm:resnet*'.")] = "*",
    imports: Imports = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the networks of the registry."""
    from resbench.libraries import library_prefixes, no_match, split_name
    from resbench.registry import list_models, model_entry

    import_told(imports)
    entries = [model_entry(name) for name in list_models(pattern)]
    if as_json:
        rows = [{"name": entry.name, "source": entry.source, "summary": entry.summary} for entry in entries]
        typer.echo(json.dumps(rows, indent=2))
        return
    if not entries:
        raise no_match(pattern, list_models())
    texts = {entry.name: (entry.summary.replace("`", ""), entry.source) for entry in entries}
    if not out.is_terminal:  # a line a model, whole, for grep and its like
        width = max(map(len, texts))
        for name, (summary, source) in texts.items():
            typer.echo(f"{name:<{width}}  {summary} [{source}]")
        return
    if split_name(pattern)[0]:  # of a library more than the name is the same for all
        out.print(Columns(map(Text, texts), padding=(0, 2), column_first=True))
        sources = dict.fromkeys(source for _, source in texts.values())
        say(f"{count(len(texts), 'network')} of {', '.join(sources)}")
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, (summary, source) in texts.items():
        table.add_row(escape(name), f"{escape(summary)}\n[dim]{escape(source)}[/dim]")
    out.print(table)
    if pattern == "*":
        asking = " or ".join(repr(f"{library}:*") for library in library_prefixes())
        say(f"Libraries have more: resbench list {asking}")


@with_exit_codes
def report(
    folders: Annotated[list[Path], typer.Argument(help="A results folder or a collection's; several: side by side.")],
    form: Annotated[
        str | None, typer.Option("--format", help="Print the tables alone, as markdown, latex or csv.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="With --format, the columns to print, such as accuracy,params,macs.")
    ] = None,
    names: Annotated[str | None, typer.Option(help="What to call several folders, such as before,after.")] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Where the page of several folders goes; without it they are printed.")
    ] = None,
) -> None:
    """Rebuild the CSV files, pages and plots of a results folder from its records, or put several side by side.

    With --format nothing is written: the comparison tables are printed, to be pasted into a paper or a pull request.
    """
    if columns is not None and form is None:
        raise InputError("--columns is for tables to paste: give a --format, such as latex.")
    if len(folders) > 1:
        _report_several(folders, form, columns, names, out_folder)
    elif names is not None or out_folder is not None:
        raise InputError("--names and --out are for several results folders side by side: give two folders or more.")
    elif form is not None:
        _print_tables(folders[0], form, columns)
    else:
        _report_one(folders[0])


def _report_one(folder: Path) -> None:
    """Rebuilds what is derived from the records of a results folder, or of a collection."""
    from resbench.report import rebuild_collection, write_report
    from resbench.report.experiments.stored import COLLECTION
    from resbench.report.profiles import profile_sets, rich_profile
    from resbench.report.tables import rich_table
    from resbench.store import Store

    if (folder / COLLECTION).is_file():
        written = rebuild_collection(folder)
    else:
        results = Store(folder).derive()
        written = write_report(folder, results=results)
        width = None if out.is_terminal else WHOLE
        if results.trials.empty:
            for found in profile_sets(results.profile):
                print_table(rich_profile(found.title, found.rows, width=width))
        else:
            print_table(rich_table(results, width=width))
    say(f"{count(len(written), 'file')} written in {folder}")


def _print_tables(folder: Path, form: str, columns: str | None) -> None:
    """Prints the comparison tables of a results folder and nothing else."""
    from resbench.report.experiments.stored import COLLECTION
    from resbench.report.printed import check_format, printed_report
    from resbench.store import load_results

    check_format(form)
    if (folder / COLLECTION).is_file():
        raise InputError(f"{str(folder)!r} is a collection: --format prints one of the results folders in it.")
    typer.echo(printed_report(load_results(folder), form, columns), nl=False)


def _report_several(
    folders: list[Path], form: str | None, columns: str | None, names: str | None, out_folder: Path | None
) -> None:
    """Puts results folders side by side: on a page, as text to paste, or else in the terminal."""
    from resbench.report.columns import parse_columns
    from resbench.report.printed import check_format
    from resbench.report.side_by_side import (
        QUANTITIES,
        printed_side_by_side,
        read_side_by_side,
        sentences,
        side_by_side_tables,
        write_side_by_side,
    )
    from resbench.report.terminal import rich_of

    if form is not None:
        check_format(form)
    quantities = {name: metric.name for name, metric in QUANTITIES.items()}
    chosen = None if columns is None else parse_columns(columns, quantities)
    called = None if names is None else [name.strip() for name in names.split(",")]
    found = read_side_by_side(folders, called)
    written = write_side_by_side(found, out_folder) if out_folder is not None else []
    if form is not None:
        typer.echo(printed_side_by_side(found, form, chosen), nl=False)
    else:
        for sentence in sentences(found):
            say(sentence)
        say("")
        for about, table in side_by_side_tables(found) if not written else ():
            print_table(rich_of(table, about))
    if written:
        (complain if form is not None else say)(f"{count(len(written), 'file')} written in {out_folder}")


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
def env(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    renew: Annotated[
        bool, typer.Option("--renew", help="Time bf16 against fp32 anew: what precision auto means on a processor.")
    ] = False,
) -> None:
    """Show the machine and the versions that a result made here would carry, and test the instruments.

    A sleep, an allocation and convolutions of known size are measured, and what distorts measurements here is named.
    On a processor with bf16 it shows how many times as fast each network was timed to be in it: readings that
    precision auto goes by. Exit code 3 where an instrument is wrong.
    """
    from resbench.environment import distortions
    from resbench.machine import calibrate_machine, default_engine, machine_facts, ruler_table

    engine = default_engine(renew=renew, on_message=complain)
    facts, warnings = machine_facts(engine), distortions()
    if not as_json:
        speedups = {f"bf16 over fp32: {name}": f"{ratio:.2f}" for name, ratio in facts.pop("bf16_speedups").items()}
        print_pairs({key: "none" if value is None else str(value) for key, value in facts.items()} | speedups)
        for text in warnings:
            complain(text, label="warning")
    ruler = calibrate_machine(engine)
    if as_json:
        typer.echo(json.dumps({**facts, "distortions": warnings, "ruler": ruler.to_dict()}, indent=2))
    else:
        print_table(ruler_table(ruler))
    ruler.check()
