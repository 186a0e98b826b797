"""How many times as fast a processor trains a network in bf16 as in fp32."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from resbench.devices import open_device
from resbench.measure.profile import Subject
from resbench.measure.telemetry import SUSPECT, Telemetry
from resbench.recipes import get_recipe
from resbench.schema import EngineSettings

PAIRS = 3
"""Timed steps of each precision, in turn, behind one of each that warms up."""
SECONDS = 1.5
"""No further pair of a network is begun after this long, once one is timed."""


def measure_bf16_speedup(subject: Subject) -> tuple[float, list[str]]:
    """Times training steps in fp32 and in bf16, in turn, by the engine's own step in eager mode.

    Returns:
        The median over the pairs of fp32's time over bf16's, and what casts doubt on it: a busy machine, a low clock.

    Raises:
        Exception: Whatever the network raises.
    """
    device, settings = open_device("cpu"), replace(subject.engine, compile=False)
    contenders = [replace(settings, precision=precision) for precision in ("fp32", "bf16")]
    engine = replace(subject, engine=contenders[0]).engine_for(get_recipe("common"), device)
    engine.train_mode()

    def step_s(contender: EngineSettings) -> float:
        engine.settings = contender
        began = time.perf_counter()
        engine.train_step(*engine.slots[0])
        return time.perf_counter() - began

    for contender in contenders:
        step_s(contender)
    ratios: list[float] = []
    with Telemetry(device).window("precision") as window:
        began = time.perf_counter()
        while len(ratios) < PAIRS and (not ratios or time.perf_counter() - began < SECONDS):
            fp32, bf16 = map(step_s, contenders)
            ratios.append(fp32 / bf16)
    report = window.report()
    return statistics.median(ratios), report.reasons if report.verdict == SUSPECT else []


def speedup_job(subjects: Sequence[Subject], emit: Callable[[str, dict[str, Any]], None]) -> None:
    """Measures networks in this process, and emits ``speedup`` for each that runs.

    A job for :func:`resbench.executors.process.run_in_process`.
    """
    for place, subject in enumerate(subjects):
        emit("begin", {"model": subject.model})
        try:
            speedup, doubts = measure_bf16_speedup(subject)
        except Exception as error:  # a user's network fails in any way; its trial will say how
            print(f"{subject.model}: {error!r}")  # goes to the process's log
            continue
        emit("speedup", {"place": place, "speedup": speedup, "doubts": doubts})
