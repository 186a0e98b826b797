"""An estimate in words: figures as rough as they are, and what they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.table import Table
from rich.text import Text

from resbench.estimate.cells import Cell
from resbench.estimate.estimate import Estimate
from resbench.planning.plan import Plan
from resbench.report.numbers import MISSING, count, duration, names, significant

_ROUNDED_TO_S = ((60, 1), (600, 10), (3600, 60), (36_000, 300), (float("inf"), 1800))
"""Below how many seconds a time is rounded to how many: two digits, about."""
_BASIS = {"measured": "measured", "scaled": "scaled", "out of memory": "does not fit", "failed": "not known"}


def rough_time(seconds: float | None) -> str:
    """Writes a time with about two digits: ``0.84 s``, ``51 s``, ``3 min 10 s``, ``1 h 05 min``."""
    if seconds is None:
        return MISSING
    if seconds < 59.5:
        return f"{significant(seconds, 2) if seconds >= 0.095 else f'{seconds:.2f}'} s"
    step = next(step for limit, step in _ROUNDED_TO_S if seconds < limit)
    return duration(round(seconds / step) * step).removesuffix(" 00 s").removesuffix(" 00 min")


def rough_memory(mib: float | None) -> str:
    """Writes an amount of memory with two digits: ``620 MiB``, ``1.2 GiB``."""
    if mib is None:
        return MISSING
    return f"{significant(mib, 2)} MiB" if mib < 1000 else f"{significant(mib / 1024, 2)} GiB"


def estimate_table(estimate: Estimate) -> Table:
    """Returns a row a cell: trials, step, training, the whole trial, memory, and what that rests on."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    columns: list[tuple[str, Literal["left", "right"]]] = [
        ("estimate", "left"),
        *((heading, "right") for heading in ("trials", "step", "training", "a trial", "memory")),
        ("", "left"),
    ]
    for heading, justify in columns:
        table.add_column(heading, justify=justify, no_wrap=heading != "estimate", overflow="fold", header_style="dim")
    for cell in estimate.cells:
        table.add_row(
            Text(cell.name),
            str(len(cell.trials)),
            MISSING if cell.step_s is None else f"{significant(1000 * cell.step_s, 2)} ms",
            rough_time(cell.train_s),
            rough_time(cell.wall_s),
            rough_memory(cell.peak_mib),
            f"{cell.recorded} recorded" if cell.basis == "recorded" else _BASIS[cell.basis],
        )
    return table


def estimate_lines(estimate: Estimate, plan: Plan) -> dict[str, str]:
    """Returns totals and what they rest on, as names and values."""
    return {
        "time": _time(estimate),
        "memory": _memory(estimate),
        "disk": _disk(estimate),
        "basis": _basis(estimate, plan),
    }


def _time(estimate: Estimate) -> str:
    """Says how long all of it takes."""
    known = [cell for cell in estimate.cells if cell.wall_s is not None]
    unknown = [cell.name for cell in estimate.cells if cell.wall_s is None]
    if not known:
        return "not known"
    parts = [f"about {rough_time(estimate.total_s)} for {count(sum(len(cell.trials) for cell in known), 'trial')}"]
    if estimate.calibration_s:
        parts.append(f"{rough_time(estimate.calibration_s)} of it for the ruler and the noise floor")
    if unknown:
        parts.append(f"without {names(unknown)}")
    if estimate.together > 1:
        parts.append("seeds one after another: side by side they may take less")
    return ", ".join(parts)


def _memory(estimate: Estimate) -> str:
    """Says what the largest cell takes, beside what there is."""
    known = [(need, cell.name) for cell in estimate.cells if (need := need_mib(cell, estimate)) is not None]
    if not known:
        return "not known"
    need, name = max(known)
    room = "" if estimate.room_mib is None else f" of {rough_memory(estimate.room_mib)} available"
    return f"about {rough_memory(need)}{room}: {name}, with the dataset's images"


def need_mib(cell: Cell, estimate: Estimate) -> float | None:
    """Returns what the trials of a cell that run together take of a device, or of the host that all ranks are on."""
    engine = cell.trials[0].engine
    ranks = engine.devices if engine.device == "cpu" else 1
    return None if cell.need_mib is None else cell.need_mib * ranks * min(estimate.together, len(cell.trials))


def _disk(estimate: Estimate) -> str:
    """Says what is written, beside what is free."""
    disk = estimate.disk
    parts = f"results {rough_memory(disk.results)}"
    if disk.checkpoints:
        parts += f", checkpoints {rough_memory(disk.checkpoints)} as long as a trial trains"
    return f"about {rough_memory(disk.needed)} of {rough_memory(disk.free)} free: {parts}"


