"""What a trial leaves: the columns of ``trials.csv``, ``epochs.csv`` and ``profile.csv``, in their order.

A field says of its column what it means, its unit, and its role. Roles of what describes a trial:

* ``learning``: accuracies are comparable only where it is equal
* ``machine``: times and memory are comparable only where it is equal too
* ``label``: names a trial and decides nothing

Roles of figures: ``counted`` (exact), ``learnt``, ``measured`` (time, rate or memory of the machine), ``outcome``.
A record that repeats a column of :class:`TrialRecord` need not describe it again.
"""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache, partial
from typing import Any


@dataclass(frozen=True)
class Column:
    """What is known of a column besides its values."""

    role: str
    help: str = ""
    unit: str = ""
    """Of stored values; empty for text and plain numbers."""
    of: str = ""
    """What a learning, machine or label column is about: ``network``, ``task``, ``engine`` or ``code``."""
    known: str = ""
    """``planned``: before a trial runs; ``found``: when it runs, and seeds that differ in it are never averaged."""
    name: str = ""
    """What ``--columns``, ``--threshold`` and ``--max`` call a metric."""
    label: str = ""
    """What tables call a metric."""
    shown: str | None = None
    """Its unit in tables; ``unit`` by default."""
    scale: float = 1.0
    """What a stored value is multiplied by to be in that."""
    better: str = ""
    """Which end is better: ``min`` or ``max``."""
    whole_batches: bool = False
    """Whether models whose batches ran in parts cannot be compared in it."""
    summary: bool = True
    """Whether ``summary.csv`` has it."""
    interval: bool = True
    """Whether its seeds are independent draws from one distribution, so that a t-interval says something. The best
    epoch was picked on the test set; the first seed alone pays for what is compiled once and kept."""


def column(role: str, help: str = "", *, default: Any = MISSING, factory: Any = MISSING, **more: Any) -> Any:
    """Declares a field of a record with its :class:`Column`."""
    return field(default=default, default_factory=factory, metadata={"column": Column(role, help, **more)})


learning, machine, label = (partial(column, role) for role in ("learning", "machine", "label"))
counted, learnt, measured, outcome = (partial(column, role) for role in ("counted", "learnt", "measured", "outcome"))


