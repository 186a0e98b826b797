"""Peak memory of inference and of training, each in a pass of its own.

CUDA: the caching allocator's peaks. CPU: the peak resident set of this process above its level before the model
was built, so a process measures one network only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from resbench.devices import MIB, CpuDevice, Device, resident_mib
from resbench.host_state import forked_generators
from resbench.ranks import Ranks
from resbench.recipes import get_recipe
from resbench.schema import EngineSettings
from resbench.training.engine import Engine


@dataclass(frozen=True)
class MemoryUse:
    """Peaks in MiB; None where they could not be measured."""

    inference_mib: float | None
    training_allocated_mib: float | None
    """``None`` where the network cannot be trained at this batch size."""
    training_reserved_mib: float | None
    """What the allocator took of the device; ``None`` on CPU."""

    def largest(self, ranks: Ranks) -> MemoryUse:
        """Returns the largest of each peak among ranks that measured at the same time."""
        return MemoryUse(
            ranks.largest(self.inference_mib),
            ranks.largest(self.training_allocated_mib),
            ranks.largest(self.training_reserved_mib),
        )


def memory_level(device: Device) -> float:
    """Returns the level in MiB that a network's own use is counted from; read it before the network is built."""
    if type(device) is not CpuDevice:
        return 0.0
    _touch_libraries()
    return resident_mib()


def _touch_libraries() -> None:
    """Trains a network of nothing for two steps.

    The first convolution, backward pass and update of a process make some 80 MiB of library code resident. That is
    no network's own, and it would hide what a small one needs.
    """
    with forked_generators():
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    engine = Engine(model, get_recipe("common"), EngineSettings(device="cpu", precision="fp32"))
    images, labels = torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64)
    engine.warm_up(images, labels)


def measure_memory(engine: Engine, device: Device, *, level_mib: float, train: bool = True) -> MemoryUse:
    """Runs a forward pass in eval mode and two training steps on its slot, and reads the peak of each.

    Two steps, because the optimizer's state appears in the first one; the model is trained by it. Where a warm-up has
    made that state already, it is none of inference's.

    Args:
        engine: On the CPU its model has not run yet; elsewhere it is warmed up, and not yet recorded as a graph,
            whose replay allocates nothing. The batch in its slot is counted in.
        device: The engine's.
        level_mib: From :func:`memory_level`.
        train: Whether training is measured too.
    """
    images, labels = engine.slots[0]
    engine.set_learning_rate(0.0)
    engine.model.eval()
    level_of_inference = level_mib + engine.optimizer_bytes / MIB
    device.start_memory_window()
    with torch.inference_mode(), engine.constant_weights():
        engine.forward(engine.micro_batches(images, labels)[0][0])
    inference = device.memory_peak()
    if not train:
        return MemoryUse(inference.allocated_mib - level_of_inference, None, None)

    engine.train_mode()
    device.start_memory_window()
    for _ in range(2):
        engine.train_step(images, labels)
    training = device.memory_peak()
    return MemoryUse(
        inference_mib=inference.allocated_mib - level_of_inference,
        training_allocated_mib=training.allocated_mib - level_mib,
        training_reserved_mib=training.reserved_mib,
    )
