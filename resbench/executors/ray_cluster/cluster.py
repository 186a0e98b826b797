"""The nodes of a Ray cluster and what runs on them, as the driver sees them."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from resbench.conduct import Conduct
from resbench.errors import ClusterError, ResbenchError, in_one_line
from resbench.executors.ray_cluster.joining import (
    Luggage,
    Needs,
    Step,
    UnfitError,
    Way,
    join,
    request_of,
    slots_of,
    why_not,
)
from resbench.executors.ray_cluster.keeper import Keeper
from resbench.executors.ray_cluster.messages import Begun, Ended, Event, Joined, Left, Lost, Node, Said, Told, Work
from resbench.executors.ray_cluster.worker import Batch, run_work

LOOK_FOR_NODES_S = 2.0
"""How often to ask which nodes there are."""
FETCH_S = 60.0
"""How long a message that is ready may take to arrive."""
HEAD_PATIENCE_S = 20.0
"""How long the head may be away; Ray ends this process where it is for a minute."""
BURIED_S = 60.0
"""How long a node that an attempt found dead is believed to be so, whatever the cluster has noticed."""
QUEUED_S = 30.0
"""After which it is said that an attempt waits for room that its node should have."""


NODE_DIED = (exceptions.NodeDiedError, exceptions.TaskUnschedulableError)


@dataclass
class _Stream:
    """An attempt's messages on their way."""

    generator: Any
    node: Node
    asked_at: float
    begun: bool = False
    told: bool = False


@dataclass
class _Way:
    """A node that is on its way."""

    name: str
    way: Way
    step: Step
    since: float