@dataclass
class TrialRecord:
    """One row of ``trials.csv``: what a planned trial was, how it ended, what it cost and what it reached."""

    # Identity.
    trial_id: str = label(
        "The first 12 hexadecimal digits of the sha256 of all that decides a result; alike on all machines."
    )
    model: str = learning("As the registry names it.", of="network", known="planned")
    source: str = label("Where the network comes from.")
    stem: str = learning(
        "``source`` (as published) or ``cifar`` (3x3 stride 1, no max-pool).", of="task", known="planned"
    )
    dataset: str = learning(
        "Its name, never a path; with ``-gray``, ``-rgb`` or ``-subset`` where it was changed.",
        of="task",
        known="planned",
    )
    dataset_fingerprint: str = learning(
        "sha256 of the decoded pixels and labels of both splits.", of="task", known="planned"
    )
    input: str = learning("Channels x height x width of what the network sees.", of="task", known="planned")
    recipe: str = learning("How it was trained.", of="task", known="planned")
    budget: str = learning("What it could spend on training.", of="task", known="planned")
    seed: int = label("Of weights, order of the images and augmentation.")
    weights: str = learning(
        "What it started from: ``random``, ``default`` (torchvision's), or a file's name with its digest.",
        default="random",
        of="network",
        known="planned",
    )
    code: str | None = label(
        "Of a network that is none of resbench's own: the file or package that registered it and a digest of its "
        "source, or timm and its version; part of the ``trial_id``.",
        default=None,
        of="network",
        known="planned",
    )

    # Engine: the settings that ran, which may differ from those asked for (notes say why).
    device_name: str | None = machine("As driver or system call it.", default=None, of="engine", known="found")
    devices: int | None = learning(
        "On how many of them one trial trained, each with its share of every batch (data parallel).",
        default=None,
        of="engine",
        known="planned",
    )
    precision: str | None = learning(
        "``fp32``, ``tf32`` or ``bf16`` (autocast).", default=None, of="engine", known="planned"
    )
    tf32: bool | None = learning(
        "Whether fp32 matrix products may run in TensorFloat-32.", default=None, of="engine", known="found"
    )
    memory_format: str | None = machine(
        "``channels_last`` or ``contiguous``.", default=None, of="engine", known="planned"
    )
    compiled: bool | None = learning("Whether code of ``torch.compile`` ran.", default=None, of="engine", known="found")
    compile_mode: str | None = learning(
        "Of ``torch.compile``; empty where eager code ran.", default=None, of="engine", known="found"
    )
    cuda_graph: bool | None = machine(
        "Whether whole steps were replayed from a CUDA graph.", default=None, of="engine", known="found"
    )
    lowering: str | None = machine(
        "``auto`` where convolutions on small maps ran as matrix products (on a processor, without "
        "``torch.compile``), else ``off``; nothing was lowered before records had it.",
        default=None,
        of="engine",
        known="found",
    )
    cached_features: bool | None = machine(
        "Whether the head of a frozen network was trained on features that were computed once for each image. "
        "Throughput, ``train_flops_spent`` and the time ledger are then of that training (features count as data, "
        "those of test images as evaluation); size, latency, memory and ``train_flops_per_image`` are the whole "
        "network's. Nothing was cached before records had it.",
        default=None,
        of="network",
        known="found",
    )
    batch_size: int | None = learning(
        "Of a training step, and of evaluation.", default=None, unit="images", of="task", known="planned"
    )
    micro_batch_size: int | None = learning(
        "Images of one forward and backward pass. Smaller than ``batch_size`` where memory ran out and ``--oom "
        "accumulate`` was given: gradients are added up to the same batch, batch norm sees the smaller one, and the "
        "speed is not comparable. Several devices share either.",
        default=None,
        unit="images",
        of="task",
    )
    cpu_threads: int | None = machine(
        "That torch uses, in the process of each device.", default=None, unit="threads", of="engine"
    )
    concurrent_seeds: int = label(
        "Seeds that trained at once on the device. Beyond 1 the time ledger is of a shared device; speed, latency "
        "and memory were measured before, alone.",
        default=1,
        unit="seeds",
    )

    # Outcome.
    status: str = outcome(
        "``ok``, ``oom``, ``diverged``, ``timeout``, ``crashed``, ``interrupted`` or ``not_run``.", default="not_run"
    )
    phase: str | None = outcome(
        "Where it ended: plan, data, build, profile, warm-up, train, eval, or done.", default=None
    )
    error: str | None = outcome(
        "The last line of what went wrong; ``logs/<trial_id>.log`` has the whole traceback.", default=None
    )
    exit_code: int | None = outcome("Of a process that ended without writing its record.", default=None)
    signal: str | None = outcome("What killed the process, such as ``SIGSEGV``.", default=None)
    resumed: int = outcome("How often the trial went on from a checkpoint of an attempt that was cut short.", default=0)
    verdict: str | None = outcome(
        "``valid`` or ``suspect``, with its reasons beside it; empty for a trial that was never judged.", default=None
    )
    verdict_reasons: list[str] = outcome("Why it is suspect, joined by semicolons.", factory=list)
    stopped_by: str | None = outcome("The budget's unit that ran out: ep, steps, img, s or flop.", default=None)
    overshoot: float | None = outcome(
        "How far past the budget the last step went, in the budget's own unit.", default=None, unit="the budget's"
    )

    # Cost.
    params: int | None = counted(
        "Parameters, trained or not; buffers are none.",
        default=None,
        unit="parameters",
        name="params",
        label="params",
        shown="M",
        scale=1e-06,
        better="min",
    )
    trainable_params: int | None = counted(
        "Those that are trained.",
        default=None,
        unit="parameters",
        label="trained params",
        shown="M",
        scale=1e-06,
        better="min",
    )
    macs: int | None = counted(
        "Multiply-adds of one image's forward pass in convolutions, linear layers and other matrix products "
        "(FlopCounterMode / 2); empty, with a note, if they cannot be counted.",
        default=None,
        unit="MACs",
        name="macs",
        label="MACs",
        shown="M",
        scale=1e-06,
        better="min",
    )
    macs_fvcore: int | None = counted(
        "fvcore's own total for the same image, which also counts batch norm and adaptive pooling.",
        default=None,
        unit="MACs",
        label="MACs by fvcore",
        shown="M",
        scale=1e-06,
        better="min",
        summary=False,
    )
    forward_flops: int | None = counted(
        "Of one image's forward pass: twice ``macs``.",
        default=None,
        unit="FLOPs",
        label="forward FLOPs",
        shown="M",
        scale=1e-06,
        better="min",
    )
    train_flops_per_image: int | None = counted(
        "Of one image forward and backward, counted; not three times the forward pass.",
        default=None,
        unit="FLOPs",
        label="training FLOPs an image",
        shown="M",
        scale=1e-06,
        better="min",
    )
    activations: int | None = counted(
        "Output elements of convolutions and linear layers for one image (fvcore).",
        default=None,
        unit="elements",
        label="activations",
        shown="M",
        scale=1e-06,
        better="min",
    )
    peak_memory_allocated_mib: float | None = measured(
        "Training peak, own pass. CUDA: allocator. CPU: resident set above its level before the build. Of several "
        "devices that of the one which takes most, with its share of the batch.",
        default=None,
        unit="MiB",
        name="memory",
        label="train memory",
        better="min",
        whole_batches=True,
    )
    peak_memory_reserved_mib: float | None = measured(
        "What the CUDA allocator had taken of the device at its peak; empty on a processor.", default=None, unit="MiB"
    )
    inference_memory_mib: float | None = measured(
        "Peak of a forward pass of one batch in eval mode, measured as the training peak.",
        default=None,
        unit="MiB",
        name="inference_memory",
        label="inference memory",
        better="min",
    )
    train_images_per_second: float | None = measured(
        "Images trained on, over the train clock (data + step).",
        default=None,
        unit="images/s",
        name="throughput",
        label="train",
        better="max",
        whole_batches=True,
    )
    inference_images_per_second: float | None = measured(
        "Images of a batch over the median time of its forward pass in eval mode: on one device, of its share.",
        default=None,
        unit="images/s",
        name="inference",
        label="inference",
        better="max",
    )
    latency_ms_p50: float | None = measured(
        "Forward pass of one image in eval mode.",
        default=None,
        unit="ms",
        name="latency",
        label="latency p50",
        better="min",
    )
    latency_ms_p90: float | None = measured(
        "Of the same calls, what nine of ten do not exceed.", default=None, unit="ms"
    )
    step_ms_p50: float | None = measured(
        "Data + forward + backward + update of one training batch.",
        default=None,
        unit="ms",
        name="step",
        label="step p50",
        better="min",
        whole_batches=True,
    )
    step_ms_p90: float | None = measured(
        "Of the same steps, what nine of ten do not exceed.",
        default=None,
        unit="ms",
        label="step p90",
        better="min",
        whole_batches=True,
    )
    forward_ms: float | None = measured(
        "Forward pass and loss of one fixed training batch, median.",
        default=None,
        unit="ms",
        label="forward",
        better="min",
        whole_batches=True,
    )
    backward_ms: float | None = measured(
        "Backward pass of the same batch, median.",
        default=None,
        unit="ms",
        label="backward",
        better="min",
        whole_batches=True,
    )
    mfu: float | None = measured(
        "Training FLOPs a second over the dense peak of the devices; empty where the peak is not known.",
        default=None,
        unit="fraction",
    )
    energy_j: float | None = measured(
        "Drawn by the whole GPU, or all of them, from the first step to the last evaluation, by NVML; else empty.",
        default=None,
        unit="J",
    )
    clock_mhz: float | None = outcome(
        "Mean over the training: a GPU's SM clock, a processor's frequency.", default=None, unit="MHz"
    )
    temperature_c: float | None = outcome("Highest during the training.", default=None, unit="°C")
    power_w: float | None = outcome("Mean over the training, as the device reports it.", default=None, unit="W")
    other_load: float | None = outcome(
        "Mean number of processor threads that other processes kept busy during the training.",
        default=None,
        unit="threads",
    )

    # Result.
    test_accuracy: float | None = learnt(
        "After the last epoch, over all test images: the headline.",
        default=None,
        unit="fraction",
        name="accuracy",
        label="test accuracy",
        shown="%",
        scale=100.0,
        better="max",
    )
    best_test_accuracy: float | None = learnt(
        "The best epoch's, chosen on the test set itself and therefore optimistic.",
        default=None,
        unit="fraction",
        label="best epoch, optimistic",
        shown="%",
        scale=100.0,
        better="max",
        interval=False,
    )
    train_accuracy: float | None = learnt(
        "Over the training images of the last epoch, as they were trained on: augmented.",
        default=None,
        unit="fraction",
        label="train accuracy",
        shown="%",
        scale=100.0,
        better="max",
    )
    test_loss: float | None = learnt(
        "Mean cross-entropy over all test images, without label smoothing.",
        default=None,
        unit="nats",
        label="test loss",
        shown="",
        better="min",
    )
    epochs: float | None = outcome(
        "Passes over the training set; the last may be a fraction.", default=None, unit="epochs"
    )
    steps: int | None = outcome(
        "Optimizer steps that were taken; of a diverged trial, the step whose loss was no number.",
        default=None,
        unit="steps",
    )
    images_seen: int | None = outcome("Training images, each as often as it was seen.", default=None, unit="images")
    train_flops_spent: float | None = outcome(
        "``images_seen`` times ``train_flops_per_image``; less where features are cached.", default=None, unit="FLOPs"
    )

    # Time ledger: the parts add up to wall_s.
    build_s: float | None = measured(
        "Drawing the weights from the seed, and moving the images to the device.", default=None, unit="s"
    )
    profile_s: float | None = measured(
        "Building the network to measure its size, memory and latency.", default=None, unit="s"
    )
    compile_s: float | None = measured(
        "Compiling, tuning and recording graphs, where code is compiled.", default=None, unit="s"
    )
    warmup_s: float | None = measured("The same, where it is not.", default=None, unit="s")
    data_s: float | None = measured("Waiting for batches: part of the train clock.", default=None, unit="s")
    step_s: float | None = measured("Forward, loss, backward, update: part of the train clock.", default=None, unit="s")
    eval_s: float | None = measured("Evaluation on the test images.", default=None, unit="s")
    checkpoint_s: float | None = measured("Writing checkpoints.", default=None, unit="s")
    other_s: float | None = measured("The rest, such as loading the decoded images.", default=None, unit="s")
    wall_s: float | None = measured(
        "From the trial's first line to its last. Starting its process and importing torch came before.",
        default=None,
        unit="s",
        label="wall time",
        better="min",
        interval=False,
    )

    # Provenance.
    measuring_version: int | None = machine(
        "Of the code that measures: times and memory of two versions are not compared.", default=None, of="engine"
    )
    git_sha: str | None = label(
        "The commit that resbench ran from; in a copy without its repository the one that RESBENCH_GIT_SHA names.",
        default=None,
        of="code",
    )
    git_dirty: bool | None = label("Whether something was not committed.", default=None, of="code")
    git_diff_hash: str | None = label("Of what is not committed, where ``git_dirty``.", default=None, of="code")
    resbench: str | None = label("Its version.", default=None, of="code")
    torch: str | None = machine("Its version.", default=None, of="engine")
    torchvision: str | None = label("Its version.", default=None, of="code")
    cuda: str | None = machine(
        "The version that torch was built for; empty where there is no CUDA.", default=None, of="engine"
    )
    cudnn: str | None = machine("Its version.", default=None, of="engine")
    driver: str | None = machine("NVIDIA's, its version.", default=None, of="engine")
    python: str | None = label("Its version.", default=None, of="code")
    host_cpu: str | None = machine("The processor's name and its threads.", default=None, of="engine")
    node: str | None = label(
        "Of a cluster: its node that ran the trial. Empty where the trial ran on the machine that recorded it.",
        default=None,
    )
    started_at: str | None = label("UTC, ISO 8601.", default=None)

    notes: list[str] = outcome(
        "What a reader of the row must know: a fallback, a disagreement of counters, why a figure is missing.",
        factory=list,
    )

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One row of ``epochs.csv``: where a trial stood at an evaluation."""

    trial_id: str
    model: str
    stem: str
    seed: int
    epoch: float = outcome("Passes over the training set so far; the last may be a fraction.", unit="epochs")
    steps: int = outcome("Optimizer steps so far.")
    images_seen: int = outcome("Training images so far.")
    budget_fraction: float = outcome("How much of the budget was spent by then.", unit="fraction")
    learning_rate: float = outcome("Of the last step.")
    train_loss: float = learnt(
        "Mean over the training images of this epoch, with the recipe's label smoothing.", unit="nats"
    )
    train_accuracy: float = learnt("Over the training images of this epoch, as they were trained on.")
    test_loss: float
    test_accuracy: float = learnt("After this epoch, over all test images.")
    train_clock_s: float = measured(
        "Data + step time since training began.",
        unit="s",
        name="time",
        label="train time",
        better="min",
        whole_batches=True,
    )
    eval_s: float = measured("Of this evaluation.")
    train_flops_spent: float | None = outcome("So far; None if they cannot be counted.")
    train_images_per_second: float = measured("Over this epoch alone.")

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ProfileRecord:
    """One row of ``profile.csv``: what a network costs at one batch size, before any training."""

    model: str
    source: str
    stem: str
    input: str
    num_classes: int = learning("Width of the logits.", of="task")
    batch_size: int = learning("That goes through the network at once.", of="task")
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
    inference_ms_p50: float | None = measured("Forward pass of one batch in eval mode.", unit="ms")
    inference_ms_p90: float | None = measured("Of the same calls, what nine of ten do not exceed.", unit="ms")
    inference_images_per_second: float | None
    forward_ms: float | None
    backward_ms: float | None
    train_images_per_second: float | None = measured("Of forward + backward + update on one fixed batch.")
    inference_memory_mib: float | None
    peak_memory_allocated_mib: float | None
    peak_memory_reserved_mib: float | None
    trial_id: str | None = label("Of the trial that measured it; empty for ``resbench profile``.", default=None)

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


@cache
def describe(record: type) -> dict[str, Column]:
    """Returns what is known of each column of a record type, in their order.

    Raises:
        KeyError: A field is described neither there nor in :class:`TrialRecord`.
    """
    own = {each.name: each.metadata.get("column") for each in fields(record)}
    return {name: found or describe(TrialRecord)[name] for name, found in own.items()}
