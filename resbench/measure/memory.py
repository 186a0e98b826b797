"""Peak memory of inference and of training, each in a pass of its own.

CUDA: the caching allocator's peaks. CPU: the peak resident set of this process above its level before the model
was built, so a process measures one network only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from resbench.devices import CpuDevice, Device, resident_mib
from resbench.training.engine import Engine


@dataclass(frozen=True)
class MemoryUse:
    """Peaks in MiB."""

    inference_mib: float
    training_allocated_mib: float
    training_reserved_mib: float | None
    """What the allocator took of the device; ``None`` on CPU."""


def memory_level(device: Device) -> float:
    """Returns the level in MiB that a network's own use is counted from; read it before the network is built."""
    return resident_mib() if type(device) is CpuDevice else 0.0


def measure_memory(
    engine: Engine, device: Device, batch: tuple[torch.Tensor, torch.Tensor], *, level_mib: float
) -> MemoryUse:
    """Runs a forward pass in eval mode and two training steps, and reads the peak of each.

    Two steps, because the optimizer's state appears in the first one; the model is trained by it.

    Args:
        engine: On the CPU its model has not run yet; elsewhere it is warmed up.
        device: The engine's.
        batch: images [B, C, H, W] and labels [B] on the device; counted in.
        level_mib: From :func:`memory_level`.
    """
    images, labels = batch
    engine.set_learning_rate(0.0)
    engine.model.eval()
    device.start_memory_window()
    with torch.inference_mode():
        engine.forward(images)
    inference = device.memory_peak()

    engine.model.train()
    device.start_memory_window()
    for _ in range(2):
        engine.train_step(images, labels)
    training = device.memory_peak()
    return MemoryUse(
        inference_mib=inference.allocated_mib - level_mib,
        training_allocated_mib=training.allocated_mib - level_mib,
        training_reserved_mib=training.reserved_mib,
    )
