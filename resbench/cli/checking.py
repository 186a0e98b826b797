"""The verb ``check``: it parses, calls, prints what was found, and sets the exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from resbench.cli.exits import with_exit_codes
from resbench.cli.imports import import_told
from resbench.cli.options import Device, Imports, Input, Precision, Stem
from resbench.console import complain, count, out, print_table, say
from resbench.errors import InputError

if TYPE_CHECKING:
    from resbench.audit.findings import Audit, Finding

FAULT = 1
"""Exit code where a check failed."""
JSON_VERSION = 1

_MARGIN = 6
"""Columns of the terminal that stand around themes and checks."""
_MARKS = {"pass": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red"), "skipped": ("-", "dim")}


@with_exit_codes
def check(
    models: Annotated[list[str] | None, typer.Argument(help="Networks; wildcards are welcome.")] = None,
    imports: Imports = None,
    stem: Stem = "source",
    input_shape: Input = "3x32x32",
    num_classes: Annotated[int, typer.Option("--classes", min=2, help="Width of the logits.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a batch; a small one finds as much.")] = 8,
    device: Device = "auto",
    precision: Precision = "auto",
    compile_mode: Annotated[
        str,
        typer.Option("--compile", help="auto (on with CUDA, elsewhere the compiler's tracing alone), on or off."),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    list_checks: Annotated[bool, typer.Option("--list", help="Print what each check proves, and stop.")] = False,
) -> None:
    """Audit networks before hours are spent on training them; exit code 1 where a check failed.

    Outputs, gradients, modes, state, counted FLOPs, compiling, a dozen steps of
    training: each network is checked in a process of its own. A warning is no
    fault, but should be known before training.
    """
    if list_checks:
        _print_checks(as_json)
        return
    if not models:
        raise InputError("no network was named. Give one or more, such as `resbench check resnet34`, or '*' for all.")
    from resbench.audit.run import audit_models

    import_told(imports)
    audits = audit_models(
        models,
        stem=stem or "source",
        input_shape=input_shape or "3x32x32",
        num_classes=num_classes,
        batch_size=batch_size,
        compiling=compile_mode,
        engine={"device": device or "auto", "precision": precision or "auto"},
        on_message=complain,
        on_audit=(lambda audit: None) if as_json else _print_audit,
    )
    if as_json:
        typer.echo(json.dumps(_to_json(audits), indent=2))
    else:
        say(_summary(audits))
    if any(audit.verdict == "fail" for audit in audits):
        raise typer.Exit(FAULT)


def _print_checks(as_json: bool) -> None:
    """Prints what there is to check."""
    from resbench.audit.catalogue import CHECKS

    if as_json:
        rows = [{"check": check.name, "theme": check.theme, "proves": check.proves} for check in CHECKS]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for check in sorted(CHECKS, key=lambda check: _theme_order().index(check.theme)):
        table.add_row(check.theme, check.name, Text(check.proves.replace("`", "")))
    print_table(table)


def _theme_order() -> tuple[str, ...]:
    from resbench.audit.catalogue import THEMES

    return THEMES


def _print_audit(audit: Audit) -> None:
    """Prints what was found in one network: in a terminal in short, elsewhere a line a finding."""
    if not out.is_terminal:
        width = max(len(finding.check) for finding in audit.findings)
        for finding in audit.findings:
            say(f"{audit.model}  {finding.verdict:<7}  {finding.check:<{width}}  {finding.detail}".rstrip())
        return
    heading = Text.assemble(
        (audit.model, "bold"),
        (
            f"  {audit.stem} stem, {audit.input}, {audit.num_classes} classes, batch {audit.batch_size}, "
            f"{audit.device}, {audit.precision}",
            "dim",
        ),
    )
    print_table(Group(heading, Padding(_marks(audit.findings), (0, 0, 0, 2)), Padding(_details(audit), (0, 0, 1, 2))))


def _marks(findings: list[Finding]) -> Table:
    """Returns the checks by theme, each behind its mark; no name is broken over two lines."""
    themes = list(dict.fromkeys(finding.theme for finding in findings))
    width = out.width - max(map(len, themes)) - _MARGIN
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim", min_width=max(map(len, themes)))
    table.add_column(no_wrap=True)
    for theme in themes:
        lines = [Text()]
        for finding in findings:
            if finding.theme != theme:
                continue
            cell = Text.assemble("  " if lines[-1].plain else "", _MARKS[finding.verdict], f" {finding.check}")
            if lines[-1].plain and len(lines[-1]) + len(cell) > width:
                lines.append(Text())
                cell = cell[2:]
            lines[-1].append_text(cell)
        table.add_row(theme, Group(*lines))
    return table


def _details(audit: Audit) -> Table:
    """Returns what is to be said of the checks that did not pass, what is worst first."""
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column()
    for verdict in ("fail", "warn", "skipped"):
        mark, colour = _MARKS[verdict]
        for finding in audit.findings:
            if finding.verdict == verdict:
                table.add_row(Text(mark, colour), Text(finding.check, colour), Text(finding.detail))
    return table


def _summary(audits: list[Audit]) -> str:
    """Says in one line how all of it ended."""
    from resbench.audit.findings import tally

    found = tally([finding for audit in audits for finding in audit.findings])
    faulty = [audit.model for audit in audits if audit.verdict == "fail"]
    said = (
        f"{count(len(audits), 'network')}: {count(found['pass'], 'check')} passed, {found['warn']} warned, "
        f"{found['fail']} failed, {found['skipped']} skipped."
    )
    return f"{said} Faults in: {', '.join(faulty)}." if faulty else f"{said} No faults."


def _to_json(audits: list[Audit]) -> dict[str, object]:
    """Returns all that was found, and with what."""
    import torch

    import resbench
    from resbench.audit.findings import tally

    return {
        "version": JSON_VERSION,
        "resbench": resbench.__version__,
        "torch": torch.__version__,
        "networks": [audit.to_dict() for audit in audits],
        "summary": tally([finding for audit in audits for finding in audit.findings]),
    }
