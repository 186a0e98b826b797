"""The ``[engine]`` and ``[run]`` tables of a suite, resolved on this machine."""

from __future__ import annotations

from resbench.conduct import Conduct
from resbench.devices import resolve_device
from resbench.errors import InputError, unknown
from resbench.planning.several import check_several
from resbench.precision import resolve_precision
from resbench.schema import EngineSettings
from resbench.suite import EngineOptions, RunOptions
from resbench.units import parse_duration, parse_memory

COMPILE_MODES = {
    "off": None,
    "on": "default",
    "max-autotune": "max-autotune-no-cudagraphs",
    "reduce-overhead": "reduce-overhead",
}
"""What ``compile`` may say, and the mode of ``torch.compile`` that it means; ``auto`` is one of the first two."""
SWITCH = ("auto", "on", "off")
WHERE_MEMORY_ENDS = ("record", "accumulate")
"""What ``oom`` may say."""
EXECUTORS = ("local", "ray")
"""What ``executor`` may say."""
MEMORY_FORMATS = ("channels_last", "contiguous")
LOWERINGS = ("auto", "off")


def resolve_engine(options: EngineOptions) -> EngineSettings:
    """Turns every ``auto`` into what this machine has; a precision that depends on the networks stays ``auto``.

    See :func:`~resbench.planning.precision_choice.settle_precision`.

    Raises:
        InputError: A setting is unknown, or this machine does not have it.
    """
    if options.compile not in ("auto", *COMPILE_MODES):
        raise unknown("compile mode", options.compile, ("auto", *COMPILE_MODES))
    if options.cuda_graph not in SWITCH:
        raise unknown("cuda_graph setting", options.cuda_graph, SWITCH)
    if options.memory_format not in MEMORY_FORMATS:
        raise unknown("memory format", options.memory_format, MEMORY_FORMATS)
    if options.lowering not in LOWERINGS:
        raise unknown("lowering", options.lowering, LOWERINGS)
    device = resolve_device(options.device)
    check_several(options, device)
    precision = resolve_precision(options.precision, device)
    on_cuda = device.startswith("cuda")
    mode = COMPILE_MODES[("on" if on_cuda else "off") if options.compile == "auto" else options.compile]
    if options.cuda_graph == "on" and not on_cuda:
        raise InputError(f"cuda_graph is on and the device is {device}: only CUDA has graphs. Leave it at auto.")
    if options.cuda_graph == "on" and mode == "reduce-overhead":
        raise InputError(
            "cuda_graph is on and compile is reduce-overhead, which records graphs of its own. Give one of them: "
            "compile = 'on' with cuda_graph, or compile = 'reduce-overhead' without."
        )
    graph = options.cuda_graph != "off" and on_cuda and mode != "reduce-overhead" and options.devices == 1
    return EngineSettings(
        device,
        precision,
        compile=mode is not None,
        memory_format=options.memory_format,
        cuda_graph=graph,
        compile_mode=mode or "default",
        cache_features=options.cache_features,
        devices=options.devices,
        lowering=options.lowering,
    )


def resolve_conduct(options: RunOptions, *, concurrent_seeds: int = 1) -> Conduct:
    """Reads the amounts of a ``[run]`` table.

    Raises:
        InputError: One of them is wrong.
    """
    if options.oom not in WHERE_MEMORY_ENDS:
        raise unknown("oom setting", options.oom, WHERE_MEMORY_ENDS)
    _check_executor(options, concurrent_seeds)
    timeout, limit = options.trial_timeout, options.memory_limit
    timeout_s = None if timeout is None else parse_duration(timeout, "the trial timeout")
    if timeout_s == 0:
        raise InputError(f"the trial timeout is {timeout!r}: no trial could end well. Give such as 90s, 30min or 2h.")
    return Conduct(
        trial_timeout_s=timeout_s,
        checkpoint_every_s=parse_duration(options.checkpoint_every, "the time between checkpoints"),
        accumulate=options.oom == "accumulate",
        memory_limit_mib=None if limit is None else parse_memory(limit, "the memory limit"),
        concurrent_seeds=concurrent_seeds,
        calibrate=options.calibrate,
        executor=options.executor,
        ray_address=options.ray_address,
        cpus_per_trial=options.cpus_per_trial,
        retries=options.retries,
    )


def _check_executor(options: RunOptions, concurrent_seeds: int) -> None:
    """Checks the options of an executor against each other.

    Raises:
        InputError: There is no such executor, or an option has no meaning with it.
    """
    if options.executor not in EXECUTORS:
        raise unknown("executor", options.executor, EXECUTORS)
    for_ray = {"ray_address": options.ray_address, "cpus_per_trial": options.cpus_per_trial}
    given = [name for name, value in for_ray.items() if value is not None]
    if options.executor == "local" and given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"{flags}: for trials on a Ray cluster. Give --executor ray too, or leave that out.")
    if options.executor == "ray" and concurrent_seeds > 1:
        raise InputError(
            f"concurrent_seeds is {concurrent_seeds} and the executor is ray, which gives each trial a GPU of its own. "
            "Give one of them."
        )
