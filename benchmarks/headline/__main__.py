"""``python -m benchmarks.headline``: runs what is not done yet of the headline results, and says what is left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.headline.pieces import PIECES
from benchmarks.headline.place import Command, Place
from benchmarks.headline.runner import Ledger, run_in_time
from resbench.console import complain, count, print_table, say
from resbench.data.cache import cache_root
from resbench.devices import resolve_device
from resbench.errors import ResbenchError, unknown

NAMES = ", ".join(PIECES)


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Which pieces: {NAMES}. Default: all.")] = None,
    dataset: Annotated[str, typer.Option(help="As resbench bench takes it.")] = "cifar10",
    out: Annotated[Path, typer.Option(help="Results folder.")] = Path("results/headline"),
    minutes: Annotated[float, typer.Option(min=0.1, help="End after so long; the same command goes on.")] = 9.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    tiny: Annotated[bool, typer.Option("--tiny", help="Everything at its smallest, to see that it runs.")] = False,
) -> None:
    """Train the five networks under every budget, sweep batch sizes, measure the harness; some minutes a call."""
    try:
        left = _run(names or list(PIECES), dataset, out, minutes, device, tiny=tiny)
    except ResbenchError as error:
        complain(str(error), label="error")
        raise typer.Exit(error.exit_code) from error
    if left:
        raise typer.Exit(3)


def _run(names: list[str], dataset: str, out: Path, minutes: float, device: str, *, tiny: bool) -> bool:
    for name in names:
        if name not in PIECES:
            raise unknown("piece", name, PIECES)
    # The few images of a rehearsal must never be taken for the whole set.
    scratch = (out if tiny else cache_root()) / "reencoded"
    place = Place(out, dataset, resolve_device(device), scratch, tiny)
    out.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(out / "pieces.json")
    wanted = [name for name in PIECES if name in names and (place.on_cuda or not PIECES[name].only_cuda)]
    commands = {name: list(PIECES[name].commands(place)) for name in wanted}
    every = [command for name in wanted for command in commands[name]]
    left = run_in_time(every, ledger, minutes=minutes, on_message=complain)
    print_table(table(commands, ledger))
    if left:
        say(f"{count(len(left), 'command')} left. The same command goes on.")
    return bool(left)


def table(commands: dict[str, list[Command]], ledger: Ledger) -> Table:
    """Returns what is done and what is not, a row a piece."""
    columns = ("piece", "what it answers", "done", "seconds", "not done")
    shown = Table(*columns, box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name, listed in commands.items():
        ended = [ledger.ended[one.name] for one in listed if one.name in ledger.ended]
        left = [_why(one.name, ledger) for one in listed if not ledger.done(one)]
        seconds = f"{sum(one.seconds for one in ended):,.0f}" if ended else ""
        shown.add_row(name, PIECES[name].says, f"{len(listed) - len(left)}/{len(listed)}", seconds, "\n".join(left))
    return shown


def _why(name: str, ledger: Ledger) -> str:
    ended = ledger.ended.get(name)
    if ended is None:
        return f"{name}: not begun"
    return f"{name}: " + ("time was up" if ended.exit_code is None else f"exit code {ended.exit_code}")


if __name__ == "__main__":
    typer.run(main)
