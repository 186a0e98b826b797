"""The machine around a device: how many threads of its processor this process may use, and who else uses them.

torch is not needed here.
"""

from __future__ import annotations

import functools
import math
import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_HWMON = Path("/sys/class/hwmon")
_PROCESSOR_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
MIN_LOAD_WINDOW_S = 0.5
"""Over less, load is not told: the system counts time in ticks of 10 ms a processor thread."""


@dataclass(frozen=True)
class HostTimes:
    """Running totals of processor time, of which a difference says how busy the machine was."""

    at_s: float
    busy_s: float
    """Of everything that ran on the counted threads, the machine's other tenants too (steal)."""
    own_s: float
    """Of this run's own processes (:func:`own_processes`) and of those that they have waited for."""
    threads: int
    """How many processor threads were counted: those that this process may be put on."""


def usable_threads() -> float:
    """Returns how many processor threads' worth of time this process may use: its affinity and its cgroup's quota.

    The machine may have many more, and so may what psutil and torch count.
    """
    cpus = affinity()
    count = psutil.cpu_count() or 1 if cpus is None else len(cpus)
    return min(float(count), _quota())


def affinity() -> frozenset[int] | None:
    """Returns the processor threads that this process may be put on, ``None`` where the system does not tell."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _quota() -> float:
    """Returns the least quota, in processor threads, of the cgroups that hold this process; none is infinity."""
    quotas = [math.inf]
    for folder in _cgroup_folders():
        for quota, period in (("cpu.max", None), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):  # version 2, version 1
            try:
                words = (folder / quota).read_text().split()
                words += (folder / period).read_text().split() if period else []
                if float(words[0]) > 0:  # -1: none
                    quotas.append(float(words[0]) / float(words[1]))
            except (OSError, ValueError, IndexError, ZeroDivisionError):  # "max" is none too
                continue
    return min(quotas)


def _cgroup_folders() -> Iterator[Path]:
    """Yields the folders of this process's cgroups and of all above them, as far as they can be seen from here."""
    try:
        lines = _MEMBERSHIP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CGROUPS / controllers  # version 2 names none: there is one tree
        below = root / path.lstrip("/")
        yield from (below, *(folder for folder in below.parents if folder.is_relative_to(root)))


def run_root() -> int:
    """Returns the id of the process that all of this run's processes come from.

    A process that multiprocessing has started belongs to its parent's run, and so do its siblings: the other trials.
    """
    parent = multiprocessing.parent_process()
    return os.getpid() if parent is None or parent.pid is None else parent.pid


def own_processes() -> list[psutil.Process]:
    """Returns this run's processes, whatever they have started included."""
    try:
        root = psutil.Process(run_root())
        return [root, *root.children(recursive=True)]
    except psutil.Error:  # the parent is gone
        return [psutil.Process()]


def is_own(pid: int) -> bool:
    """Says whether a process is one of this run; one that cannot be seen is not."""
    root = run_root()
    try:
        return pid in {root, os.getpid()} or root in {parent.pid for parent in psutil.Process(pid).parents()}
    except psutil.Error:
        return False


def host_times() -> HostTimes:
    """Reads the totals: some milliseconds of work where there are thousands of processes."""
    cpus = affinity()
    times = psutil.cpu_times(percpu=True)
    if cpus is not None and max(cpus) < len(times):  # else they are not counted as they are numbered
        times = [times[cpu] for cpu in sorted(cpus)]
    own = 0.0
    for process in own_processes():
        try:
            spent = process.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        own += spent.user + spent.system + spent.children_user + spent.children_system
    return HostTimes(time.perf_counter(), sum(map(_busy_s, times)), own, len(times))


def _busy_s(times: object) -> float:
    """Returns what a processor thread was not idle; time of guests is in ``user`` already."""
    fields = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(getattr(times, name, 0.0) for name in fields)


def other_load(start: HostTimes, end: HostTimes) -> float | None:
    """Returns the mean number of processor threads that were kept busy by others than this run.

    Returns:
        0 at least, since both clocks tick; ``None`` over less than ``MIN_LOAD_WINDOW_S``.
    """
    seconds = end.at_s - start.at_s
    if seconds < MIN_LOAD_WINDOW_S:
        return None
    return max(0.0, (end.busy_s - start.busy_s) - (end.own_s - start.own_s)) / seconds


def clock_mhz(threads: int) -> tuple[float | None, float | None]:
    """Returns the mean clock of the fastest ``threads`` processor threads, and the highest that they can reach.

    Idle ones are slow and say nothing of those that work. Either is ``None`` where the system does not tell.
    """
    try:
        clocks = psutil.cpu_freq(percpu=True)
    except (AttributeError, NotImplementedError, OSError, RuntimeError):
        return None, None
    fastest = sorted((clock.current for clock in clocks if clock.current), reverse=True)[: max(1, threads)]
    highest = max((clock.max for clock in clocks), default=0.0)
    return (sum(fastest) / len(fastest) if fastest else None), (highest or None)


def temperature_c() -> float | None:
    """Returns the processor's temperature where the kernel has a sensor of it."""
    path = _temperature_file()
    try:
        return int(path.read_text()) / 1000 if path else None
    except (OSError, ValueError):
        return None


@functools.cache
def _temperature_file() -> Path | None:
    """Finds the sensor of the whole processor: reading all that a machine has takes milliseconds each time."""
    try:
        for folder in sorted(_HWMON.iterdir()):
            if (folder / "name").read_text().strip() in _PROCESSOR_SENSORS and (folder / "temp1_input").exists():
                return folder / "temp1_input"
    except OSError:
        pass
    return None
