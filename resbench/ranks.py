"""Several processes that train one network, a device each: who they are, and what they tell one another.

A process alone is the same code with one rank, no process group, and nothing sent.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from resbench.host_state import seed_generators
from resbench.schema import EngineSettings

PATIENCE = timedelta(minutes=20)
"""How long a rank waits for another one: all compile at the same time, and some take longer. One that has died is
noticed at once by what launched it, not by this."""


@dataclass(frozen=True)
class Ranks:
    """Which one this process is of those that train together, and how many there are.

    Every method that tells something must be called by all of them, in the same order.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this one speaks for all: it decides, and it writes records and checkpoints."""
        return self.rank == 0

    def share(self, count: int) -> int:
        """Returns how many images of a batch each rank takes.

        Args:
            count: Images of the whole batch.

        Raises:
            ValueError: They cannot be shared out evenly.
        """
        if count % self.size:
            raise ValueError(f"{count} images cannot be shared out evenly among {self.size} ranks")
        return count // self.size

    def window(self, start: int, count: int) -> slice:
        """Returns where this rank's share of a batch lies: ranks take theirs in order.

        Args:
            start: Of the whole batch.
            count: Images of the whole batch.
        """
        share = self.share(count)
        return slice(start + self.rank * share, start + (self.rank + 1) * share)

    def agree(self, values: Sequence[float]) -> list[float]:
        """Returns the first rank's numbers to all. It goes over the host, so that nobody waits for a device."""
        if self.size == 1:
            return [*values]
        word = torch.tensor(values, dtype=torch.float64)
        dist.broadcast(word, src=0)
        return word.tolist()

    def largest(self, value: float | None) -> float | None:
        """Returns the largest of all ranks' numbers, ``None`` where one has none."""
        return self._reduced(value, dist.ReduceOp.MAX)

    def total(self, value: float | None) -> float | None:
        """Returns the sum of all ranks' numbers, ``None`` where one has none."""
        return self._reduced(value, dist.ReduceOp.SUM)

    def _reduced(self, value: float | None, how: dist.ReduceOp.RedOpType) -> float | None:
        if self.size == 1:
            return value
        missing = torch.tensor(float(value is None))
        dist.all_reduce(missing)
        number = torch.tensor(0.0 if value is None else value, dtype=torch.float64)
        dist.all_reduce(number, how)
        return None if missing else number.item()

    def add_up(self, sums: torch.Tensor) -> torch.Tensor:
        """Returns the sum of all ranks' tensors; a rank alone gets its own back."""
        if self.size > 1:
            sums = sums.clone()
            dist.all_reduce(sums)
        return sums

    def least(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the least of all ranks' values, element by element; a rank alone gets its own back."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values, dist.ReduceOp.MIN)
        return values

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the tensors of all ranks, stacked in their order: [ranks, ...]."""
        if self.size == 1:
            return values[None]
        as_bytes = values.to(torch.uint8) if values.dtype == torch.bool else values.contiguous()
        gathered = [torch.empty_like(as_bytes) for _ in range(self.size)]
        dist.all_gather(gathered, as_bytes)
        return torch.stack(gathered).to(values.dtype)

    def follow(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrites tensors with those of the first rank."""
        if self.size > 1:
            for tensor in tensors:
                sent = tensor.detach().contiguous()
                dist.broadcast(sent.view(torch.uint8) if sent.dtype == torch.bool else sent, src=0)
                if sent.data_ptr() != tensor.data_ptr():
                    tensor.copy_(sent)

    def draw_apart(self, seed: int) -> None:
        """Seeds the generators of every rank but the first: what a network drops is not the same in all shares.

        Args:
            seed: The trial's.
        """
        if not self.first:
            # A processor's generator takes 32 bits of a seed, so the difference is in these; an odd factor keeps ranks
            # and neighbouring seeds apart.
            seed_generators((seed + self.rank * 0x9E3779B1) % 2**32)


ALONE = Ranks()


def device_of(engine: EngineSettings, ranks: Ranks) -> str:
    """Returns the device of a rank: where GPUs train together, that of its number."""
    return f"cuda:{ranks.rank}" if ranks.size > 1 and engine.device.startswith("cuda") else engine.device


def threads_of_each(size: int) -> int:
    """Returns how many of the processor's threads, as torch counts them here, each of so many ranks has."""
    return max(1, torch.get_num_threads() // size)


@contextmanager
def joined(engine: EngineSettings) -> Iterator[Ranks]:
    """Makes this process one of those that torchrun has started, as it says in the environment.

    What is on a GPU is exchanged by NCCL, what is on the host by gloo.

    Args:
        engine: Of the trial.
    """
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    # All are on this machine: no name needs to be looked up, and no other interface to be open.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    torch.set_num_threads(threads_of_each(ranks.size))
    if engine.device.startswith("cuda"):
        own = torch.device("cuda", ranks.rank)
        torch.cuda.set_device(own)
        dist.init_process_group("cpu:gloo,cuda:nccl", timeout=PATIENCE, device_id=own)
    else:
        dist.init_process_group("gloo", timeout=PATIENCE)
    yield ranks
    dist.destroy_process_group()
