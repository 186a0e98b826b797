"""The faults: each is done to one run, and says what it did and what it found wrong."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.faults.runs import Run, Workplace
from resbench.store import load_results

Inject = Callable[["Scene"], None]


@dataclass
class Scene:
    """One fault on its way."""

    place: Workplace
    out: Path
    clean_s: float
    """How long an undisturbed run takes."""
    random: random.Random
    happened: str = ""
    """What was done, and when."""
    wrong: list[str] = field(default_factory=list)
    """What should not have been."""

    def expect(self, holds: bool, otherwise: str) -> None:
        """Notes what is wrong, unless it is right."""
        if not holds:
            self.wrong.append(otherwise)

    def wait_a_while(self, run: Run) -> float:
        """Lets a run go on for a random part of its time; returns the seconds."""
        moment = self.random.uniform(0.0, self.clean_s)
        run.wait_for(lambda: time.monotonic() - run.started >= moment)
        return moment


def kill_parent(scene: Scene) -> None:
    """SIGKILL to the run itself: no handler runs, nothing is tidied up."""
    run = scene.place.start(scene.out)
    moment = scene.wait_a_while(run)
    below = run.children()
    died = run.alive
    run.process.kill()
    run.wait()
    gone, alive = psutil.wait_procs(below, timeout=30)
    scene.expect(not alive, f"{len(alive)} processes outlived their parent")
    scene.happened = f"at {moment:.1f} s, {len(gone)} trial process" if died else "it had ended before"


def kill_child(scene: Scene) -> None:
    """SIGKILL to the process of a trial, as the kernel does where memory runs out."""
    run = scene.place.start(scene.out)
    moment = scene.wait_a_while(run)
    run.wait_for(lambda: bool(run.children()))
    killed = 0
    for child in run.children():
        with contextlib.suppress(psutil.Error):
            child.kill()
            killed += 1
    code = run.wait()
    scene.happened = f"at {moment:.1f} s" if killed else "it had ended before"
    # One that dies when it has said all is a trial that ended well.
    statuses = set(load_results(scene.out).trials["status"]) if (scene.out / "trials.csv").is_file() else set()
    scene.expect(code in (0, 3), f"exit code {code}")
    scene.expect(statuses <= {"ok", "crashed"}, f"statuses {statuses}")
    scene.expect((code == 3) == ("crashed" in statuses), f"exit code {code} with statuses {statuses}")


def signalled(number: signal.Signals) -> Inject:
    """Returns the fault of a request to end."""

    def inject(scene: Scene) -> None:
        run = scene.place.start(scene.out)
        moment = scene.wait_a_while(run)
        run.wait_for(lambda: run.has_event("start"))  # before that there is nothing to interrupt
        below, asked = run.children(), run.alive
        if asked:
            run.process.send_signal(number)
        code = run.wait()
        _, alive = psutil.wait_procs(below, timeout=30)
        scene.happened = f"at {moment:.1f} s" if asked else "it had ended before"
        scene.expect(not alive, f"{len(alive)} processes were left behind")
        # One that comes while the report is written, after the last trial, ends that as it ends any process.
        late = code == -number and set(load_results(scene.out).trials["status"]) == {"ok"}
        scene.expect(code in (130, 0) or late, f"exit code {code}")
        scene.expect("Traceback" not in run.said(), "a traceback instead of a message")
        scene.expect((scene.out / "trials.csv").is_file(), "no tables")

    return inject


def broken(fault: str, status: str, *flags: str) -> Inject:
    """Returns the fault of a network that breaks in its training step."""

    def inject(scene: Scene) -> None:
        run = scene.place.start(scene.out, *flags, fault=fault)
        code = run.wait()
        row = load_results(scene.out).trials.iloc[0]
        scene.happened = f"{row['status']} in {row['phase']}: {row['error']}"
        scene.expect(code == 3, f"exit code {code}")
        scene.expect(row["status"] == status, f"status {row['status']}, expected {status}")
        scene.expect(row["phase"] == "train", f"phase {row['phase']}")
        scene.expect((scene.out / "logs" / f"{row['trial_id']}.log").stat().st_size > 0, "an empty log")
        others = set(load_results(scene.out).trials["status"][1:])
        scene.expect(others <= {"ok"}, f"the other trials: {others}")

    return inject


@contextlib.contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[bool]:
    """Mounts a disk of a few MiB; says whether that is allowed here."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
    mounted = shutil.which("mount") is not None and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def full_disk(scene: Scene) -> None:
    """The disk fills up while a trial trains."""
    with small_disk(scene.out, mib=24) as mounted:
        inner = scene.out / "results" if mounted else scene.out
        # Where nothing can be mounted a limit to the size of a file stands in: writing fails the same way.
        run = scene.place.start(inner, limit_file_bytes=None if mounted else 12_000)
        ballast = scene.out / "ballast"
        if mounted:
            run.wait_for(lambda: run.has_event("epoch"))
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        code = run.wait()
        scene.happened = "a full tmpfs" if mounted else "a limit to the size of files: no disk may be mounted here"
        scene.expect(code in (2, 3), f"exit code {code}")
        scene.expect("cannot append to" in run.said(), f"no clear message: {run.said()[-300:]}")
        scene.expect("Traceback" not in run.said(), "a traceback instead of a message")
        scene.expect(len(load_results(inner).trials) > 0, "what was recorded before cannot be read")
        ballast.unlink(missing_ok=True)
        if mounted:
            shutil.copytree(inner, scene.place.scratch / "rescued")
    if mounted:
        shutil.rmtree(scene.out)
        shutil.move(scene.place.scratch / "rescued", scene.out)


