"""What a trial is and what it leaves: plain data, in the order in which the files show it.

Every column of ``trials.csv``, ``epochs.csv`` and ``profile.csv`` is a field of a dataclass here, so there is
one place that says which columns exist, what they mean and what unit they have. A unit stands in the name
(``_s``, ``_ms``, ``_mib``, ``_j``); accuracies are fractions in 0..1; one multiply-add is one MAC and two FLOPs.
A figure that was not measured is ``None`` (an empty cell), never 0.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

SCHEMA_VERSION = 1
"""Version of the events in ``records.jsonl``; raise it when a field changes its name or meaning."""

STATUSES = ("ok", "oom", "diverged", "timeout", "crashed", "interrupted", "not_run")
"""How a planned trial can end; ``ok`` is the only one whose figures may enter a mean."""


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

    @cached_property
    def trial_id(self) -> str:
        """The first 12 hexadecimal digits of the sha256 of every field, so it is stable across machines.

        A setting that is younger than the records counts where it is not at its default: ids of before stay.
        """
        data = asdict(self)
        if data["engine"]["compile_mode"] == "default":
            del data["engine"]["compile_mode"]
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


@dataclass
class TrialRecord:
    """One row of ``trials.csv``: what a planned trial was, how it ended, what it cost and what it reached."""

    # Identity.
    trial_id: str
    model: str
    source: str
    stem: str
    dataset: str
    dataset_fingerprint: str
    input: str
    recipe: str
    budget: str
    seed: int
    weights: str = "random"

    # Engine: the settings that ran, which may differ from those asked for (notes say why).
    device_name: str | None = None
    precision: str | None = None
    tf32: bool | None = None
    memory_format: str | None = None
    compiled: bool | None = None
    compile_mode: str | None = None
    """Of ``torch.compile``; empty where eager code ran."""
    cuda_graph: bool | None = None
    """Whether whole steps were replayed from a CUDA graph."""
    batch_size: int | None = None
    cpu_threads: int | None = None
    concurrent_seeds: int = 1
    """Seeds that trained at once on the device. Beyond 1 the time ledger is of a shared device; speed, latency and
    memory were measured before, alone."""

    # Outcome.
    status: str = "not_run"
    phase: str | None = None
    """Where it ended: plan, data, build, profile, warm-up, train, eval, or done."""
    error: str | None = None
    stopped_by: str | None = None
    """The budget's unit that ran out: ep, steps, img, s or flop."""
    overshoot: float | None = None
    """How far past the budget the last step went, in the budget's own unit."""

    # Cost.
    params: int | None = None
    trainable_params: int | None = None
    macs: int | None = None
    """Multiply-adds of one image's forward pass in convolutions and linear layers (FlopCounterMode / 2)."""
    macs_fvcore: int | None = None
    """fvcore's own total for the same image, which also counts batch norm and adaptive pooling."""
    forward_flops: int | None = None
    train_flops_per_image: int | None = None
    activations: int | None = None
    """Output elements of convolutions and linear layers for one image (fvcore)."""
    peak_memory_allocated_mib: float | None = None
    """Training peak, own pass. CUDA: allocator. CPU: resident set above its level before the build."""
    peak_memory_reserved_mib: float | None = None
    inference_memory_mib: float | None = None
    train_images_per_second: float | None = None
    """Images trained on, over the train clock (data + step)."""
    inference_images_per_second: float | None = None
    latency_ms_p50: float | None = None
    """Forward pass of one image in eval mode."""
    latency_ms_p90: float | None = None
    step_ms_p50: float | None = None
    """Data + forward + backward + update of one training batch."""
    step_ms_p90: float | None = None
    forward_ms: float | None = None
    """Forward pass and loss of one fixed training batch, median."""
    backward_ms: float | None = None
    """Backward pass of the same batch, median."""
    mfu: float | None = None
    """Training FLOPs a second over the device's dense peak; empty where the peak is not known."""
    energy_j: float | None = None

    # Result.
    test_accuracy: float | None = None
    """After the last epoch, over all test images: the headline."""
    best_test_accuracy: float | None = None
    """The best epoch's, chosen on the test set itself and therefore optimistic."""
    train_accuracy: float | None = None
    test_loss: float | None = None
    epochs: float | None = None
    steps: int | None = None
    images_seen: int | None = None
    train_flops_spent: float | None = None

    # Time ledger: the parts add up to wall_s.
    build_s: float | None = None
    profile_s: float | None = None
    compile_s: float | None = None
    warmup_s: float | None = None
    data_s: float | None = None
    step_s: float | None = None
    eval_s: float | None = None
    checkpoint_s: float | None = None
    other_s: float | None = None
    wall_s: float | None = None

    # Provenance.
    git_sha: str | None = None
    git_dirty: bool | None = None
    resbench: str | None = None
    torch: str | None = None
    torchvision: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    driver: str | None = None
    python: str | None = None
    host_cpu: str | None = None
    started_at: str | None = None

    notes: list[str] = field(default_factory=list)
    """What a reader of the row must know: a fallback, a disagreement of counters."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class EpochRecord:
    """One row of ``epochs.csv``: where a trial stood at an evaluation."""

    trial_id: str
    model: str
    stem: str
    seed: int
    epoch: float
    """Passes over the training set so far; the last may be a fraction."""
    steps: int
    images_seen: int
    budget_fraction: float
    learning_rate: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    train_clock_s: float
    """Data + step time since training began."""
    eval_s: float
    train_flops_spent: float
    train_images_per_second: float
    """Over this epoch alone."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class ProfileRecord:
    """One row of ``profile.csv``: what a network costs at one batch size, before any training."""

    model: str
    source: str
    stem: str
    input: str
    num_classes: int
    batch_size: int
    device_name: str
    precision: str
    memory_format: str
    compiled: bool
    compile_mode: str | None
    cuda_graph: bool
    params: int
    trainable_params: int
    macs: int
    macs_fvcore: int | None
    forward_flops: int
    train_flops_per_image: int
    activations: int | None
    latency_ms_p50: float | None
    latency_ms_p90: float | None
    inference_ms_p50: float | None
    """Forward pass of one batch in eval mode."""
    inference_ms_p90: float | None
    inference_images_per_second: float | None
    forward_ms: float | None
    backward_ms: float | None
    train_images_per_second: float | None
    """Of forward + backward + update on one fixed batch."""
    inference_memory_mib: float | None
    peak_memory_allocated_mib: float | None
    peak_memory_reserved_mib: float | None
    trial_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        return asdict(self)


PROFILED = (
    "params",
    "trainable_params",
    "macs",
    "macs_fvcore",
    "forward_flops",
    "train_flops_per_image",
    "activations",
    "compiled",
    "compile_mode",
    "cuda_graph",
    "latency_ms_p50",
    "latency_ms_p90",
    "inference_images_per_second",
    "forward_ms",
    "backward_ms",
    "inference_memory_mib",
    "peak_memory_allocated_mib",
    "peak_memory_reserved_mib",
)
"""What a trial's row takes over from its profile."""


def columns(record: type[TrialRecord] | type[EpochRecord] | type[ProfileRecord]) -> list[str]:
    """Returns the column names of the CSV file that a record type fills, in order."""
    return [column.name for column in fields(record)]
