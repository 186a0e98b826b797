from __future__ import annotations

import math
import multiprocessing
import os
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from resbench.devices import host
from resbench.devices.host import HostTimes


def test_a_process_may_use_what_its_affinity_and_its_quota_leave(monkeypatch, tmp_path):
    monkeypatch.setattr(host, "affinity", lambda: frozenset(range(6)))
    monkeypatch.setattr(host, "_quota", lambda: 2.5)
    assert host.usable_threads() == 2.5
    monkeypatch.setattr(host, "_quota", lambda: math.inf)
    assert host.usable_threads() == 6
    monkeypatch.setattr(host, "affinity", lambda: None)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 10)
    assert host.usable_threads() == 10


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/run/it", {"run/cpu.max": "200000 100000", "run/it/cpu.max": "400000 100000"}, 2.0),
        ("0::/hidden/here", {"cpu.max": "300000 100000"}, 3.0),
        ("4:memory:/\n3:cpu,cpuacct:/", {"cpu,cpuacct/cpu.cfs_quota_us": "50000"}, 0.5),
        ("4:memory:/\n3:cpu,cpuacct:/", {"cpu,cpuacct/cpu.cfs_quota_us": "-1"}, math.inf),
        ("4:memory:/", {"memory/cpu.cfs_quota_us": "50000"}, math.inf),
        ("0::/", {}, math.inf),
    ],
)
def test_the_least_quota_of_a_process_cgroups_counts(monkeypatch, tmp_path, membership, files, quota):
    (tmp_path / "self").write_text(membership)
    tree = tmp_path / "cgroup"
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
        (tree / name).with_name("cpu.cfs_period_us").write_text("100000")
    monkeypatch.setattr(host, "_CGROUPS", tree)
    monkeypatch.setattr(host, "_MEMBERSHIP", tmp_path / "self")
    assert host._quota() == quota


def test_there_is_no_quota_where_there_are_no_cgroups(monkeypatch, tmp_path):
    monkeypatch.setattr(host, "_MEMBERSHIP", tmp_path / "nothing")
    assert host._quota() == math.inf


@pytest.mark.parametrize(
    ("start", "end", "load"),
    [
        (HostTimes(0, 100, 50, 4), HostTimes(10, 135, 60, 4), 2.5),
        (HostTimes(0, 100, 50, 4), HostTimes(10, 110, 61, 4), 0.0),  # the clocks tick
        (HostTimes(0, 100, 50, 4), HostTimes(0.3, 110, 61, 4), None),  # too short
    ],
)
def test_others_have_what_was_busy_and_not_this_run(start, end, load):
    assert host.other_load(start, end) == load


@pytest.mark.parametrize(
    ("cpus", "busy", "threads"),
    [({0, 2}, 88.0, 2), (None, 132.0, 3), ({0, 9}, 132.0, 3)],  # numbered in another way than they are counted
)
def test_busy_is_what_the_threads_were_that_this_process_may_be_put_on(monkeypatch, cpus, busy, threads):
    times = SimpleNamespace(user=30, nice=1, system=5, idle=900, iowait=50, irq=1, softirq=2, steal=5, guest=7)
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: [times] * 3)
    monkeypatch.setattr(host, "affinity", lambda: cpus)
    monkeypatch.setattr(host, "own_processes", list)
    read = host.host_times()
    assert (read.busy_s, read.threads, read.own_s) == (busy, threads, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what children used that have ended")
def test_a_child_that_has_ended_counts_as_own():
    before = host.host_times()
    work = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-c", work], check=True)
    assert host.host_times().own_s - before.own_s > 0.15


def test_own_are_what_this_process_starts_and_what_its_run_does(monkeypatch):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        try:
            assert host.is_own(os.getpid())
            assert host.is_own(child.pid)
            assert child.pid in {process.pid for process in host.own_processes()}
            assert not host.is_own(os.getppid())
            # As in a process that multiprocessing has started: its parent and its siblings are of the same run.
            monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(pid=os.getppid()))
            assert host.is_own(os.getppid())
            assert host.is_own(child.pid)
        finally:
            child.communicate(b"\n")
    assert not host.is_own(child.pid)


def test_this_process_is_own_where_its_parent_is_gone(monkeypatch):
    monkeypatch.setattr(host, "run_root", lambda: 4_190_000)
    assert [process.pid for process in host.own_processes()] == [os.getpid()]
    assert host.is_own(os.getpid())


def test_the_clock_is_that_of_the_threads_that_work(monkeypatch):
    clocks = [SimpleNamespace(current=current, max=3800.0) for current in (800.0, 3000.0, 0.0, 3400.0)]
    monkeypatch.setattr(psutil, "cpu_freq", lambda percpu: clocks)
    assert host.clock_mhz(2) == (3200.0, 3800.0)
    assert host.clock_mhz(100) == (2400.0, 3800.0)


@pytest.mark.parametrize("error", [NotImplementedError, FileNotFoundError, RuntimeError])
def test_a_clock_that_is_not_told_is_none(monkeypatch, error):
    def fail(percpu: bool) -> None:
        raise error

    monkeypatch.setattr(psutil, "cpu_freq", fail)
    assert host.clock_mhz(2) == (None, None)
    monkeypatch.setattr(psutil, "cpu_freq", lambda percpu: [])
    assert host.clock_mhz(2) == (None, None)
    monkeypatch.setattr(psutil, "cpu_freq", lambda percpu: [SimpleNamespace(current=2600.0, max=0.0)])
    assert host.clock_mhz(2) == (2600.0, None)


def test_the_temperature_is_that_of_the_processor(monkeypatch, tmp_path):
    for folder, name, value in (("hwmon0", "nvme", "31000"), ("hwmon1", "k10temp", "63250")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "name").write_text(f"{name}\n")
        (tmp_path / folder / "temp1_input").write_text(f"{value}\n")
    monkeypatch.setattr(host, "_HWMON", tmp_path)
    host._temperature_file.cache_clear()
    assert host.temperature_c() == 63.25
    (tmp_path / "hwmon1" / "temp1_input").unlink()
    assert host.temperature_c() is None
    monkeypatch.setattr(host, "_HWMON", tmp_path / "nothing")
    host._temperature_file.cache_clear()
    assert host.temperature_c() is None
    host._temperature_file.cache_clear()
