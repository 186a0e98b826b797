"""The flags that several verbs of the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Stem = Annotated[str | None, typer.Option(help="source (as published) or cifar (3x3 stride 1, no max-pool).")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")]
Precision = Annotated[
    str | None, typer.Option(help="auto (bf16 where the device is faster in it, else fp32), fp32, tf32 or bf16.")
]
Compile = Annotated[
    str | None,
    typer.Option("--compile", help="torch.compile: auto (on with CUDA), on, off, max-autotune or reduce-overhead."),
]
CudaGraph = Annotated[str | None, typer.Option(help="Replay whole steps from a graph: auto (on with CUDA), on or off.")]
MemoryFormat = Annotated[str | None, typer.Option(help="channels_last or contiguous.")]
Input = Annotated[str | None, typer.Option("--input", help="Channels x height x width, such as 3x224x224.")]
DataDir = Annotated[Path | None, typer.Option(help="Where downloaded datasets are, or go.")]
OutFolder = Annotated[Path | None, typer.Option("--out", help="Results folder.")]

_RUN = "How trials are watched over"
TrialTimeout = Annotated[
    str | None,
    typer.Option(rich_help_panel=_RUN, help="End a trial that takes longer, such as 90s, 30min or 2h."),
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
        help="Test the instruments first, and measure the first trial's speed again at the end.",
    ),
]
RetryFailed = Annotated[
    bool,
    typer.Option("--retry-failed", rich_help_panel=_RUN, help="Run trials again that failed in this folder before."),
]
