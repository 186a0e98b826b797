"""Profiles that were never measured: a network's cost at a batch size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resbench.schema import ProfileRecord, columns
from resbench.store import Store


def profile_record(model: str, batch_size: int, **changes: Any) -> dict[str, Any]:
    """The data of a ``profile`` event: throughput that saturates, memory that grows with the batch."""
    speed = 10_000 * batch_size / (batch_size + 64)
    figures = {
        "model": model,
        "source": "synthetic",
        "stem": "cifar",
        "input": "3x32x32",
        "num_classes": 10,
        "batch_size": batch_size,
        "device_name": "NVIDIA H200",
        "precision": "bf16",
        "memory_format": "channels_last",
        "compiled": True,
        "cuda_graph": True,
        "lowering": "off",
        "params": 21_289_802,
        "trainable_params": 21_289_802,
        "macs": 74_765_312,
        "forward_flops": 149_530_624,
        "train_flops_per_image": 444_000_000,
        "latency_ms_p50": 1.02,
        "inference_images_per_second": 3 * speed,
        "train_images_per_second": speed,
        "inference_memory_mib": 20.0 + batch_size,
        "peak_memory_allocated_mib": 100.0 + 5 * batch_size,
    }
    return {**dict.fromkeys(columns(ProfileRecord)), **figures, **changes}


def write_profiles(folder: Path, *records: dict[str, Any]) -> Path:
    """Adds profiles to a results folder, which is made where it is not there."""
    store = Store(folder, create=True)
    for record in records:
        store.append("profile", record)
    return folder
