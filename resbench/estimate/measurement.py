"""What a short measurement tells of a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from resbench.training.feature_cost import FeatureCost


@dataclass(frozen=True)
class HeadMeasurement:
    """Where the features of a frozen network are computed once: times of a batch, in seconds, and FLOPs of an image."""

    features_s: float
    """The features of a batch, which are computed once."""
    data_s: float
    """A batch of features that are there."""
    step_s: float
    """A training step of the head."""
    eval_s: float
    """An evaluation step of the head."""
    feature_flops: int | None
    step_flops: int | None

    @property
    def cost(self) -> FeatureCost:
        """What it costs in FLOPs."""
        return FeatureCost(self.feature_flops, self.step_flops)


@dataclass(frozen=True)
class Measurement:
    """What a few steps tell of a network; times of a batch, in seconds, where nothing else is said."""

    setup_s: float
    """From the first line of the job until the network stands on the device."""
    build_s: float
    """The network alone."""
    count_s: float
    """Parameters, MACs and FLOPs counted."""
    single_s: float
    """Forward pass of one image."""
    step_s: float
    """Training step of the whole network on a batch that is there."""
    data_s: float
    """A training batch made, augmented."""
    eval_s: float
    """An evaluation batch made and passed."""
    train_flops_per_image: int | None
    """None if they cannot be counted."""
    peak_mib: float | None
    """What training takes, as the records have it (``peak_memory_allocated_mib``); None where it was not measured."""
    taken_mib: float | None
    """What it takes of the device: on CUDA what the allocator has reserved, elsewhere the same."""
    state_mib: float
    """Weights, statistics and the optimizer's state, as a checkpoint holds them."""
    device_mib: float | None = None
    """The device's own memory; None on a processor."""
    head: HeadMeasurement | None = None
    doubts: list[str] = field(default_factory=list)
    """Why its times may be too long: what else kept the machine busy meanwhile."""
    start_s: float = 0.0
    """Until a process is there that runs the job."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Measurement:
        """Rebuilds it from its ``asdict``."""
        head = data["head"]
        return cls(**{**data, "head": None if head is None else HeadMeasurement(**head)})
