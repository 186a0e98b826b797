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
OutFolder = Annotated[Path | None, typer.Option("--out", help="Results folder.")]
