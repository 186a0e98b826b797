"""What a trial leaves: the columns of ``trials.csv``, ``epochs.csv`` and ``profile.csv``, in their order."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


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
    cached_features: bool | None = None
    """Whether the head of a frozen network was trained on features that were computed once for each image. Throughput,
    ``train_flops_spent`` and the time ledger are then of that training (features count as data, those of test images as
    evaluation); size, latency, memory and ``train_flops_per_image`` are the whole network's. Nothing was cached before
    records had it."""
    batch_size: int | None = None
    micro_batch_size: int | None = None
    """Images of one forward and backward pass. Smaller than ``batch_size`` where memory ran out and ``--oom
    accumulate`` was given: gradients are added up to the same batch, batch norm sees the smaller one, and the speed is
    not comparable."""
    cpu_threads: int | None = None
    concurrent_seeds: int = 1
    """Seeds that trained at once on the device. Beyond 1 the time ledger is of a shared device; speed, latency and
    memory were measured before, alone."""

    # Outcome.
    status: str = "not_run"
    phase: str | None = None
    """Where it ended: plan, data, build, profile, warm-up, train, eval, or done."""
    error: str | None = None
    """The last line of what went wrong; ``logs/<trial_id>.log`` has the whole traceback."""
    exit_code: int | None = None
    """Of a process that ended without writing its record."""
    signal: str | None = None
    """What killed the process, such as ``SIGSEGV``."""
    resumed: int = 0
    """How often the trial went on from a checkpoint of an attempt that was cut short."""
    verdict: str | None = None
    """``valid`` or ``suspect``, with its reasons beside it; empty for a trial that was never judged."""
    verdict_reasons: list[str] = field(default_factory=list)
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
    clock_mhz: float | None = None
    """Mean over the training: a GPU's SM clock, a processor's frequency."""
    temperature_c: float | None = None
    """Highest during the training."""
    power_w: float | None = None
    """Mean over the training, as the device reports it."""
    other_load: float | None = None
    """Mean number of processor threads that other processes kept busy during the training."""

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
    measuring_version: int | None = None
    git_sha: str | None = None
    git_dirty: bool | None = None
    git_diff_hash: str | None = None
    """Of what is not committed, where ``git_dirty``."""
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
