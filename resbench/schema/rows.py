"""What a trial leaves: the columns of ``trials.csv``, ``epochs.csv`` and ``profile.csv``, in their order."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass
class TrialRecord:
    """One row of ``trials.csv``: what a planned trial was, how it ended, what it cost and what it reached."""

    # Identity.
    trial_id: str
    """The first 12 hexadecimal digits of the sha256 of all that decides a result; alike on all machines."""
    model: str
    """As the registry names it."""
    source: str
    """Where the network comes from."""
    stem: str
    """``source`` (as published) or ``cifar`` (3x3 stride 1, no max-pool)."""
    dataset: str
    """Its name, never a path; with ``-gray``, ``-rgb`` or ``-subset`` where it was changed."""
    dataset_fingerprint: str
    """sha256 of the decoded pixels and labels of both splits."""
    input: str
    """Channels x height x width of what the network sees."""
    recipe: str
    """How it was trained."""
    budget: str
    """What it could spend on training."""
    seed: int
    """Of weights, order of the images and augmentation."""
    weights: str = "random"
    """What it started from: ``random``, ``default`` (torchvision's), or a file's name with its digest."""
    code: str | None = None
    """Of a network that is none of resbench's own: the file or package that registered it and a digest of its source,
    or timm and its version; part of the ``trial_id``."""

    # Engine: the settings that ran, which may differ from those asked for (notes say why).
    device_name: str | None = None
    """As driver or system call it."""
    devices: int | None = None
    """On how many of them one trial trained, each with its share of every batch (data parallel)."""
    precision: str | None = None
    """``fp32``, ``tf32`` or ``bf16`` (autocast)."""
    tf32: bool | None = None
    """Whether fp32 matrix products may run in TensorFloat-32."""
    memory_format: str | None = None
    """``channels_last`` or ``contiguous``."""
    compiled: bool | None = None
    """Whether code of ``torch.compile`` ran."""
    compile_mode: str | None = None
    """Of ``torch.compile``; empty where eager code ran."""
    cuda_graph: bool | None = None
    """Whether whole steps were replayed from a CUDA graph."""
    lowering: str | None = None
    """``auto`` where convolutions on small maps ran as matrix products (on a processor, without ``torch.compile``),
    else ``off``; nothing was lowered before records had it."""
    cached_features: bool | None = None
    """Whether the head of a frozen network was trained on features that were computed once for each image. Throughput,
    ``train_flops_spent`` and the time ledger are then of that training (features count as data, those of test images as
    evaluation); size, latency, memory and ``train_flops_per_image`` are the whole network's. Nothing was cached before
    records had it."""
    batch_size: int | None = None
    """Of a training step, and of evaluation."""
    micro_batch_size: int | None = None
    """Images of one forward and backward pass. Smaller than ``batch_size`` where memory ran out and ``--oom
    accumulate`` was given: gradients are added up to the same batch, batch norm sees the smaller one, and the speed is
    not comparable. Several devices share either."""
    cpu_threads: int | None = None
    """That torch uses, in the process of each device."""
    concurrent_seeds: int = 1
    """Seeds that trained at once on the device. Beyond 1 the time ledger is of a shared device; speed, latency and
    memory were measured before, alone."""

    # Outcome.
    status: str = "not_run"
    """``ok``, ``oom``, ``diverged``, ``timeout``, ``crashed``, ``interrupted`` or ``not_run``."""
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
    """Why it is suspect, joined by semicolons."""
    stopped_by: str | None = None
    """The budget's unit that ran out: ep, steps, img, s or flop."""
    overshoot: float | None = None
    """How far past the budget the last step went, in the budget's own unit."""

    # Cost.
    params: int | None = None
    """Parameters, trained or not; buffers are none."""
    trainable_params: int | None = None
    """Those that are trained."""
    macs: int | None = None
    """Multiply-adds of one image's forward pass in convolutions, linear layers and other matrix products
    (FlopCounterMode / 2); empty, with a note, if they cannot be counted."""
    macs_fvcore: int | None = None
    """fvcore's own total for the same image, which also counts batch norm and adaptive pooling."""
    forward_flops: int | None = None
    """Of one image's forward pass: twice ``macs``."""
    train_flops_per_image: int | None = None
    """Of one image forward and backward, counted; not three times the forward pass."""
    activations: int | None = None
    """Output elements of convolutions and linear layers for one image (fvcore)."""
    peak_memory_allocated_mib: float | None = None
    """Training peak, own pass. CUDA: allocator. CPU: resident set above its level before the build. Of several devices
    that of the one which takes most, with its share of the batch."""
    peak_memory_reserved_mib: float | None = None
    """What the CUDA allocator had taken of the device at its peak; empty on a processor."""
    inference_memory_mib: float | None = None
    """Peak of a forward pass of one batch in eval mode, measured as the training peak."""
    train_images_per_second: float | None = None
    """Images trained on, over the train clock (data + step)."""
    inference_images_per_second: float | None = None
    """Images of a batch over the median time of its forward pass in eval mode: on one device, of its share."""
    latency_ms_p50: float | None = None
    """Forward pass of one image in eval mode."""
    latency_ms_p90: float | None = None
    """Of the same calls, what nine of ten do not exceed."""
    step_ms_p50: float | None = None
    """Data + forward + backward + update of one training batch."""
    step_ms_p90: float | None = None
    """Of the same steps, what nine of ten do not exceed."""
    forward_ms: float | None = None
    """Forward pass and loss of one fixed training batch, median."""
    backward_ms: float | None = None
    """Backward pass of the same batch, median."""
    mfu: float | None = None
    """Training FLOPs a second over the dense peak of the devices; empty where the peak is not known."""
    energy_j: float | None = None
    """Drawn by the whole GPU, or all of them, from the first step to the last evaluation, by NVML; else empty."""
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
    """Over the training images of the last epoch, as they were trained on: augmented."""
    test_loss: float | None = None
    """Mean cross-entropy over all test images, without label smoothing."""
    epochs: float | None = None
    """Passes over the training set; the last may be a fraction."""
    steps: int | None = None
    """Optimizer steps that were taken; of a diverged trial, the step whose loss was no number."""
    images_seen: int | None = None
    """Training images, each as often as it was seen."""
    train_flops_spent: float | None = None
    """``images_seen`` times ``train_flops_per_image``; less where features are cached."""

    # Time ledger: the parts add up to wall_s.
    build_s: float | None = None
    """Drawing the weights from the seed, and moving the images to the device."""
    profile_s: float | None = None
    """Building the network to measure its size, memory and latency."""
    compile_s: float | None = None
    """Compiling, tuning and recording graphs, where code is compiled."""
    warmup_s: float | None = None
    """The same, where it is not."""
    data_s: float | None = None
    """Waiting for batches: part of the train clock."""
    step_s: float | None = None
    """Forward, loss, backward, update: part of the train clock."""
    eval_s: float | None = None
    """Evaluation on the test images."""
    checkpoint_s: float | None = None
    """Writing checkpoints."""
    other_s: float | None = None
    """The rest, such as loading the decoded images."""
    wall_s: float | None = None
    """From the trial's first line to its last. Starting its process and importing torch came before."""

    # Provenance.
    measuring_version: int | None = None
    """Of the code that measures: times and memory of two versions are not compared."""
    git_sha: str | None = None
    """The commit that resbench ran from; in a copy without its repository the one that RESBENCH_GIT_SHA names."""
    git_dirty: bool | None = None
    """Whether something was not committed."""
    git_diff_hash: str | None = None
    """Of what is not committed, where ``git_dirty``."""
    resbench: str | None = None
    """Its version."""
    torch: str | None = None
    """Its version."""
    torchvision: str | None = None
    """Its version."""
    cuda: str | None = None
    """The version that torch was built for; empty where there is no CUDA."""
    cudnn: str | None = None
    """Its version."""
    driver: str | None = None
    """NVIDIA's, its version."""
    python: str | None = None
    """Its version."""
    host_cpu: str | None = None
    """The processor's name and its threads."""
    node: str | None = None
    """Of a cluster: its node that ran the trial. Empty where the trial ran on the machine that recorded it."""
    started_at: str | None = None
    """UTC, ISO 8601."""

    notes: list[str] = field(default_factory=list)
    """What a reader of the row must know: a fallback, a disagreement of counters, why a figure is missing."""

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
    """Optimizer steps so far."""
    images_seen: int
    """Training images so far."""
    budget_fraction: float
    """How much of the budget was spent by then."""
    learning_rate: float
    """Of the last step."""
    train_loss: float
    """Mean over the training images of this epoch, with the recipe's label smoothing."""
    train_accuracy: float
    """Over the training images of this epoch, as they were trained on."""
    test_loss: float
    test_accuracy: float
    """After this epoch, over all test images."""
    train_clock_s: float
    """Data + step time since training began."""
    eval_s: float
    """Of this evaluation."""
    train_flops_spent: float | None
    """So far; None if they cannot be counted."""
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
    """Width of the logits."""
    batch_size: int
    """That goes through the network at once."""
    device_name: str
    precision: str
    memory_format: str
    compiled: bool
    compile_mode: str | None
    cuda_graph: bool
    lowering: str
    params: int
    trainable_params: int
    macs: int | None
    macs_fvcore: int | None
    forward_flops: int | None
    train_flops_per_image: int | None
    activations: int | None
    latency_ms_p50: float | None
    latency_ms_p90: float | None
    inference_ms_p50: float | None
    """Forward pass of one batch in eval mode."""
    inference_ms_p90: float | None
    """Of the same calls, what nine of ten do not exceed."""
    inference_images_per_second: float | None
    forward_ms: float | None
    backward_ms: float | None
    train_images_per_second: float | None
    """Of forward + backward + update on one fixed batch."""
    inference_memory_mib: float | None
    peak_memory_allocated_mib: float | None
    peak_memory_reserved_mib: float | None
    trial_id: str | None = None
    """Of the trial that measured it; empty for ``resbench profile``."""

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
    "lowering",
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
