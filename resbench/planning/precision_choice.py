"""What precision ``auto`` means on a processor: bf16 where it trains the networks at hand clearly faster than fp32."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from resbench.data.cache import cache_root
from resbench.executors.process import run_in_process
from resbench.measure.profile import Subject
from resbench.measure.speedup import speedup_job
from resbench.plugins import with_code
from resbench.provenance import host_cpu
from resbench.schema import EngineSettings, format_input

CLEARLY_FASTER = 1.1
"""Geometric mean of the networks' speed-ups from which bf16 is chosen: it rounds, and must pay for that."""
NETWORKS = 5
"""Networks that are timed, at most: the first, the last, and others evenly between them."""
BATCH_SIZE = 64
"""Images of a timed step, at most."""
LIMIT_S = 60.0
"""For a network; the process that times them is ended after this long for each."""


def settle_precision(
    engine: EngineSettings, subjects: Sequence[Subject], on_message: Callable[[str], None] = lambda text: None
) -> EngineSettings:
    """Returns the settings with a precision in the place of ``auto``, one for all of the networks.

    A processor that does not multiply bf16 in hardware (AMX or AVX512-BF16) gets fp32. On another one the geometric
    mean of the networks' speed-ups (:func:`bf16_speedups`) decides; where none could be read it is bf16.

    Args:
        engine: From :func:`~resbench.planning.settings.resolve_engine`.
        subjects: What is going to be trained or measured; their own engine settings do not matter.
        on_message: Told what is being timed, and which readings were refused.
    """
    if engine.precision != "auto":
        return engine
    if not has_bf16():
        return replace(engine, precision="fp32")
    read = bf16_speedups([replace(subject, engine=engine) for subject in subjects], on_message=on_message)
    is_faster = not read or statistics.geometric_mean(read.values()) >= CLEARLY_FASTER
    return replace(engine, precision="bf16" if is_faster else "fp32")


def has_bf16() -> bool:
    """Returns whether this processor multiplies bf16 in hardware."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def bf16_speedups(
    subjects: Sequence[Subject], *, on_message: Callable[[str], None] = lambda text: None
) -> dict[str, float]:
    """Returns how many times as fast this processor trains networks in bf16 as in fp32, by what was timed.

    They are timed in a process of its own, and readings are kept in the cache folder (for this processor, number of
    threads and torch), so that the same command always plans the same trials. A reading that was taken while the
    machine was busy with other things is refused: neither returned nor kept. A network that fails has none.

    Args:
        subjects: At most ``NETWORKS`` of them are timed, with at most ``BATCH_SIZE`` images a step.
        on_message: Told what is being timed, and which readings were refused.
    """
    few = _evenly([replace(subject, batch_size=min(subject.batch_size, BATCH_SIZE)) for subject in subjects])
    kept = kept_speedups()
    read = {_name(subject): kept[_name(subject)] for subject in few if _name(subject) in kept}
    left = [subject for subject in few if _name(subject) not in read]

    def note(kind: str, data: dict[str, Any]) -> None:
        if kind == "begin":
            on_message(f"timing {data['model']} in bf16 and fp32, for precision auto")
        elif kind == "speedup" and data["doubts"]:
            on_message(f"the reading is refused ({'; '.join(data['doubts'])})")
        elif kind == "speedup":
            read[_name(left[data["place"]])] = data["speedup"]

    if left:
        job, arguments = with_code([subject.model for subject in left], speedup_job, (left,))
        with tempfile.TemporaryDirectory(prefix="resbench-") as folder:
            log = Path(folder) / "log"
            run_in_process(job, arguments, log=log, on_message=note, limit_s=LIMIT_S * len(left))
        _keep({**kept_speedups(), **read})
    return read


def kept_speedups() -> dict[str, float]:
    """Returns this machine's readings, by what was timed: such as ``resnet50, source stem, 3x32x32, batch 64``."""
    kept = _read().get(_machine())
    if not isinstance(kept, dict):
        return {}
    return {name: speedup for name, speedup in kept.items() if isinstance(speedup, float) and speedup > 0}


def forget_speedups() -> None:
    """Drops this machine's readings, so that each is taken anew when it is needed next."""
    _keep({})


def _evenly(subjects: Sequence[Subject]) -> list[Subject]:
    """Returns at most ``NETWORKS`` different ones."""
    different = list(dict.fromkeys(subjects))
    last = len(different) - 1
    if last < NETWORKS:
        return different
    return [different[round(place * last / (NETWORKS - 1))] for place in range(NETWORKS)]


def _name(subject: Subject) -> str:
    """Returns what a reading is of."""
    engine, shape = subject.engine, format_input(subject.input)
    others = [text for text in (engine.memory_format, engine.lowering) if text not in ("channels_last", "auto")]
    return ", ".join([subject.model, f"{subject.stem} stem", shape, f"batch {subject.batch_size}", *others])


def _machine() -> str:
    return f"{host_cpu()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _path() -> Path:
    return cache_root() / "bf16-speedups.json"


def _read() -> dict[str, Any]:
    """Returns what is kept, by machine; nothing where the file is missing or was damaged."""
    try:
        kept = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _keep(speedups: dict[str, float]) -> None:
    try:
        _path().parent.mkdir(parents=True, exist_ok=True)
        _path().write_text(json.dumps({**_read(), _machine(): speedups}, indent=2) + "\n", encoding="utf-8")
    except OSError:  # a cache that cannot be written is no reason to stop
        pass
