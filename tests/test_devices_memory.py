"""What a process holds of a device while it trains."""

from __future__ import annotations

import mmap
from typing import Any

import pytest
import torch

from resbench.devices import MIB, CpuDevice, CudaDevice, MpsDevice


def test_of_the_processor_is_what_of_this_process_is_resident() -> None:
    device = CpuDevice()
    before = device.memory_held_mib()
    with mmap.mmap(-1, 64 * MIB) as block:
        block.write(b"x" * len(block))
        assert 60 < device.memory_held_mib() - before < 70
    assert device.memory_held_mib() - before < 10


def test_of_apples_gpu_is_what_tensors_occupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 3 * MIB)
    assert MpsDevice().memory_held_mib() == 3


def test_of_a_gpu_is_what_the_allocator_reserves_and_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(*arguments: Any) -> None:
        raise AssertionError("the device was waited for")

    asked: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: asked.append(device) or 5 * MIB)
    assert CudaDevice(1).memory_held_mib() == 5
    assert asked == [torch.device("cuda", 1)]


@pytest.mark.gpu
def test_of_a_real_gpu_grows_with_a_tensor_and_leaves_the_queue_alone() -> None:
    device = CudaDevice(0)
    torch.cuda.empty_cache()
    before = device.memory_held_mib()
    block = torch.empty(256 * MIB, dtype=torch.uint8, device=device.torch_device)
    torch.cuda._sleep(200_000_000)  # the device is busy for a tenth of a second
    event = torch.cuda.Event()
    event.record()
    assert 256 <= device.memory_held_mib() - before <= 300
    assert not event.query(), "the device was waited for"
    del block
