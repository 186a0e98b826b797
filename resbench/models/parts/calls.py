"""What a network's modules do with an image: each one's call, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Call:
    """One module's forward, on its way through a network."""

    name: str
    module: nn.Module
    taken: torch.Tensor
    given: object = None
    """What came out of it; None where that has not come yet."""

    @property
    def is_step(self) -> bool:
        """Whether it computes something itself, and is not just where others stand.

        A norm that holds its activation is one of these.
        """
        children = list(self.module.children())
        holds = any(True for child in children for _ in child.parameters())
        return not children or (self.has_parameters and not holds)

    @property
    def depth(self) -> int:
        """How many modules it stands in."""
        return self.name.count(".")

    @property
    def has_parameters(self) -> bool:
        """Whether it, or a module in it, learns."""
        return next(self.module.parameters(), None) is not None

    @property
    def keeps_shape(self) -> bool:
        """Whether what comes out of it has the shape of what went in."""
        return isinstance(self.given, torch.Tensor) and self.given.shape == self.taken.shape

    @property
    def keeps_channels(self) -> bool:
        """Whether maps come out of it, as many as go in."""
        return isinstance(self.given, torch.Tensor) and self.given.shape[:2] == self.taken.shape[:2]


def follow(network: nn.Module, image: Sequence[int]) -> list[Call]:
    """Runs a network where its parameters are and returns every module's call, in the order in which they begin."""
    calls: list[Call] = []
    with _hooks(network, calls), torch.no_grad():
        network(torch.zeros(2, *image, device=next(network.parameters()).device))
    return calls


@contextmanager
def _hooks(network: nn.Module, calls: list[Call]) -> Iterator[None]:
    """Notes what every module takes and gives, while the block runs."""
    open_calls: list[Call | None] = []
    handles = []

    def begins(name: str, module: nn.Module, taken: tuple[object, ...]) -> None:
        call = Call(name, module, taken[0]) if taken and isinstance(taken[0], torch.Tensor) else None
        open_calls.append(call)
        if call is not None:
            calls.append(call)

    def ends(given: object) -> None:
        call = open_calls.pop()
        if call is not None:
            call.given = given

    for name, module in network.named_modules():
        before = module.register_forward_pre_hook(lambda module, taken, name=name: begins(name, module, taken))
        after = module.register_forward_hook(lambda module, taken, given: ends(given))
        handles += [before, after]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def has_branches(call: Call, calls: list[Call]) -> bool:
    """Says whether what a module takes is taken by another one too that makes something else of it.

    Where the module stands in takes the same, and layers that work in place give what they take.
    """
    return any(
        other.taken is call.taken
        and other.given is not other.taken
        and other is not call
        and not f"{call.name}.".startswith(f"{other.name}." if other.name else "")
        for other in calls
    )