def read_only_disk(scene: Scene) -> None:
    """The machine goes down while a trial trains, and comes back with its disk read-only."""
    with small_disk(scene.out, mib=64) as mounted:
        inner = scene.out / "results" if mounted else scene.out
        run = scene.place.start(inner)
        run.wait_for(lambda: run.has_event("epoch"))
        below = run.children()
        run.process.kill()
        run.wait()
        psutil.wait_procs(below, timeout=30)
        turned = mounted and _remount(scene.out, "ro")
        scene.happened = "refused" if turned else "no disk may be mounted here: killed only"
        if turned:
            again = scene.place.start(inner)
            scene.expect(again.wait() == 2, "a read-only folder was not refused")
            scene.expect("Read-only file system" in again.said(), f"no clear message: {again.said()[-300:]}")
            scene.expect("Traceback" not in again.said(), "a traceback instead of a message")
            scene.expect(len(load_results(inner).trials) > 0, "what was recorded before cannot be read")
            _remount(scene.out, "rw")
        if mounted:
            shutil.copytree(inner, scene.place.scratch / "rescued")
    if mounted:
        shutil.rmtree(scene.out)
        shutil.move(scene.place.scratch / "rescued", scene.out)


def _remount(folder: Path, how: str) -> bool:
    """Makes a mounted disk read-only (``ro``) or writable (``rw``); returns whether that worked."""
    command = ["mount", "-o", f"remount,{how}", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def removed_folder(scene: Scene) -> None:
    """Somebody removes the results folder while a trial trains."""
    run = scene.place.start(scene.out)
    run.wait_for(lambda: run.has_event("epoch"))
    aside = scene.place.scratch / "aside"
    scene.out.rename(aside)
    code = run.wait()
    scene.happened = "moved away after the first epoch"
    scene.expect(code == 3, f"exit code {code}")
    scene.expect("is gone: the results folder was moved or removed" in run.said(), "no clear message")
    scene.expect("Traceback" not in run.said(), "a traceback instead of a message")
    scene.expect(not scene.out.exists(), "a folder was made again in its place")
    aside.rename(scene.out)


def second_run(scene: Scene) -> None:
    """The same command is started again while it runs."""
    run = scene.place.start(scene.out)
    run.wait_for(lambda: run.has_event("start"))
    other = scene.place.start(scene.out)
    code, said = other.wait(), other.said()
    scene.happened = f"refused with exit code {code}"
    scene.expect(code == 2, f"exit code {code}")
    scene.expect(f"in use by process {run.process.pid}, started" in said, f"no clear message: {said[-300:]}")
    run.wait()


BROKEN: dict[str, Inject] = {
    "a trial that segfaults": broken("segfault", "crashed"),
    "a trial that hangs": broken("hang", "timeout", "--trial-timeout", "20s"),
    "a trial that allocates without end": broken("allocate", "oom", "--memory-limit", "2GiB"),
    "a full disk": full_disk,
    "a read-only disk": read_only_disk,
    "a removed folder": removed_folder,
    "a second run": second_run,
    "SIGINT": signalled(signal.SIGINT),
    "SIGTERM": signalled(signal.SIGTERM),
    "SIGHUP": signalled(signal.SIGHUP),
}
"""Every fault but the kills."""


def kills(number: int) -> list[tuple[str, Inject]]:
    """Returns kills at random moments, of parent and child in turn."""
    both = (("kill -9 of the run", kill_parent), ("kill -9 of a trial", kill_child))
    return [both[index % 2] for index in range(number)]
