from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resbench.locks import LockedError, device_lock, device_locks, folder_lock, host_name

HOLD = """
import sys, time
from pathlib import Path
from resbench.locks import device_lock, folder_lock
with {lock}:
    print("held", flush=True)
    time.sleep(600)
"""


def holder(lock: str) -> subprocess.Popen[str]:
    """Starts a process that holds a lock, and waits until it does."""
    process = subprocess.Popen([sys.executable, "-c", HOLD.format(lock=lock)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_folder_is_refused_with_who_holds_it_and_free_when_that_one_is_dead(tmp_path: Path) -> None:
    with holder(f"folder_lock(Path({str(tmp_path)!r}))") as process:
        said = rf"is in use by process {process.pid}, started 20\d\d-\d\d-\d\dT"
        with pytest.raises(LockedError, match=said), folder_lock(tmp_path):
            pass
        process.kill()
    with folder_lock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    with folder_lock(tmp_path):  # what the file says means nothing without the lock
        assert True


def test_a_holder_that_has_not_signed_yet_is_another_process(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="in use by another process"), folder_lock(tmp_path):
            pass


def test_a_device_is_waited_for_and_who_holds_it_is_said(own_cache: Path) -> None:
    told: list[str] = []
    with holder("device_lock('cuda:3')") as process:
        ended = threading.Timer(0.2, process.kill)

        def wait_for_it(text: str) -> None:
            told.append(text)
            ended.start()

        with device_lock("cuda:3", on_wait=wait_for_it):
            assert process.wait() < 0  # it was ended before this one had the device
    (said,) = told
    assert f"waiting for the device cuda:3, which is in use by process {process.pid}, started" in said


def test_devices_do_not_wait_for_each_other(own_cache: Path) -> None:
    told: list[str] = []
    first, second, third = (device_lock(device, on_wait=told.append) for device in ("cuda:0", "cuda:1", "cpu"))
    with first, second, third:
        assert told == []


@pytest.mark.parametrize(
    ("device", "devices", "held"),
    [("cuda", 3, {"cuda-0", "cuda-1", "cuda-2"}), ("cuda:2", 1, {"cuda-2"}), ("cpu", 2, {"cpu"})],
)
def test_a_trial_on_several_devices_holds_all_of_them(
    device: str, devices: int, held: set[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RESBENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with device_locks(device, devices):
        folder = tmp_path / "locks" / host_name()
        found = {path.stem for path in folder.iterdir()}
        assert found == held
        for name in found:
            with (folder / f"{name}.lock").open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_several_devices_are_taken_in_one_order_however_a_process_numbers_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RESBENCH_CACHE", str(tmp_path))
    taken: list[str] = []

    @contextlib.contextmanager
    def take(name: str, **_: Any) -> Iterator[None]:
        taken.append(name)
        yield

    monkeypatch.setattr("resbench.locks.device_lock", take)
    for visible in ("1,3", "3,1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with device_locks("cuda", 2):
            pass
    assert taken == ["cuda:0", "cuda:1", "cuda:1", "cuda:0"]  # the first process' 0 is the second one's 1


@pytest.mark.parametrize(
    ("visible", "device", "name"),
    [
        (None, "cpu", "cpu"),
        (None, "cuda", "cuda-0"),
        (None, "cuda:2", "cuda-2"),
        ("3,1", "cuda:1", "cuda-1"),
        ("3,1", "cuda", "cuda-3"),
        ("GPU-1/../x", "cuda", "cuda-GPU-1____x"),
    ],
)
def test_a_device_has_one_name_whatever_a_process_sees_of_the_machine(
    visible: str | None, device: str, name: str, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with device_lock(device):
        assert (own_cache / "locks" / host_name() / f"{name}.lock").is_file()
