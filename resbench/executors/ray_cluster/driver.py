"""The driver: gives each trial to a node, stores what it says, and runs it again where worker or node dies.

It alone writes records. It knows nothing of Ray: a cluster is whatever keeps to
:class:`~resbench.executors.ray_cluster.messages.Cluster`. What an attempt says after it was given up is not heard, so a
trial has one row, whatever a dying node still sends.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

from resbench.conduct import Conduct
from resbench.errors import ClusterError
from resbench.executors.deadline import Deadline
from resbench.executors.followed import Followed, OnMessage
from resbench.executors.interrupts import ignoring_interrupts
from resbench.executors.process import Exit
from resbench.executors.ray_cluster.attempts import TrialAttempt, bare_job
from resbench.executors.ray_cluster.crew import Crew, Waiting
from resbench.executors.ray_cluster.messages import (
    LOOK_AGAIN_S,
    SILENCE_S,
    Begun,
    Cluster,
    Ended,
    Event,
    Joined,
    Left,
    Lost,
    Node,
    Said,
    Told,
    Work,
    silence,
)
from resbench.executors.ray_cluster.node_tests import First, Firsts, Ruling
from resbench.schema import Trial
from resbench.store import Store

Say = Callable[[str], None]


@dataclass
class _Flight:
    """An attempt that is under way on a node."""

    node: Node
    what: TrialAttempt | Ruling
    heard_at: float | None = None
    """When it was heard last; None where it has not begun: it waits for its node's room."""
    begun_at: float | None = None


def run_trials(
    trials: list[Trial],
    store: Store,
    cluster: Cluster,
    *,
    on_message: OnMessage = lambda trial, kind, data: None,
    conduct: Conduct | None = None,
    say: Say = lambda text: None,
    now: Callable[[], float] = time.monotonic,
    deadline: Deadline | None = None,
) -> First | None:
    """Runs trials on a cluster's nodes and puts what they leave into the store.

    Args:
        trials: Planned, not yet finished.
        store: Gets what they emit as it comes, a ``trial`` event for every trial, however it ended, and the ``ruler``
            event of every node.
        cluster: Whose nodes hold the trials' data.
        on_message: Told of everything that is emitted, after it is stored.
        conduct: Limits, checkpoints, and how often a lost trial is run again.
        say: Told what happens to nodes.
        now: Tells the time in seconds.
        deadline: Trials that would not be over by then are not begun; the others are.

    Returns:
        The first trial whose speed can be measured again on the node that it ran on.

    Raises:
        KeyboardInterrupt: After the trials in flight have been recorded as ``interrupted``.
        OutOfTime: After those that may be begun have been run: others wait for more time.
        ClusterError: No node is left.
        StorageError: The records cannot be written any more.
    """
    if not trials:
        return None
    return _Driver(trials, store, cluster, on_message, conduct or Conduct(), say, now, deadline).run()


