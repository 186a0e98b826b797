"""The verb ``check``: it parses, calls, prints and sets the exit code."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from resbench.cli.exits import with_exit_codes
from resbench.cli.imports import import_told
from resbench.cli.options import Compile, Device, Imports, Input, Precision, Stem
from resbench.console import complain, count, out, print_table, say

if TYPE_CHECKING:
    from resbench.audit import Audit

FOUND_A_FAULT = 1
JSON_VERSION = 1
"""Of what ``--json`` prints; raised when a name in it changes its meaning."""
_MARKS = {"pass": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red"), "skipped": ("-", "dim")}


@with_exit_codes
def check(
    models: Annotated[list[str], typer.Argument(help="Networks; wildcards are welcome.")],
    imports: Imports = None,
    stem: Stem = "source",
    input_shape: Input = "3x32x32",
    num_classes: Annotated[int, typer.Option("--classes", min=1, help="Width of the logits.")] = 10,
    batch_size: Annotated[int, typer.Option(min=2, help="Images of a batch.")] = 4,
    device: Device = "auto",
    precision: Precision = "fp32",
    compile_mode: Compile = "auto",
    every: Annotated[
        bool, typer.Option("--all", help="List what passes too; it is listed anyway where one network is given.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Audit networks before hours are spent on them; exit code 1 where a check fails.

    Shapes, gradients, training and evaluation mode, seeds, checkpoints, counters
    of FLOPs, torch.compile and graphs, a few steps of training. Each network is
    tried in a process of its own.
    """
    from resbench.audit import audit_models

    import_told(imports)
    audits: list[Audit] = []

    one_alone = len(models) == 1 and not set(models[0]) & set("*?[")
    status = out.status("") if out.is_terminal and not as_json else None

    def tell(model: str, name: str) -> None:
        if status:
            status.update(Text(f"{model}: {name}"))

    def show(audited: Audit) -> None:
        audits.append(audited)
        if not as_json:
            _print_audit(audited, input_shape or "", whole=every or one_alone)

    with status or contextlib.nullcontext():
        audit_models(
            models,
            stem=stem or "source",
            input_shape=input_shape or "3x32x32",
            num_classes=num_classes,
            batch_size=batch_size,
            engine={"device": device or "auto", "precision": precision or "fp32", "compile": compile_mode or "auto"},
            on_check=tell,
            on_audit=show,
        )
    verdicts = Counter(audited.verdict for audited in audits)
    if as_json:
        data = {"version": JSON_VERSION, "input": input_shape, "networks": [audited.to_dict() for audited in audits]}
        typer.echo(json.dumps(data, indent=2))
    else:
        parts = (f"{verdicts[name]} {words}" for name, words in _ENDINGS.items() if verdicts[name])
        say(f"{count(len(audits), 'network')}: {', '.join(parts)}")
    if verdicts["fail"]:
        raise typer.Exit(FOUND_A_FAULT)


_ENDINGS = {"pass": "without a finding", "warn": "with warnings", "fail": "with faults"}


def _print_audit(audited: Audit, input_shape: str, *, whole: bool) -> None:
    """Prints what was found of one network: all of it, or what is not as it should be."""
    passing = sum(finding.verdict == "pass" for finding in audited.findings)
    skipped = sum(finding.verdict == "skipped" for finding in audited.findings)
    say(
        f"{audited.model}, stem {audited.stem}, input {input_shape}: {passing} of "
        f"{count(len(audited.findings) - skipped, 'check')} passed"
    )
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    shown = [finding for finding in audited.findings if whole or finding.verdict in ("warn", "fail")]
    for finding in shown:
        word, style = _MARKS[finding.verdict]
        if out.is_terminal:
            table.add_row(Text(f"  {word}", style=style), finding.check, Text(finding.detail))
        else:  # a line a finding, whole, for grep and its like
            say(f"  {word:<4}  {finding.check:<22}  {finding.detail}".rstrip())
    if out.is_terminal and shown:
        print_table(table)
    if any(finding.verdict == "fail" for finding in audited.findings):
        complain(f"{audited.model} has a fault", label="failed")
