"""The machine that a result made here would carry: its names and versions, and its instruments tested."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from resbench.errors import RulerError
from resbench.executors.process import run_in_process
from resbench.schema import EngineSettings

if TYPE_CHECKING:
    from resbench.measure.ruler import Ruler


def default_engine() -> EngineSettings:
    """Returns the device and the precision that are used where none are asked for."""
    from resbench.devices import resolve_device
    from resbench.precision import resolve_precision

    device = resolve_device("auto")
    return EngineSettings(device=device, precision=resolve_precision("auto", device))


def machine_facts(engine: EngineSettings) -> dict[str, Any]:
    """Returns what ``resbench env`` tells of a machine, as JSON types."""
    import torch

    from resbench import provenance
    from resbench.data.cache import cache_root
    from resbench.devices import open_device

    return {
        "device": engine.device,
        "device_name": open_device(engine.device).name,
        "default_precision": engine.precision,
        "cpu_threads": torch.get_num_threads(),
        "cache": str(cache_root()),
        **provenance.collect().to_dict(),
    }


def calibrate_machine(engine: EngineSettings, *, log: Path | None = None) -> Ruler:
    """Tests the instruments in a process of its own, as clean as a trial's; some seconds, most of them torch's import.

    Args:
        engine: What is going to be measured with.
        log: Gets what the process prints; kept nowhere by default.

    Returns:
        The readings. They may be wrong: see :meth:`~resbench.measure.ruler.Ruler.check`.

    Raises:
        RulerError: The process ended before it had read them.
        KeyboardInterrupt: The user pressed Ctrl-C; the process has been ended.
    """
    from resbench.measure.ruler import Ruler, ruler_job

    found: list[Ruler] = []

    def note(kind: str, data: dict[str, Any]) -> None:
        if kind == "ruler":
            found.append(Ruler.from_dict(data))

    with tempfile.TemporaryDirectory(prefix="resbench-") as folder:
        ended = run_in_process(ruler_job, (engine,), log=log or Path(folder) / "ruler.log", on_message=note)
    if not found:
        raise RulerError(
            f"the instruments could not be tested on {engine.device}: {ended}. What stops them would stop trials "
            "too: free the device, or choose another with --device."
        )
    return found[0]


def ruler_table(ruler: Ruler) -> Table:
    """Returns what the instruments read, a row each, with a verdict."""
    from resbench.measure.ruler import format_quantity

    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("quantity", "expected", "measured", "verdict"):
        table.add_column(heading, justify="left" if heading in {"quantity", "verdict"} else "right", no_wrap=True)
    for reading in ruler.readings:
        expected = "" if reading.expected is None else format_quantity(reading.expected, reading.unit)
        table.add_row(
            f"{reading.name}, {ruler.precision}" if reading.name == "matmul rate" else reading.name,
            expected,
            format_quantity(reading.measured, reading.unit),
            "[red]wrong[/red]" if not reading.ok else "right" if expected else "read",
        )
    return table
