"""Trials on the nodes of a Ray cluster: one a GPU, or one a node's processor; the driver alone writes records.

| file | what it is |
|---|---|
| ``messages.py`` | what driver and cluster say to each other, and what a cluster must be able to do: plain data |
| ``driver.py``, ``crew.py``, ``attempts.py`` | which trial goes where, what runs again, one row a trial; no Ray |
| ``node_tests.py`` | a node's instruments before its first trial, one trial's speed again after the last |
| ``connection.py``, ``cluster.py``, ``joining.py`` | all that talks to Ray: a cluster found or started, nodes, tasks |
| ``keeper.py``, ``shipping.py`` | on a node: is it fit, does it hold the data and files, whose is its device |
| ``worker.py`` | on a node: one job in a process of its own, as on any machine, and its messages on their way |

A trial runs on a node exactly as it does under the local executor, in a fresh process with its limits and its log. Ray
starts nothing again by itself: the driver does, so that a row says it.
"""

from __future__ import annotations

from resbench.executors.ray_cluster.connection import open_cluster, require_ray
from resbench.executors.ray_cluster.driver import run_trials
from resbench.executors.ray_cluster.node_tests import run_job

__all__ = ["open_cluster", "require_ray", "run_job", "run_trials"]
