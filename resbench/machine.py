"""The machine that a result made here would carry: its names and versions, and its instruments tested."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from resbench.errors import RulerError
from resbench.executors.process import run_in_process
from resbench.schema import EngineSettings

if TYPE_CHECKING:
    from resbench.measure.ruler import Ruler


NETWORKS = ("d2l_resnet18", "resnet34", "resnet50", "se_resnet50", "resnet152")
"""Those whose speed decides on a processor's precision where nothing else is said: the five of the sources."""


def default_engine(*, renew: bool = False, on_message: Callable[[str], None] = lambda text: None) -> EngineSettings:
    """Returns the device, and the precision that the five networks of the sources get there with the source stem.

    Args:
        renew: Whether a processor's readings of bf16 and fp32 are taken anew.
        on_message: Told what is being timed.
    """
    from resbench.measure.profile import Subject
    from resbench.planning.precision_choice import forget_speedups, settle_precision
    from resbench.planning.settings import resolve_engine
    from resbench.suite import EngineOptions

    if renew:
        forget_speedups()
    engine = resolve_engine(EngineOptions())
    subjects = [Subject(name, "source", (3, 32, 32), 10, 128, engine) for name in NETWORKS]
    return settle_precision(engine, subjects, on_message)


def machine_facts(engine: EngineSettings) -> dict[str, Any]:
    """Returns what ``resbench env`` tells of a machine, as JSON types."""
    import torch

    from resbench import provenance
    from resbench.data.cache import cache_root
    from resbench.devices import open_device
    from resbench.planning.precision_choice import kept_speedups

    return {
        "device": engine.device,
        "device_name": open_device(engine.device).name,
        "default_precision": engine.precision,
        "bf16_speedups": kept_speedups() if engine.device == "cpu" else {},
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
