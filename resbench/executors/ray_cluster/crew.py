"""The nodes that trials run on: which has room, which trial goes there, which is given up, and whether one is left."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from resbench.executors.followed import Followed
from resbench.executors.ray_cluster.messages import Left, Node

MOST_LOSSES = 3
"""Attempts in a row that a node may lose before nothing more is run there."""
PATIENCE_S = 90.0
"""How long to wait for a node where none is left: one that died may come back, and a new cluster fills slowly."""


@dataclass
class Waiting:
    """A trial that is to run, and what became of it before."""

    followed: Followed
    losses: int = 0
    home: str | None = None
    """The id of a node that holds a checkpoint of it."""


@dataclass
class _Member:
    """A node at work."""

    node: Node
    busy: int = 0
    losses: int = 0
    """In a row."""


@dataclass
class Crew:
    """The nodes at work, and the trials that wait for them."""

    waiting: deque[Waiting] = field(default_factory=deque)
    """In the order in which they are going to run."""
    unfit: dict[str, str] = field(default_factory=dict)
    """Why nodes that are there are not used, by name."""
    _members: dict[str, _Member] = field(default_factory=dict)
    _died: bool = False
    _alone_since: float | None = None

    def join(self, node: Node) -> None:
        """Takes a node in; trials that it holds checkpoints of go there."""
        self._members[node.node_id] = _Member(node)
        self.unfit.pop(node.name, None)
        for one in self.waiting if node.checkpoints else ():
            if one.followed.trial.trial_id in node.checkpoints:
                one.home = node.node_id

    def leave(self, left: Left) -> None:
        """Gives a node up."""
        self._members.pop(left.node_id, None)
        self._died = self._died or left.died
        if not left.died:
            self.unfit[left.name] = left.why

    def named(self, name: str) -> Node | None:
        """Returns the node at work that has this name."""
        return next((member.node for member in self._members.values() if member.node.name == name), None)

    def assign(self) -> tuple[Waiting, Node] | None:
        """Returns the next trial and the node that it runs on, or None where no node has room for one.

        The node with the most room is first. A trial with a checkpoint waits for the node that holds it, as long as
        that is at work: its numbers come from one node.
        """
        if not self.waiting:
            return None
        for member in sorted(self._members.values(), key=lambda member: member.busy - member.node.slots):
            if member.busy >= member.node.slots:
                return None
            for place, one in enumerate(self.waiting):
                if one.home in (None, member.node.node_id) or one.home not in self._members:
                    del self.waiting[place]
                    member.busy += 1
                    return one, member.node
        return None

    def free(self, node: Node) -> None:
        """Notes that what was to run on a node is not begun."""
        if member := self._members.get(node.node_id):
            member.busy -= 1

    def done(self, node: Node) -> None:
        """Notes that an attempt ended on a node, however well."""
        if member := self._members.get(node.node_id):
            member.busy, member.losses = member.busy - 1, 0

    def lost(self, node: Node) -> bool:
        """Notes that an attempt was lost on a node; returns whether it is one too many: the node should go."""
        member = self._members.get(node.node_id)
        if member is None:
            return False
        member.busy, member.losses = member.busy - 1, member.losses + 1
        return member.losses >= MOST_LOSSES

    def given_up(self, now: float, *, preparing: int) -> bool:
        """Returns whether there is no node any more, nor one to wait for.

        Args:
            now: In seconds.
            preparing: How many nodes are on their way.
        """
        if self._members or preparing:
            self._alone_since = None
            return False
        if self._alone_since is None:
            self._alone_since = now
        patience_s = PATIENCE_S if self._died or not self.unfit else 0.0
        return now - self._alone_since >= patience_s