def _basis(estimate: Estimate, plan: Plan) -> str:
    """Says what the figures rest on."""
    bases = {cell.basis for cell in estimate.cells}
    sentences = []
    if bases - {"recorded"}:
        sentences.append("a few training steps of each network on random images; shared machines vary")
    if "recorded" in bases:
        sentences.append("what trials of the same network took that ended here")
    if "scaled" in bases:
        sentences.append("scaled: not measured, for lack of time, but by its FLOPs beside those that were")
    engine = plan.trials[0].engine
    if bases & {"measured", "scaled"} and (engine.compile or engine.cuda_graph):
        without = " and ".join(
            words for words, asked in (("torch.compile", engine.compile), ("CUDA graphs", engine.cuda_graph)) if asked
        )
        sentences.append(
            f"measured without {without}: training takes at most that long"
            + (", and compiling comes on top" if engine.compile else "")
        )
    if bases & {"measured", "scaled"} and engine.devices > 1:
        sentences.append(
            f"measured on one device with its share of a batch: what {engine.devices} take to exchange gradients comes "
            "on top"
        )
    if any(cell.features_once for cell in estimate.cells):
        sentences.append("features of a frozen backbone are computed once: the step is one on features that are there")
    if estimate.resumed:
        sentences.append(f"{count(estimate.resumed, 'trial')} that will go on from a checkpoint counted whole")
    return ". ".join(
        sentence[:1].upper() + sentence[1:] if number else sentence for number, sentence in enumerate(sentences)
    )


def estimate_warnings(estimate: Estimate, plan: Plan) -> list[str]:
    """Returns what is not going to fit or to end well, and what could not be estimated."""
    told = [_of_memory(cell, estimate, plan) for cell in estimate.cells]
    disturbed = [cell for cell in estimate.cells if cell.doubts]
    if disturbed:
        told.append(
            f"while {names([cell.name for cell in disturbed])} {'was' if len(disturbed) == 1 else 'were'} measured, "
            f"{disturbed[0].doubts[0]}: the times may be far too long."
        )
    told += [f"{cell.name} could not be estimated: {cell.reason}" for cell in estimate.cells if cell.basis == "failed"]
    limit = plan.conduct.trial_timeout_s
    told += [
        f"{cell.name} takes about {rough_time(cell.wall_s)} and is ended after {rough_time(limit)} (--trial-timeout)."
        for cell in estimate.cells
        if limit is not None and cell.wall_s is not None and cell.wall_s + cell.start_s > limit
    ]
    disk = estimate.disk
    if disk.needed > disk.free:
        told.append(
            f"about {rough_memory(disk.needed)} are going to be written and {rough_memory(disk.free)} are free: make "
            "room, or give another folder with --out."
        )
    return [text for text in told if text is not None]


def _of_memory(cell: Cell, estimate: Estimate, plan: Plan) -> str | None:
    """Says that a cell does not fit into memory, and what to do; None where it does, or nobody knows."""
    need, room = need_mib(cell, estimate), estimate.room_mib
    if cell.basis == "out of memory":
        what = f"{cell.name} does not fit into memory in batches of {cell.trials[0].batch_size} ({cell.reason})"
    elif need is not None and room is not None and need > room:
        together = min(estimate.together, len(cell.trials))
        what = f"{cell.name} needs about {rough_memory(need)}" + (
            f" for {together} seeds at once" if together > 1 else ""
        )
        what += f" and there are {rough_memory(room)}"
    else:
        return None
    if plan.conduct.accumulate:
        return f"{what}: it is going to be run again in halves of its batch."
    return f"{what}: its trials are going to fail. Give a smaller --batch-size, or --oom accumulate."


def in_all(of_suites: Sequence[Estimate | None]) -> str:
    """Says what several suites cost together, one after another; None stands for one that was not estimated."""
    estimates = [estimate for estimate in of_suites if estimate is not None]
    trials = sum(len(cell.trials) for estimate in estimates for cell in estimate.cells)
    seconds = sum(estimate.total_s for estimate in estimates)
    missing = {
        "suite": len(of_suites) - len(estimates),
        "trial": sum(len(cell.trials) for estimate in estimates for cell in estimate.cells if cell.wall_s is None),
    }
    disk = sum(estimate.disk.results for estimate in estimates)
    disk += max((estimate.disk.checkpoints for estimate in estimates), default=0.0)
    without = " and ".join(count(number, noun) for noun, number in missing.items() if number)
    estimated = count(trials - missing["trial"], "trial")
    return f"about {rough_time(seconds)} for {estimated}, about {rough_memory(disk)} of disk" + (
        f"; without {without} that could not be estimated" if without else ""
    )
