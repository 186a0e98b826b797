"""``make docs``: rebuilds the committed results' pages and the generated parts of the documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.docs.drift import find_drift, update
from resbench.console import complain, count, say
from resbench.errors import ResbenchError


def main(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 where something drifted.")
    ] = False,
    root: Annotated[Path, typer.Option(help="Of the repository.")] = Path(),
) -> None:
    """Rebuild the committed results' pages, and what README.md and METHOD.md show of them."""
    try:
        lines = find_drift(root) if check else update(root)
    except ResbenchError as error:
        complain(str(error), label="error")
        raise typer.Exit(error.exit_code) from error
    for line in lines:
        say(line)
    if check and lines:
        complain(f"{count(len(lines), 'part')} drifted: run `make docs`.", label="failed")
        raise typer.Exit(1)
    say("nothing has drifted" if check else f"{count(len(lines), 'generated part')} changed")


if __name__ == "__main__":
    typer.run(main)
