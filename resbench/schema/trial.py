"""What a trial is: all that decides a result, and the id that is made of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class EngineSettings:
    """What changes the speed of a trial and not what it learns."""

    device: str
    """A torch device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``."""
    precision: str
    """``fp32``, ``tf32`` (fp32 with TensorFloat-32 matrix products) or ``bf16`` (autocast)."""
    compile: bool = False
    """Whether ``torch.compile`` is asked for; the record says whether it ran."""
    memory_format: str = "channels_last"
    """``channels_last`` or ``contiguous``."""
    cuda_graph: bool = False
    """Whether the whole step is asked to be recorded as a CUDA graph and replayed."""
    compile_mode: str = "default"
    """The mode of ``torch.compile``: ``default``, ``reduce-overhead`` (graphs of its own around forward and backward)
    or ``max-autotune-no-cudagraphs``."""
    cache_features: bool = True
    """Whether the features of a frozen network may be computed once, where that changes nothing but rounding."""
    devices: int = 1
    """How many devices train the trial together, each with its share of every batch."""
    lowering: str = "auto"
    """``auto`` (a processor computes convolutions on small maps as matrix products) or ``off``."""


_YOUNGER_THAN_RECORDS = {"compile_mode": "default", "cache_features": True, "devices": 1, "lowering": "auto"}
"""Engine settings that stored ids were made without, and the value that means what was done then.

Of ``lowering`` that is so on CUDA only: what a processor lowered is told by the row and its measuring version."""


@dataclass(frozen=True)
class Trial:
    """One model x stem x dataset x recipe x budget x seed x engine settings: all that decides a result."""

    model: str
    stem: str
    dataset: str
    """The dataset's own name, never a path: the same images elsewhere are the same trial."""
    dataset_fingerprint: str
    """sha256 of the decoded pixels and labels."""
    num_classes: int
    input: tuple[int, int, int]
    """Channels, height, width of what the model sees."""
    recipe: str
    batch_size: int
    budget: str
    """In canonical form, such as ``26ep``."""
    seed: int
    engine: EngineSettings
    weights: str = "random"
    """Where the initial weights come from: ``random``, ``default`` (torchvision's) or a state-dict file."""
    code: str | None = None
    """Of a network that is none of resbench's own: what registered it, with a digest of its source."""

    @cached_property
    def trial_id(self) -> str:
        """The first 12 hexadecimal digits of the sha256 of every field, so it is stable across machines.

        A setting that is younger than the records counts where it is not at its default: ids of before stay.
        """
        data = asdict(self)
        for name, default in _YOUNGER_THAN_RECORDS.items():
            if data["engine"][name] == default:
                del data["engine"][name]
        if self.code is None:
            del data["code"]
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """How progress lines and log files call the trial."""
        return f"{self.model} seed {self.seed}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types, with ``trial_id`` first."""
        return {"trial_id": self.trial_id, **asdict(self), "input": list(self.input)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Trial:
        """Rebuilds a trial from :meth:`to_dict`."""
        values = {key: value for key, value in data.items() if key != "trial_id"}
        values["input"] = tuple(values["input"])
        values["engine"] = EngineSettings(**values["engine"])
        return cls(**values)


def format_input(shape: tuple[int, int, int]) -> str:
    """Writes (channels, height, width) the way the flags and the files do: ``3x32x32``."""
    return "x".join(str(side) for side in shape)
