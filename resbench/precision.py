"""Arithmetic precisions: which there are, which a device should use, and what its peak is in each."""

from __future__ import annotations

import os
import re

import torch

from resbench.errors import InputError

PRECISIONS = ("auto", "fp32", "tf32", "bf16")

# Dense peak FLOP/s from NVIDIA's datasheets: (bf16, tf32, fp32). Matched against the device's whole name: an NVL
# card or a MIG slice of the same chip has another peak.
_PEAK_FLOPS = {
    r"NVIDIA H200|NVIDIA H100 80GB HBM3": (989e12, 495e12, 67e12),
    r"NVIDIA H100 PCIe": (756e12, 378e12, 51e12),
    r"NVIDIA A100-(SXM4|SXM|PCIE|PCIe)-[48]0GB|NVIDIA A100 80GB PCIe": (312e12, 156e12, 19.5e12),
    r"NVIDIA L40S": (362e12, 183e12, 91.6e12),
    r"NVIDIA A10": (125e12, 62.5e12, 31.2e12),
}


def resolve_precision(name: str, device: str) -> str:
    """Turns ``auto`` into what the device is fastest in, and checks any other name.

    ``auto`` is bf16 on a CUDA device that has it in hardware. On a processor it is what the environment variable
    RESBENCH_PRECISION names, if it does, and else stays ``auto``: the networks are needed to decide
    (:func:`resbench.planning.precision_choice.settle_precision`). On any other device it is fp32.

    Raises:
        InputError: It is not a precision, or the device does not have it.
    """
    if name == "auto" and device == "cpu":
        name = os.environ.get("RESBENCH_PRECISION") or "auto"
    if name not in PRECISIONS:
        raise InputError(f"unknown precision {name!r}. Accepted: {', '.join(PRECISIONS)}.")
    on_cuda = device.startswith("cuda")
    if name == "auto" and device != "cpu":
        # An emulated bf16 (before Ampere) is slower than fp32.
        return "bf16" if on_cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if name == "tf32" and not on_cuda:
        raise InputError(f"precision tf32 is a CUDA mode and the device is {device}. Use fp32 or bf16.")
    return name


def apply_precision(precision: str) -> None:
    """Sets every switch that changes the arithmetic or cuDNN's choice of kernels, whatever the defaults are.

    Raises:
        ValueError: The precision was not decided.
    """
    if precision not in PRECISIONS or precision == "auto":
        raise ValueError(f"no precision to train in: {precision!r}")
    tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.deterministic = False


def peak_flops(device_name: str, precision: str) -> float | None:
    """Returns a device's dense datasheet peak in FLOP/s, or ``None`` for one that is not listed: never a guess."""
    for pattern, (bf16, tf32, fp32) in _PEAK_FLOPS.items():
        if re.fullmatch(pattern, device_name):
            return {"bf16": bf16, "tf32": tf32, "fp32": fp32}[precision]
    return None