class _Driver:
    """A run on its way."""

    def __init__(
        self,
        trials: list[Trial],
        store: Store,
        cluster: Cluster,
        on_message: OnMessage,
        conduct: Conduct,
        say: Say,
        now: Callable[[], float],
        deadline: Deadline | None,
    ) -> None:
        self.store, self.cluster, self.conduct, self.say, self.now = store, cluster, conduct, say, now
        self.deadline, self.put_off = deadline, list[Waiting]()
        self.engine = trials[0].engine
        self.firsts = Firsts(on_message)
        self.crew = Crew()
        self.crew.waiting.extend(Waiting(Followed(trial, store, self.firsts, conduct)) for trial in trials)
        self.flights: dict[int, _Flight] = {}
        self.numbers = itertools.count(1)

    def run(self) -> First | None:
        """Runs everything; no attempt is left behind, however it ends."""
        try:
            while self._assign() or self.crew.waiting or self._flying():
                self._hear()
                self._look_after_nodes()
                if self.deadline is not None:
                    self.deadline.check()
            if self.deadline is not None and self.put_off:
                raise self.deadline.error()
            return self.firsts.choose(self.crew)
        except KeyboardInterrupt as error:
            with ignoring_interrupts():
                how = f"by {error}" if str(error) else "by the user"
                for flight in self.flights.values():
                    if isinstance(flight.what, TrialAttempt) and flight.heard_at is not None:
                        flight.what.followed.record_unless_done("interrupted", f"interrupted {how}")
            raise
        finally:
            with ignoring_interrupts():
                for attempt in [*self.flights]:
                    self.cluster.end(attempt)

    def _flying(self) -> bool:
        """Returns whether an attempt at a trial is under way."""
        return any(isinstance(flight.what, TrialAttempt) for flight in self.flights.values())

    def _assign(self) -> bool:
        """Gives trials to nodes as long as one has room; says whether any was given one."""
        given = False
        while (found := self.crew.assign()) is not None:
            waiting, node = found
            if self.deadline is not None and not self.deadline.lets_begin(waiting.followed.trial):
                self.put_off.append(waiting)
                self.crew.free(node)
                continue
            attempt = TrialAttempt(waiting, node, self.conduct)
            self._begin(node, attempt, attempt.work())
            given = True
        return given

    def _begin(self, node: Node, what: TrialAttempt | Ruling, work: Work) -> None:
        """Starts an attempt."""
        number = next(self.numbers)
        self.flights[number] = _Flight(node, what)
        self.cluster.begin(number, node, work)

    def _hear(self) -> None:
        """Waits for what happens and takes it in; gives attempts up that have fallen silent."""
        events = self.cluster.wait(LOOK_AGAIN_S)
        with self.store.together() if events else contextlib.nullcontext():  # a disk is slow, and many nodes speak
            for event in events:
                self._take(event)
        now = self.now()
        for number, flight in [*self.flights.items()]:
            if flight.heard_at is not None and now - flight.heard_at > SILENCE_S:
                self.cluster.end(number)
                self._over(number, flight, Lost(number, silence()))

    def _take(self, event: Event) -> None:
        """Takes in what has happened; what is told of an attempt that was given up is not heard."""
        if isinstance(event, Told):
            self.say(event.text)
        elif isinstance(event, Joined):
            self._join(event.node)
        elif isinstance(event, Left):
            self._leave(event)
        elif (flight := self.flights.get(event.attempt)) is None:
            return
        elif isinstance(event, Begun):
            flight.heard_at = self.now()
            flight.begun_at = flight.heard_at if flight.begun_at is None else flight.begun_at
            if isinstance(flight.what, TrialAttempt):
                flight.what.followed.announce()
        elif isinstance(event, Said):
            flight.heard_at = self.now()
            if isinstance(flight.what, TrialAttempt):
                flight.what.log(event.log)
            flight.what.take(event.messages)
        else:
            self._over(event.attempt, flight, event.exit if isinstance(event, Ended) else event)

    def _over(self, number: int, flight: _Flight, how: Exit | Lost) -> None:
        """Takes in that an attempt is over, well or not."""
        del self.flights[number]
        node, what = flight.node, flight.what
        if isinstance(what, Ruling):
            self._tested(what, how)
        else:
            self._learn(flight, what)
            if isinstance(how, Exit) or how.out_of_memory:  # that is the trial's doing, and says nothing of the node
                self.crew.done(node)
            elif self.crew.lost(node):
                self._leave(Left(node.name, f"its workers die again and again ({how.why})", node.node_id, died=False))
            if what.runs_again(how, begun=flight.heard_at is not None):
                self.crew.waiting.appendleft(what.waiting)

    def _learn(self, flight: _Flight, what: TrialAttempt) -> None:
        """Tells the deadline how long a trial took that ended well."""
        followed = what.followed
        if self.deadline is not None and flight.begun_at is not None and followed.status == "ok":
            self.deadline.learn(followed.trial, self.now() - flight.begun_at)

    def _join(self, node: Node) -> None:
        """Takes a node in, once its instruments are found right where that is asked for."""
        self.say(f"{node.name} joined, for {node.slots} at once")
        if self.conduct.calibrate:
            ruling = Ruling(node)
            self._begin(node, ruling, ruling.work(bare_job(node, self.engine, self.conduct), self.engine))
        else:
            self.crew.join(node)

    def _tested(self, ruling: Ruling, how: Exit | Lost) -> None:
        """Takes in what the test of a node's instruments has come to."""
        node, fault = ruling.node, ruling.fault(how)
        if ruling.event is not None:
            self.store.append("ruler", ruling.event)
        if fault is None:
            self.crew.join(node)
        else:
            self._leave(Left(node.name, fault, node.node_id, died=False))

    def _leave(self, left: Left) -> None:
        """Goes on without a node."""
        self.crew.leave(left)
        self.say(f"{left.name} is {'gone' if left.died else 'not used'}: {left.why}")

    def _look_after_nodes(self) -> None:
        """Ends the run where no node is left for what waits.

        Raises:
            ClusterError: So it is; the message says what was wrong with each.
        """
        waiting = self.crew.waiting
        if waiting and not self.flights and self.crew.given_up(self.now(), preparing=self.cluster.preparing()):
            why = "; ".join(f"{name}: {reason}" for name, reason in self.crew.unfit.items())
            raise ClusterError(
                f"no node of the cluster is left to run {len(waiting)} planned trials on{f' ({why})' if why else ''}. "
                "What has ended is recorded; the same command goes on from there."
            )
