"""What distorts measurements in this process and on this machine: debugging aids, overrides, a battery.

Nothing here changes anything. The command line warns of it before it measures, and a trial's process puts on record
what holds there.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

_CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_SETS_OWN_PACE = ("intel_pstate", "amd-pstate-epp")
"""Drivers whose ``powersave`` is what others call ``schedutil``: it follows the load."""


def _is_set(value: str) -> bool:
    """Says whether a switch is on: torch and CUDA take 0 and nothing for off."""
    return value.strip().lower() not in {"", "0", "false", "off", "no", "n"}


def _is_given(value: str) -> bool:
    """Says whether there is any value at all."""
    return bool(value.strip())


_VARIABLES: dict[str, tuple[Callable[[str], bool], str]] = {
    "CUDA_LAUNCH_BLOCKING": (_is_set, "every kernel is waited for, so nothing overlaps and steps are slower"),
    "CUDA_DEVICE_MAX_CONNECTIONS": (_is_given, "it changes which kernels may run at once"),
    "CUDA_FORCE_PTX_JIT": (_is_set, "kernels are compiled anew from PTX and may be slower than the built ones"),
    "CUDA_INJECTION64_PATH": (_is_given, "a profiler is in every CUDA call, and each takes longer"),
    "NVTX_INJECTION64_PATH": (_is_given, "a profiler notes every marked range, which takes time"),
    "NVIDIA_TF32_OVERRIDE": (_is_given, "it decides on TF32 in the place of the precision that is on record"),
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": (_is_set, "it decides on TF32 in the place of the precision that is on record"),
    "TORCH_CUDNN_V8_API_DISABLED": (_is_set, "convolutions run through an older interface of cuDNN"),
    "CUBLAS_WORKSPACE_CONFIG": (_is_given, "cuBLAS chooses other kernels, slower ones often, and other memory"),
    "CUDNN_LOGLEVEL_DBG": (_is_set, "cuDNN logs its calls, and each takes longer"),
    "PYTORCH_NO_CUDA_MEMORY_CACHING": (_is_given, "each allocation goes to the driver, which makes steps slow"),
    "PYTORCH_CUDA_ALLOC_CONF": (_is_given, "reserved memory, and the speed of allocation, are of another allocator"),
    "PYTORCH_ALLOC_CONF": (_is_given, "reserved memory, and the speed of allocation, are of another allocator"),
    "TORCH_COMPILE_DISABLE": (_is_set, "torch.compile does nothing, so what is called compiled is eager code"),
    "TORCHDYNAMO_DISABLE": (_is_set, "torch.compile does nothing, so what is called compiled is eager code"),
    "TORCH_COMPILE_DEBUG": (_is_set, "torch.compile writes down its work, and takes longer for it"),
    "TORCH_LOGS": (_is_given, "torch logs while it compiles and runs, and takes longer for it"),
    "ATEN_CPU_CAPABILITY": (_is_given, "torch leaves out vector instructions that this processor has"),
    "ONEDNN_MAX_CPU_ISA": (_is_given, "oneDNN leaves out vector instructions that this processor has"),
    "DNNL_MAX_CPU_ISA": (_is_given, "oneDNN leaves out vector instructions that this processor has"),
    "MKL_ENABLE_INSTRUCTIONS": (_is_given, "MKL leaves out vector instructions that this processor has"),
    "ONEDNN_VERBOSE": (_is_set, "oneDNN prints every operator, and each takes longer"),
    "DNNL_VERBOSE": (_is_set, "oneDNN prints every operator, and each takes longer"),
    "MKL_VERBOSE": (_is_set, "MKL prints every call, and each takes longer"),
    "MALLOC_PERTURB_": (_is_set, "the C library overwrites memory that it hands out and takes back"),
    "MALLOC_CHECK_": (_is_set, "the C library checks its memory at each allocation"),
    "PYTHONPROFILEIMPORTTIME": (_is_given, "Python times and prints every import, so cold starts are slower"),
    "COVERAGE_PROCESS_START": (_is_given, "coverage follows every line of Python in the trials' processes"),
    "COVERAGE_PROCESS_CONFIG": (_is_given, "coverage follows every line of Python in the trials' processes"),
}
"""Environment variables, when they matter, and what they do to the numbers. Left out: what only helps after a failure,
such as PYTHONFAULTHANDLER or TORCH_SHOW_CPP_STACKTRACES."""

_PRELOADED = {
    r"lib(clang_rt\.)?(asan|tsan|msan|lsan|ubsan|hwasan)": "a sanitizer checks every access: times and memory multiply",
    r"vgpreload|heaptrack|memray|libprofiler|ToolsInjection|nvperf|libscorep": "a profiler slows what it watches",
    r"jemalloc|tcmalloc|mimalloc": "another allocator keeps freed memory in other ways: peaks are not comparable",
    r"libfaketime": "clocks do not tell the time",
}


def distortions() -> list[str]:
    """Returns a sentence for everything that distorts measurements in this process: what it does, what to do.

    It imports torch, but neither opens a device nor starts CUDA.
    """
    return [*_of_variables(), *_of_preloaded(), *_of_python(), *_of_torch(), *_of_threads(), *_of_machine()]


def choices() -> list[str]:
    """Returns a sentence for every setting that costs speed and that each row holds anyway: no reason for doubt.

    torchrun and clusters set some of them unnoticed, so they are worth a word before a suite begins.
    """
    return [*_of_chosen_threads()]


def _of_variables() -> Iterator[str]:
    """Yields what environment variables do."""
    for name, (matters, effect) in _VARIABLES.items():
        value = os.environ.get(name, "")
        if matters(value):
            yield f"{name}={value}: {effect}. Unset it."
    tuned = sorted(
        name
        for name, value in os.environ.items()
        if name.startswith("TORCHINDUCTOR_") and "CACHE" not in name and _is_given(value)
    )
    if tuned:
        yield f"{', '.join(tuned)}: torch.compile works in another way than the record says. Unset what is not needed."


def _of_preloaded() -> Iterator[str]:
    """Yields what libraries do that are loaded before all others."""
    for variable in ("LD_PRELOAD", "DYLD_INSERT_LIBRARIES"):
        for library in re.split(r"[:\s]+", os.environ.get(variable, "")):
            name = library.rpartition("/")[2]
            for pattern, effect in _PRELOADED.items():
                if re.search(pattern, name):
                    yield f"{variable} loads {name}: {effect}. Unset it."


def _of_python() -> Iterator[str]:
    """Yields what this Python, and what watches it, do."""
    if hasattr(sys, "gettotalrefcount"):
        yield "a debug build of Python: all Python code is slower. Use a release build."
    if sys.flags.dev_mode:
        yield "Python's development mode: memory is checked at each allocation. Leave out -X dev and PYTHONDEVMODE."
    if os.environ.get("PYTHONMALLOC", "").endswith("debug"):
        yield f"PYTHONMALLOC={os.environ['PYTHONMALLOC']}: memory is checked at each allocation. Unset it."
    if tracemalloc.is_tracing():
        yield "tracemalloc is on: Python notes where each allocation comes from. Leave out -X tracemalloc."
    watchers = [_name_of(hook) for hook in (sys.gettrace(), threading.gettrace()) if hook]
    watchers += [_name_of(hook) for hook in (sys.getprofile(), threading.getprofile()) if hook]
    monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
    if monitoring is not None:
        watchers += [name for tool in range(6) if (name := monitoring.get_tool(tool))]
    if watchers:
        names = ", ".join(dict.fromkeys(watchers))
        yield f"Python code is followed by {names} (a debugger, a profiler, coverage): it is slower. Run without it."
    if not gc.isenabled():
        yield "Python's garbage collector is off: memory may read too high. Do not switch it off."


def _name_of(hook: object) -> str:
    """Returns whose a trace or profile function is."""
    kind = hook if hasattr(hook, "__qualname__") else type(hook)
    return f"{getattr(kind, '__module__', None) or 'builtins'}.{getattr(kind, '__qualname__', '')}"


def _of_torch() -> Iterator[str]:
    """Yields what switches of torch do."""
    import torch

    if torch.version.debug:
        yield "a debug build of torch: all operators are slower. Install a release build."
    if torch.is_anomaly_enabled():
        yield "torch's anomaly mode is on: every backward pass is checked. Leave out torch.autograd.set_detect_anomaly."
    if torch.autograd._profiler_enabled():
        yield "torch's profiler is running: every operator is noted. Measure without it."
    if torch.are_deterministic_algorithms_enabled():
        yield "deterministic algorithms are asked for: kernels are slower. Undo torch.use_deterministic_algorithms."
    if _on_mig():
        yield (
            "a MIG instance: a part of a GPU, whose clock, power and memory bandwidth others may share. "
            "Compare only with the same kind of instance."
        )


def _on_mig() -> bool:
    """Says whether the GPU is a part of one, as far as that is known without starting CUDA."""
    import torch

    if "MIG-" in os.environ.get("CUDA_VISIBLE_DEVICES", ""):
        return True
    return torch.cuda.is_initialized() and " MIG " in f"{torch.cuda.get_device_name()} "


def _of_threads() -> Iterator[str]:
    """Yields where torch uses more threads of the processor than it may."""
    import torch

    from resbench.devices.host import usable_threads

    threads, usable = torch.get_num_threads(), usable_threads()
    if threads > usable:
        yield (
            f"torch uses {threads} threads and may use {usable:g} threads' worth of the processor (affinity, container "
            f"quota): they wait for each other. Set OMP_NUM_THREADS={max(1, int(usable))}."
        )


def _of_chosen_threads() -> Iterator[str]:
    """Yields where torch was told to use fewer threads than there are cores."""
    import psutil
    import torch

    from resbench.devices.host import affinity, usable_threads

    threads, usable = torch.get_num_threads(), usable_threads()
    cpus, cores = affinity(), psutil.cpu_count(logical=False) or 1
    if cpus is not None and len(cpus) < (psutil.cpu_count() or 1):
        return  # how many cores these threads are on is not known
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        if os.environ.get(name) and threads < min(cores, usable):
            yield f"{name}={os.environ[name]}: torch uses {threads} of {cores} processor cores. Unset it."
            return


def _of_machine() -> Iterator[str]:
    """Yields what the machine's state does."""
    if _on_battery():
        yield "the machine runs on battery: clocks are lower, and change. Plug it in."
    if _read("scaling_governor") == "powersave" and _read("scaling_driver") not in _SETS_OWN_PACE:
        yield (
            "the processor's frequency governor is powersave: it stays at its lowest clock. "
            "Choose another: cpupower frequency-set -g performance."
        )
    elif _read("energy_performance_preference") == "power":
        yield (
            "the processor is told to save power (energy_performance_preference): its clock rises late, and less. "
            "Choose balance_performance or performance."
        )
    priority = os.nice(0) if hasattr(os, "nice") else 0
    if priority > 0:
        yield f"this process has priority {priority} (nice): others go first. Start it without nice."


def _on_battery() -> bool:
    """Says whether the machine is known to run on battery."""
    import psutil

    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, ValueError):  # not on this system, or one that is half there
        return False
    return battery is not None and battery.power_plugged is False


def _read(setting: str) -> str:
    """Returns a frequency setting of the first processor thread; empty where there is none."""
    try:
        return (_CPUFREQ / setting).read_text().strip()
    except OSError:
        return ""
