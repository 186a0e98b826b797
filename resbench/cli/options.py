"""The flags of the command line that verbs share, or that would make a verb's own list long, and how one is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resbench.errors import InputError

Stem = Annotated[str | None, typer.Option(help="source (as published) or cifar (3x3 stride 1, no max-pool).")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")]
Devices = Annotated[
    int | None, typer.Option(min=1, help="How many train each trial together, with every batch shared out evenly.")
]
Precision = Annotated[
    str | None, typer.Option(help="auto (bf16 where networks are faster in it, else fp32), fp32, tf32 or bf16.")
]
Compile = Annotated[
    str | None,
    typer.Option("--compile", help="torch.compile: auto (on with CUDA), on, off, max-autotune or reduce-overhead."),
]
CudaGraph = Annotated[str | None, typer.Option(help="Replay whole steps from a graph: auto (on with CUDA), on or off.")]
MemoryFormat = Annotated[str | None, typer.Option(help="channels_last or contiguous.")]
Lowering = Annotated[
    str | None, typer.Option(help="Convolutions on small maps as matrix products, on a processor: auto or off.")
]
NoCacheFeatures = Annotated[
    bool,
    typer.Option("--no-cache-features", help="Run a frozen backbone in every step, even where once would do."),
]
Input = Annotated[str | None, typer.Option("--input", help="Channels x height x width, such as 3x224x224.")]
Dataset = Annotated[
    str | None, typer.Option(help="cifar10, fashion_mnist, folder:PATH, filelist:TRAIN.txt,TEST.txt or shapes10.")
]
DataDir = Annotated[Path | None, typer.Option(help="Where downloaded datasets are, or go.")]
TrainImages = Annotated[
    int | None, typer.Option(min=1, help="At most so many training images, evenly over the classes.")
]
TestImages = Annotated[int | None, typer.Option(min=1, help="At most so many test images, evenly over the classes.")]
ConcurrentSeeds = Annotated[
    int | None, typer.Option(min=1, help="Seeds of a network that train at once on a GPU that one leaves idle.")
]
Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="FILE|MODULE",
        help="A Python file or module that registers networks of your own; several: once each.",
    ),
]
OutFolder = Annotated[Path | None, typer.Option("--out", help="Results folder.")]

_RUN = "How trials are watched over"
TrialTimeout = Annotated[
    str | None,
    typer.Option(rich_help_panel=_RUN, help="End a trial that takes longer, such as 90s, 30min or 2h."),
]
StopAfter = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_RUN,
        help="Stop in time, such as 9min, and begin no trial that would not be over by then; the same command goes on.",
    ),
]
OutOfMemory = Annotated[
    str | None,
    typer.Option(
        "--oom",
        rich_help_panel=_RUN,
        help="Out of memory: record it, or accumulate (again, in halves of the batch, and say so).",
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(rich_help_panel=_RUN, help="What a trial may allocate on the host, such as 8GiB (Linux)."),
]
CheckpointEvery = Annotated[
    str | None,
    typer.Option(rich_help_panel=_RUN, help="What may be lost of a trial that is cut short, such as 60s."),
]
Calibrate = Annotated[
    bool | None,
    typer.Option(
        rich_help_panel=_RUN,
        help="Test the instruments first, and measure one trial's speed again three times.",
    ),
]
Estimate = Annotated[
    bool | None,
    typer.Option(
        rich_help_panel=_RUN,
        help="Say first what it is going to cost. Default: where a trial takes more than 20 steps or 20 s of training.",
    ),
]
_CLUSTER = "Several GPUs or machines"
Executor = Annotated[
    str | None,
    typer.Option(rich_help_panel=_CLUSTER, help="local (here, one after another) or ray (one trial a GPU, or a node)."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(rich_help_panel=_CLUSTER, help="auto or HOST:PORT of a running cluster. Default: one is started."),
]
CpusPerTrial = Annotated[
    int | None,
    typer.Option(min=1, rich_help_panel=_CLUSTER, help="Processors and threads a trial. Default: all of a node."),
]
Retries = Annotated[
    int | None,
    typer.Option(min=0, rich_help_panel=_CLUSTER, help="Run a trial again whose worker or node died. Default: 2."),
]
RetryFailed = Annotated[
    bool,
    typer.Option("--retry-failed", rich_help_panel=_RUN, help="Run trials again that failed in this folder before."),
]
TensorBoard = Annotated[
    bool,
    typer.Option(
        "--tensorboard", rich_help_panel=_RUN, help="Write event files for TensorBoard too, in the results folder."
    ),
]


def parse_batch_size(text: str) -> int:
    """Reads one batch size.

    Raises:
        InputError: It is not a positive whole number.
    """
    if not text.strip().isdecimal() or len(text.strip()) > 9 or int(text) < 1:
        raise InputError(f"the batch size {text!r} is not a positive whole number. Give such as 1,64,512.")
    return int(text)
