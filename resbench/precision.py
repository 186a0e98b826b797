"""Arithmetic precisions: which there are, which a device should use, and what its peak is in each."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from resbench.data.cache import cache_root
from resbench.errors import InputError
from resbench.host_state import forked_generators
from resbench.provenance import host_cpu

PRECISIONS = ("auto", "fp32", "tf32", "bf16")

CLEARLY_FASTER = 1.1
"""How many times the speed of fp32 a processor's bf16 must reach to be its default."""

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

    ``auto`` is bf16 on a CUDA device that has it in hardware and on a processor where it was measured to be faster
    (:func:`processor_precision`), fp32 elsewhere.

    Raises:
        InputError: It is not a precision, or the device does not have it.
    """
    if name not in PRECISIONS:
        raise InputError(f"unknown precision {name!r}. Accepted: {', '.join(PRECISIONS)}.")
    on_cuda = device.startswith("cuda")
    if name == "auto":
        if device == "cpu":
            return processor_precision()
        # An emulated bf16 (before Ampere) is slower than fp32.
        return "bf16" if on_cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if name == "tf32" and not on_cuda:
        raise InputError(f"precision tf32 is a CUDA mode and the device is {device}. Use fp32 or bf16.")
    return name


def processor_precision() -> str:
    """Returns the faster of fp32 and bf16 on this processor.

    bf16 is considered where the processor multiplies it in hardware (AMX or AVX512-BF16). Whether it then is faster
    is measured, once: the answer is kept in the cache folder for this processor, number of threads and torch, so
    that the same command always plans the same trials.
    """
    if not (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return "fp32"
    path = cache_root() / "processor-precision.json"
    machine = f"{host_cpu()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    known = _read(path)
    if machine not in known:
        known[machine] = measure_bf16_speedup()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        except OSError:  # a cache that cannot be written is no reason to stop
            pass
    return "bf16" if known[machine] >= CLEARLY_FASTER else "fp32"


def _read(path: Path) -> dict[str, float]:
    """Returns the measured speed-ups by machine; none where the file is missing or was damaged."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and all(isinstance(value, float) for value in known.values()) else {}


def measure_bf16_speedup(*, batch_size: int = 64, repeats: int = 3) -> float:
    """Returns how many times as fast this processor trains ``resnet50`` at 32x32 in bf16 as in fp32.

    It is one network for all, since what one table compares shares its precision: the middle one in size of those that
    a comparison holds. Smaller ones gain less (or lose), larger ones and the CIFAR stem more.

    Args:
        batch_size: Images a step.
        repeats: Steps of each, in turn; the fastest counts, which other work on the machine disturbs least. One
            more of each warms up.
    """
    from resbench.registry import create_model

    with forked_generators(seed=0):
        network = create_model("resnet50").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.randn(batch_size, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        labels = torch.randint(10, (batch_size,))

    def step_s(bf16: bool) -> float:
        began = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = network(images)
        F.cross_entropy(logits.float(), labels).backward()
        return time.perf_counter() - began

    pairs = [(step_s(False), step_s(True)) for _ in range(repeats + 1)][1:]
    return min(fp32 for fp32, _ in pairs) / min(bf16 for _, bf16 in pairs)


def apply_precision(precision: str) -> None:
    """Sets every switch that changes the arithmetic or cuDNN's choice of kernels, whatever the defaults are."""
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
