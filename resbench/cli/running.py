"""The verbs that run something, ``bench``, ``profile``, ``reproduce``: they parse, call, print, set the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resbench.cli.exits import FAILED_TRIALS, with_exit_codes
from resbench.cli.imports import import_told
from resbench.cli.options import (
    Calibrate,
    CheckpointEvery,
    Compile,
    ConcurrentSeeds,
    CpusPerTrial,
    CudaGraph,
    DataDir,
    Dataset,
    Device,
    Devices,
    Estimate,
    Executor,
    Imports,
    Input,
    Lowering,
    MemoryFormat,
    MemoryLimit,
    NoCacheFeatures,
    OutFolder,
    OutOfMemory,
    Precision,
    RayAddress,
    Retries,
    RetryFailed,
    Stem,
    StopAfter,
    TensorBoard,
    TestImages,
    TrainImages,
    TrialTimeout,
    parse_batch_size,
)
from resbench.console import WHOLE, complain, out, print_table, say


@with_exit_codes
def bench(
    suite: Annotated[
        str | None,
        typer.Argument(
            help="A suite's name or TOML file; `sources` for every source's own experiment. "
            "Default: cifar10 where CUDA is, smoke elsewhere."
        ),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(help="Networks, comma-separated; wildcards are welcome, such as resnet* or timm:resnet*."),
    ] = None,
    imports: Imports = None,
    stem: Stem = None,
    dataset: Dataset = None,
    data_dir: DataDir = None,
    train_images: TrainImages = None,
    test_images: TestImages = None,
    input_shape: Input = None,
    recipe: Annotated[str | None, typer.Option(help="How to train; `common` is the same for every network.")] = None,
    budget: Annotated[str | None, typer.Option(help="26ep, 2000steps, 500000img, 10min, 90s or 5e15flop.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images a step.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds, from 0.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="For networks that take them: random, default or a state-dict file.")
    ] = None,
    device: Device = None,
    devices: Devices = None,
    precision: Precision = None,
    compile_mode: Compile = None,
    cuda_graph: CudaGraph = None,
    memory_format: MemoryFormat = None,
    lowering: Lowering = None,
    no_cache_features: NoCacheFeatures = False,
    concurrent_seeds: ConcurrentSeeds = None,
    stop_after: StopAfter = None,
    trial_timeout: TrialTimeout = None,
    oom: OutOfMemory = None,
    memory_limit: MemoryLimit = None,
    checkpoint_every: CheckpointEvery = None,
    calibrate: Calibrate = None,
    estimate: Estimate = None,
    executor: Executor = None,
    ray_address: RayAddress = None,
    cpus_per_trial: CpusPerTrial = None,
    retries: Retries = None,
    retry_failed: RetryFailed = False,
    tensorboard: TensorBoard = False,
    out_folder: OutFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and what it is going to cost, and stop.")
    ] = False,
) -> None:
    """Train every network of a suite under one budget and record what each costs and reaches.

    Flags replace what the suite file says. The same command goes on where it was
    cut short: what ended is not run again, what was interrupted continues.
    """
    from resbench.cli.suites import bench as run_bench
    from resbench.cli.suites import default_suite

    failed = run_bench(
        default_suite(device) if suite is None else suite,
        {
            "models": _split(models),
            "imports": [*imports] if imports else None,
            "stem": stem,
            "dataset": dataset,
            "train_images": train_images,
            "test_images": test_images,
            "input": input_shape,
            "recipe": recipe,
            "budget": budget,
            "batch_size": batch_size,
            "seeds": seeds,
            "weights": weights,
            "device": device,
            "devices": devices,
            "precision": precision,
            "compile": compile_mode,
            "cuda_graph": cuda_graph,
            "memory_format": memory_format,
            "lowering": lowering,
            "cache_features": False if no_cache_features else None,
            "concurrent_seeds": concurrent_seeds,
            "trial_timeout": trial_timeout,
            "oom": oom,
            "memory_limit": memory_limit,
            "checkpoint_every": checkpoint_every,
            "calibrate": calibrate,
            "estimate": estimate,
            "executor": executor,
            "ray_address": ray_address,
            "cpus_per_trial": cpus_per_trial,
            "retries": retries,
        },
        data_dir=data_dir,
        out_folder=out_folder,
        retry_failed=retry_failed,
        tensorboard=tensorboard,
        stop_after=stop_after,
        dry_run=dry_run,
    )
    if failed:
        raise typer.Exit(FAILED_TRIALS)


@with_exit_codes
def profile(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Networks; wildcards are welcome, such as 'timm:resnet*'. Default: all of the registry."),
    ] = None,
    imports: Imports = None,
    stem: Stem = "source",
    input_shape: Input = "3x32x32",
    num_classes: Annotated[int, typer.Option(min=1, help="Width of the logits.")] = 10,
    batch_size: Annotated[str, typer.Option(help="Comma-separated, such as 1,64,512.")] = "64",
    device: Device = "auto",
    precision: Precision = "auto",
    compile_mode: Compile = "off",
    cuda_graph: CudaGraph = "off",
    memory_format: MemoryFormat = "channels_last",
    lowering: Lowering = "auto",
    out_folder: OutFolder = None,
) -> None:
    """Measure what networks cost before any training: size, MACs, latency, throughput, memory.

    Each network and batch size is measured in a process of its own.
    """
    from resbench.profiling import profile_models
    from resbench.report.profiles import profile_table

    import_told(imports)
    frame = profile_models(
        models or ["*"],
        stem=stem or "source",
        input_shape=input_shape or "3x32x32",
        num_classes=num_classes,
        batch_sizes=[parse_batch_size(text) for text in batch_size.split(",")],
        engine={
            "device": device or "auto",
            "precision": precision or "auto",
            "compile": compile_mode or "off",
            "cuda_graph": cuda_graph or "off",
            "memory_format": memory_format or "channels_last",
            "lowering": lowering or "auto",
        },
        out=out_folder,
        on_message=complain,
    )
    print_table(profile_table(frame, width=None if out.is_terminal else WHOLE))
    if out_folder is not None:
        from resbench.report import write_report

        write_report(out_folder)
        say(f"Tables, plots and records: {out_folder}")
    if frame.attrs["failed"]:
        raise typer.Exit(FAILED_TRIALS)


@with_exit_codes
def reproduce(
    folder: Annotated[Path, typer.Argument(help="A results folder.")],
    trial_id: Annotated[str, typer.Argument(help="A trial's id there, or the beginning of it.")],
    dataset: Annotated[str | None, typer.Option(help="Where its data are now, if they have moved.")] = None,
    data_dir: DataDir = None,
    weights: Annotated[str | None, typer.Option(help="Where its weights file is now, if it has moved.")] = None,
    imports: Imports = None,
    out_folder: OutFolder = None,
) -> None:
    """Run a stored trial again from its own record; exit code 1 where it does not fall within noise.

    4 where there is nothing to hold the rerun against, 3 where the rerun fails.
    """
    from resbench.rerun.reproduce import reproduce as rerun

    import_told(imports)
    code = rerun(folder, trial_id, dataset=dataset, data_dir=data_dir, weights=weights, out_folder=out_folder)
    raise typer.Exit(code)


def _split(names: str | None) -> list[str] | None:
    """Splits a comma-separated list."""
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]