class RayCluster:
    """See :class:`~resbench.executors.ray_cluster.messages.Cluster`.

    Args:
        conduct: How many processors a trial gets.
        needs: What nodes must hold.
    """

    def __init__(self, conduct: Conduct, needs: Needs) -> None:
        self._conduct, self._needs, self._luggage = conduct, needs, Luggage(needs)
        self._streams: dict[int, _Stream] = {}
        self._ways: dict[str, _Way] = {}
        self._alive: dict[str, str] = {}
        self._buried: dict[str, float] = {}
        self._requests: dict[str, dict[str, float]] = {}
        self._keepers: dict[str, Any] = {}
        self._events: list[Event] = []
        self._looked_at = -LOOK_FOR_NODES_S
        self._head_silent_since: float | None = None
        self._run = ray.remote(num_returns="streaming", max_retries=0)(run_work)

    def begin(self, attempt: int, node: Node, work: Work) -> None:
        """Starts an attempt on a node."""
        there = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
        task = self._run.options(scheduling_strategy=there, **self._requests[node.node_id])
        self._streams[attempt] = _Stream(task.remote(work), node, time.monotonic())

    def end(self, attempt: int) -> None:
        """Ends an attempt, with its worker, and forgets it."""
        stream = self._streams.pop(attempt, None)
        if stream is not None:
            with contextlib.suppress(Exception):  # it may be over, or its node may be gone
                ray.cancel(stream.generator, force=True)

    def preparing(self) -> int:
        """Returns how many nodes are on their way."""
        return len(self._ways)

    def wait(self, timeout_s: float) -> list[Event]:
        """Returns what has happened.

        Raises:
            ClusterError: The cluster itself is gone.
        """
        try:
            self._look_for_nodes()
            if not self._events:
                self._listen(timeout_s)
        except (exceptions.RaySystemError, exceptions.LocalRayletDiedError, ConnectionError) as error:
            raise ClusterError(
                f"the connection to the Ray cluster is lost ({in_one_line(error)}). What has ended is recorded; the "
                "same command goes on from there."
            ) from error
        happened, self._events = self._events, []
        return happened

    def _listen(self, timeout_s: float) -> None:
        """Waits until a node or an attempt has something to say."""
        owners: dict[Any, Any] = {stream.generator: attempt for attempt, stream in self._streams.items()}
        owners |= {way.step.reference: node_id for node_id, way in self._ways.items()}
        if not owners:
            time.sleep(min(timeout_s, LOOK_FOR_NODES_S / 4))
            return
        ready, _ = ray.wait([*owners], num_returns=1, timeout=timeout_s, fetch_local=False)
        if ready and len(owners) > 1:
            ready, _ = ray.wait([*owners], num_returns=len(owners), timeout=0, fetch_local=False)
        for thing in ready:
            owner = owners[thing]
            if isinstance(owner, int) and owner in self._streams:  # one before it may have taken its node along
                self._hear(owner, self._streams[owner])
            elif owner in self._ways:
                self._advance(owner, self._ways[owner])
        self._look_after_waiting()

    def _hear(self, attempt: int, stream: _Stream) -> None:
        """Takes in the next that an attempt says."""
        try:
            batch: Batch = ray.get(next(stream.generator), timeout=FETCH_S)
        except StopIteration:
            self._lose(attempt, Lost(attempt, "its worker ended without a word"))
        except exceptions.OutOfMemoryError:
            self._lose(attempt, Lost(attempt, "Ray ended its worker", out_of_memory=True))
        except (exceptions.RayError, ResbenchError, OSError) as error:
            self.end(attempt)  # one that was only slow to answer would go on
            self._events.append(Lost(attempt, in_words(error)))
            if isinstance(error, NODE_DIED):
                self._bury(stream.node.node_id)
        else:
            if not stream.begun:
                stream.begun = True
                self._events.append(Begun(attempt))
            self._events.append(Said(attempt, batch.messages, batch.log))
            if batch.exit is not None:
                self._lose(attempt, Ended(attempt, batch.exit))

    def _lose(self, attempt: int, event: Lost | Ended) -> None:
        """Tells how an attempt is over and forgets it."""
        del self._streams[attempt]
        self._events.append(event)

    def _look_for_nodes(self) -> None:
        """Leads new nodes to work, and notices those that are gone."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_FOR_NODES_S:
            return
        self._looked_at = now
        if not self._head_answers(now):
            return
        self._buried = {node_id: at for node_id, at in self._buried.items() if now - at < BURIED_S}
        alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in self._buried}
        for node_id, node in alive.items():
            if node_id not in self._alive:
                self._alive[node_id] = name_of(node)
                self._lead(node_id, node["Resources"])
        for node_id in self._alive.keys() - alive.keys():
            self._bury(node_id)

    def _head_answers(self, now: float) -> bool:
        """Returns whether the head can be asked: Ray would wait for it, and after a minute end this process.

        Raises:
            ClusterError: It has not answered for a while.
        """
        host, _, port = str(ray.get_runtime_context().gcs_address).rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK_FOR_NODES_S):
                self._head_silent_since = None
                return True
        except OSError as error:
            if self._head_silent_since is None:
                self._head_silent_since = now
                self._events.append(Told(f"the cluster's head does not answer ({error.strerror or error})"))
            if now - self._head_silent_since > HEAD_PATIENCE_S:
                raise ConnectionError(f"its head has not answered for {HEAD_PATIENCE_S:.0f} s") from error
            return False

    def _bury(self, node_id: str) -> None:
        """Goes on without a node that died, and without what ran there: the cluster itself may notice it later."""
        name = self._alive.pop(node_id, None)
        if name is None:
            return
        self._buried[node_id] = time.monotonic()
        self._ways.pop(node_id, None)
        self._keepers.pop(node_id, None)
        for attempt, stream in [*self._streams.items()]:
            if stream.node.node_id == node_id:
                self.end(attempt)
                self._events.append(Lost(attempt, "its node died"))
        self._events.append(Left(name, "it died, or the network to it", node_id, died=True))

    def _lead(self, node_id: str, resources: dict[str, float]) -> None:
        """Starts a node's way, where it has what a trial needs."""
        conduct, engine = self._conduct, self._needs.engine
        reason = why_not(resources, self._needs, conduct)
        if reason is not None:
            self._refuse(node_id, reason)
            return
        slots = slots_of(resources, engine, conduct)
        self._requests[node_id] = request_of(resources, engine, conduct)
        there = NodeAffinitySchedulingStrategy(node_id, soft=False)
        keeper = ray.remote(num_cpus=0)(Keeper).options(scheduling_strategy=there).remote()
        self._keepers[node_id] = keeper  # it lives as long as this refers to it
        way = join(node_id, self._alive[node_id], slots, keeper, self._luggage, self._events.append)
        self._ways[node_id] = _Way(self._alive[node_id], way, next(way), time.monotonic())

    def _advance(self, node_id: str, way: _Way) -> None:
        """Takes a node a step further."""
        try:
            way.step = way.way.send(ray.get(way.step.reference, timeout=FETCH_S))
            way.since = time.monotonic()
        except StopIteration as arrived:
            del self._ways[node_id]
            self._events.append(Joined(arrived.value))
        except UnfitError as error:
            self._refuse(node_id, str(error))
        except (exceptions.RayError, ResbenchError, OSError) as error:
            self._refuse(node_id, f"it could not {way.step.what} ({in_words(error)})")

    def _refuse(self, node_id: str, why: str) -> None:
        """Does without a node."""
        self._ways.pop(node_id, None)
        self._keepers.pop(node_id, None)
        self._events.append(Left(self._alive[node_id], why, node_id, died=False))

    def _look_after_waiting(self) -> None:
        """Does without nodes whose step takes too long, and says what waits for room."""
        now = time.monotonic()
        for node_id, way in [*self._ways.items()]:
            if way.step.limit_s is not None and now - way.since > way.step.limit_s:
                self._refuse(node_id, f"it did not {way.step.what} within {way.step.limit_s:.0f} s")
        for stream in self._streams.values():
            if not (stream.begun or stream.told) and now - stream.asked_at > QUEUED_S:
                stream.told = True
                self._events.append(Told(f"{stream.node.name} has no room yet: something else of the cluster uses it"))


def name_of(node: dict[str, Any]) -> str:
    """Names a node for people and records: its host, its address where it has no name, and the start of its id."""
    return f"{node['NodeManagerHostname'] or node['NodeManagerAddress']}/{node['NodeID'][:8]}"


def in_words(error: BaseException) -> str:
    """Says in one line what Ray says in many."""
    if isinstance(error, exceptions.RayTaskError):
        return in_one_line(error.cause) if isinstance(error.cause, BaseException) else in_one_line(error)
    if isinstance(error, exceptions.WorkerCrashedError):
        return "its worker died"
    if isinstance(error, (*NODE_DIED, exceptions.ObjectLostError)):
        return "its node died"
    if isinstance(error, exceptions.RayActorError):
        return "its keeper died"
    return in_one_line(error)
