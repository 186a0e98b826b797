"""A Ray cluster of several nodes on this machine, each with a cache of its own as another machine would have."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
STORE_BYTES = 100_000_000
PATIENCE_S = 90.0


@dataclass
class LoopbackNode:
    """One node: every process of it is below one that this started."""

    process: subprocess.Popen[bytes]
    said: Path

    def kill(self) -> int:
        """Ends all of it at once, as a power cut does; returns how many processes that were."""
        found = self._processes()
        for one in found:
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(found, timeout=30)
        self.process.wait(timeout=30)
        return len(found)

    def workers(self) -> list[psutil.Process]:
        """Returns Ray's workers that run a trial now."""
        return [one for one in self._processes() if re.match(r"ray::run_work", _title(one))]

    def trials(self) -> list[psutil.Process]:
        """Returns the trials' own processes."""
        return [one for one in self._processes() if "spawn_main" in _title(one)]

    def _processes(self) -> list[psutil.Process]:
        try:
            top = psutil.Process(self.process.pid)
            return [*top.children(recursive=True), top]
        except psutil.Error:
            return []


@dataclass
class Loopback:
    """The cluster; nodes can be added at any time.

    Args:
        folder: For caches; the head's and the others' are apart.
        threads: Of torch in each trial.
    """

    folder: Path
    threads: int = 1
    token: str = field(default="", repr=False)
    """Without it nobody gets in: Ray runs whatever it is sent."""
    nodes: list[LoopbackNode] = field(default_factory=list)
    port: int = 0
    scratch: Path = Path()

    @property
    def address(self) -> str:
        """What drivers give as ``--ray-address``."""
        return f"{HOST}:{self.port}"

    @property
    def key(self) -> dict[str, str]:
        """What a driver, or another node, needs in its environment to get in."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    def start_node(self, cpus: int = 1, *, gpus: int = 0) -> LoopbackNode:
        """Starts a node with Ray's own command, and waits until it is part of the cluster; the first is the head.

        Args:
            cpus: That it offers.
            gpus: Likewise; nobody looks whether they are there.

        Raises:
            TimeoutError: It does not come up.
        """
        number = len(self.nodes)
        if not self.nodes:
            with socket.socket() as free:
                free.bind((HOST, 0))
                self.port = free.getsockname()[1]
        where = ["--head", f"--port={self.port}", "--include-dashboard=false"]
        command = [
            *(str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats"),
            *(where if not self.nodes else [f"--address={self.address}"]),
            *(f"--node-ip-address={HOST}", f"--num-cpus={cpus}", f"--num-gpus={gpus}"),
            *(f"--object-store-memory={STORE_BYTES}", f"--temp-dir={self.scratch}"),
        ]
        environment = {
            **os.environ,
            **self.key,
            "RESBENCH_CACHE": str(self.folder / f"node{number}"),
            "OMP_NUM_THREADS": str(self.threads),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "RAY_worker_niceness": "0",
        }
        environment.pop("RAY_ADDRESS", None)
        said = self.folder / f"node{number}.txt"
        with said.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
        node = LoopbackNode(process, said)
        self.nodes.append(node)
        until = time.monotonic() + PATIENCE_S
        while b"Ray runtime started" not in said.read_bytes():
            if time.monotonic() > until or process.poll() is not None:
                node.kill()
                raise TimeoutError(f"a Ray node did not start:\n{said.read_text(errors='replace')}")
            time.sleep(0.1)
        return node

    def stop(self) -> None:
        """Ends every node, the head last."""
        for node in reversed(self.nodes):
            node.kill()


@contextlib.contextmanager
def loopback(folder: Path, *nodes: int, threads: int = 1, token: str = "") -> Iterator[Loopback]:
    """Starts a cluster and ends it, whatever happens.

    Args:
        folder: Gets the nodes' caches and what they print.
        nodes: Processors of each node.
        threads: Of torch in each trial.
        token: What lets a driver in; made up where none is given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A short path: it holds sockets, whose paths have at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="rb-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        cluster = Loopback(folder, threads, token or secrets.token_hex(32), scratch=Path(scratch))
        try:
            for cpus in nodes:
                cluster.start_node(cpus)
            yield cluster
        finally:
            cluster.stop()


def _title(process: psutil.Process) -> str:
    """Returns what a process calls itself."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
