"""The one seam between the suite and a kind of device.

Everything that only CUDA has (streams, events, graphs, the caching allocator, NVML) is reached through a
:class:`Device`; the CPU twin answers the same questions, so the tests run the code that a GPU runs.
"""

from __future__ import annotations

import re

import torch

from resbench.devices.base import MIB, Device, DeviceState, MemoryPeak
from resbench.devices.cpu import CpuDevice, MpsDevice, resident_mib
from resbench.devices.cuda import CudaDevice
from resbench.errors import InputError

__all__ = [
    "MIB",
    "CpuDevice",
    "CudaDevice",
    "Device",
    "DeviceState",
    "MemoryPeak",
    "MpsDevice",
    "check_devices",
    "is_out_of_memory",
    "open_device",
    "resident_mib",
    "resolve_device",
]


def open_device(name: str) -> Device:
    """Makes the seam for a resolved device name (see :func:`resolve_device`)."""
    device = torch.device(name)
    if device.type == "cuda":
        return CudaDevice(device.index or 0)
    return MpsDevice() if device.type == "mps" else CpuDevice()


def resolve_device(name: str) -> str:
    """Turns ``auto`` into a device that is there, and checks any other name.

    Args:
        name: ``auto`` (cuda, then mps, then cpu), ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.

    Raises:
        InputError: It is not a device's name, or there is no such device.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:(0|[1-9]\d*))?", name):
        raise InputError(f"unknown device {name!r}. Accepted: auto, cpu, mps, cuda, cuda:N (such as cuda:1).")
    if name.startswith("cuda"):
        if not cuda:
            raise InputError(
                f"--device {name}: torch sees no CUDA device here. Use --device cpu or auto, "
                "or check the driver with nvidia-smi."
            )
        index = int(name.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            raise InputError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices, from cuda:0.")
    if name == "mps" and not mps:
        raise InputError("--device mps: this torch has no MPS device. Use --device cpu or auto.")
    return name


def check_devices(name: str, count: int) -> None:
    """Checks that a trial can be trained on several devices of a kind: on GPUs, those from ``cuda:0`` on.

    Args:
        name: A resolved device, see :func:`resolve_device`.
        count: How many.

    Raises:
        InputError: There are not so many, or the name is that of a single one.
    """
    if count == 1:
        return
    if name == "mps":
        raise InputError(f"devices is {count} and the device is mps, of which there is one. Leave devices at 1.")
    if name.startswith("cuda"):
        there = torch.cuda.device_count()
        if count > there:
            raise InputError(
                f"devices is {count} and torch sees {there} CUDA {'device' if there == 1 else 'devices'} here: "
                f"{', '.join(torch.cuda.get_device_name(index) for index in range(there))}. Give --devices {there} at "
                "most."
            )
        if name != "cuda":
            raise InputError(
                f"devices is {count} and the device is {name}, which is one: give --device cuda, which takes cuda:0 to "
                f"cuda:{count - 1}, and choose GPUs with CUDA_VISIBLE_DEVICES."
            )


def is_out_of_memory(error: BaseException) -> bool:
    """Says whether an error means that memory ran out; torch has a class for that on CUDA, on others a message."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(re.search("can't allocate memory|out of memory", str(error)))
