"""A driver in this process, on a cluster that a benchmark starts here for trials that compute nothing."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from benchmarks.faults.loopback import loopback
from benchmarks.harness.fake_trials import fake_trials
from benchmarks.harness.growth import draw_images
from resbench.conduct import Conduct
from resbench.executors.ray_cluster import open_cluster
from resbench.inputs import Inputs

if TYPE_CHECKING:
    from resbench.executors.ray_cluster.cluster import RayCluster


@dataclass(frozen=True)
class Driving:
    """A cluster that this process drives."""

    cluster: RayCluster
    conduct: Conduct
    folder: Path


@contextlib.contextmanager
def driving(*cpus: int) -> Iterator[Driving]:
    """Starts a cluster and connects to it; once a process, for Ray reads what lets a driver in only once.

    Args:
        cpus: Of each node: so many trials it runs at once.
    """
    token = secrets.token_hex(32)
    with (
        tempfile.TemporaryDirectory(prefix="resbench-", ignore_cleanup_errors=True) as scratch,
        mock.patch.dict(os.environ, {"RESBENCH_CACHE": str(Path(scratch) / "driver")}),
        loopback(Path(scratch) / "nodes", *cpus, token=token) as nodes,
        mock.patch.dict(os.environ, nodes.key),
    ):
        from resbench.executors.ray_cluster.joining import needs_of  # Ray is imported only now

        inputs = Inputs(f"folder:{draw_images(Path(scratch) / 'images')}")
        (trial,) = fake_trials(1, inputs.load().fingerprint)
        conduct = Conduct(calibrate=False, executor="ray", ray_address=nodes.address, cpus_per_trial=1)
        with open_cluster(conduct, needs_of([trial], inputs, "harness")) as cluster:
            yield Driving(cluster, conduct, Path(scratch))
