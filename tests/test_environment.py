from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from resbench import environment
from resbench.devices import host
from resbench.environment import choices, distortions


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A plugged-in machine of 8 cores that nobody watches, whatever this one is."""
    others = ("LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "PYTHONMALLOC", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    tuned = [name for name in os.environ if name.startswith("TORCHINDUCTOR_")]
    for name in [*environment._VARIABLES, *others, "MKL_NUM_THREADS", *tuned]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environment, "_CPUFREQ", tmp_path)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16 if logical else 8)
    monkeypatch.setattr(host, "affinity", lambda: frozenset(range(16)))
    monkeypatch.setattr(host, "usable_threads", lambda: 16.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(os, "nice", lambda change: 0)
    trace, profile = sys.gettrace(), sys.getprofile()  # those of this test run
    traces, profiles = threading.gettrace(), threading.getprofile()
    sys.settrace(None), sys.setprofile(None), threading.settrace(None), threading.setprofile(None)
    if hasattr(sys, "monitoring"):
        monkeypatch.setattr(sys.monitoring, "get_tool", lambda tool: None)
    yield
    sys.settrace(trace), sys.setprofile(profile), threading.settrace(traces), threading.setprofile(profiles)


def only() -> str:
    """Returns the one thing that is wrong."""
    (sentence,) = distortions()
    assert sentence.endswith("."), "says what to do"
    return sentence


def test_a_plain_process_has_none():
    assert distortions() == []


class TestVariables:
    @pytest.mark.parametrize(
        ("name", "value", "effect"),
        [
            ("CUDA_LAUNCH_BLOCKING", "1", "nothing overlaps and steps are slower"),
            ("CUDA_INJECTION64_PATH", "/opt/tool.so", "a profiler"),
            ("PYTORCH_NO_CUDA_MEMORY_CACHING", "1", "each allocation goes to the driver"),
            ("TORCH_COMPILE_DISABLE", "1", "eager code"),
            ("TORCHDYNAMO_DISABLE", "1", "eager code"),
            ("TORCH_LOGS", "+dynamo", "logs"),
            ("NVIDIA_TF32_OVERRIDE", "0", "TF32"),
            ("CUBLAS_WORKSPACE_CONFIG", ":4096:8", "other kernels"),
            ("ATEN_CPU_CAPABILITY", "default", "vector instructions"),
            ("ONEDNN_VERBOSE", "1", "prints every operator"),
            ("COVERAGE_PROCESS_START", ".coveragerc", "every line of Python"),
            ("PYTHONPROFILEIMPORTTIME", "1", "every import"),
        ],
    )
    def test_that_distort_are_named_with_what_they_do(self, monkeypatch, name, value, effect):
        monkeypatch.setenv(name, value)
        sentence = only()
        assert sentence.startswith(f"{name}={value}: ")
        assert effect in sentence
        assert sentence.endswith("Unset it.")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("CUDA_LAUNCH_BLOCKING", "0"),
            ("CUDA_LAUNCH_BLOCKING", ""),
            ("TORCH_COMPILE_DISABLE", "0"),
            ("TORCH_LOGS", ""),
            ("PYTHONFAULTHANDLER", "1"),
            ("TORCH_SHOW_CPP_STACKTRACES", "1"),
            ("TORCHINDUCTOR_CACHE_DIR", "/tmp/compiled"),
            ("CUDA_VISIBLE_DEVICES", "1"),
            ("LD_PRELOAD", "/usr/lib/libsomething.so"),
        ],
    )
    def test_that_are_off_or_harmless_are_not(self, monkeypatch, name, value):
        monkeypatch.setenv(name, value)
        assert distortions() == []

    def test_of_the_compiler_are_named_together(self, monkeypatch):
        monkeypatch.setenv("TORCHINDUCTOR_MAX_AUTOTUNE", "1")
        monkeypatch.setenv("TORCHINDUCTOR_FREEZING", "1")
        assert only().startswith("TORCHINDUCTOR_FREEZING, TORCHINDUCTOR_MAX_AUTOTUNE: ")

    @pytest.mark.parametrize(
        ("library", "effect"),
        [
            ("/usr/lib/gcc/libasan.so.8", "sanitizer"),
            ("libclang_rt.tsan-x86_64.so", "sanitizer"),
            ("/opt/nsight/libToolsInjectionProxy64.so", "profiler"),
            ("/usr/lib/libjemalloc.so.2", "allocator"),
        ],
    )
    def test_that_preload_a_library_which_distorts_name_it(self, monkeypatch, library, effect):
        monkeypatch.setenv("LD_PRELOAD", f"libharmless.so:{library}")
        sentence = only()
        assert sentence.startswith(f"LD_PRELOAD loads {library.rpartition('/')[2]}: ")
        assert effect in sentence


class TestPython:
    def test_a_tracer_and_a_profiler_are_found(self):
        def tracer(frame: object, event: str, argument: object) -> None:
            return None

        sys.settrace(tracer)
        try:
            sentence = only()
        finally:
            sys.settrace(None)
        assert f"{__name__}.TestPython.test_a_tracer_and_a_profiler_are_found.<locals>.tracer" in sentence

        threading.setprofile(tracer)
        try:
            assert "debugger, a profiler, coverage" in only()
        finally:
            threading.setprofile(None)

    def test_a_tool_of_the_monitoring_interface_is_found(self, monkeypatch):
        tools = SimpleNamespace(get_tool=lambda tool: "coverage.py" if tool == 1 else None)
        monkeypatch.setattr(sys, "monitoring", tools, raising=False)
        assert "followed by coverage.py" in only()

    def test_a_debug_build_is_found(self, monkeypatch):
        monkeypatch.setattr(sys, "gettotalrefcount", lambda: 1, raising=False)
        assert only().startswith("a debug build of Python")

    def test_debugging_aids_of_memory_are_found(self, monkeypatch):
        monkeypatch.setenv("PYTHONMALLOC", "malloc_debug")
        assert only().startswith("PYTHONMALLOC=malloc_debug")
        monkeypatch.delenv("PYTHONMALLOC")
        tracemalloc.start()
        try:
            assert only().startswith("tracemalloc is on")
        finally:
            tracemalloc.stop()

    def test_a_collector_that_is_off_is_found(self):
        gc.disable()
        try:
            assert only().startswith("Python's garbage collector is off")
        finally:
            gc.enable()

    def test_the_development_mode_is_found(self, monkeypatch):
        monkeypatch.setattr(sys, "flags", SimpleNamespace(dev_mode=True))
        assert only().startswith("Python's development mode")


class TestTorch:
    def test_anomaly_mode_is_found(self):
        with pytest.warns(UserWarning, match="Anomaly"), torch.autograd.detect_anomaly(check_nan=False):
            assert only().startswith("torch's anomaly mode is on")

    def test_a_running_profiler_is_found(self):
        with torch.autograd.profiler.profile():
            assert only().startswith("torch's profiler is running")

    def test_deterministic_algorithms_are_found(self):
        torch.use_deterministic_algorithms(True)
        try:
            assert only().startswith("deterministic algorithms")
        finally:
            torch.use_deterministic_algorithms(False)

    def test_a_debug_build_is_found(self, monkeypatch):
        monkeypatch.setattr(torch.version, "debug", True)
        assert only().startswith("a debug build of torch")

    def test_a_part_of_a_gpu_is_found_by_its_name_or_where_it_is_chosen(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA A100-SXM4-40GB MIG 1g.5gb")
        assert only().startswith("a MIG instance")
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
        assert distortions() == []
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-3eb87630-93d5-b2b6-b8ff-9b359caf4ee2")
        assert only().startswith("a MIG instance")


class TestThreads:
    def test_more_than_a_container_may_use_are_found(self, monkeypatch):
        monkeypatch.setattr(host, "usable_threads", lambda: 2.5)
        assert "torch uses 8 threads and may use 2.5 threads' worth" in only()
        assert only().endswith("Set OMP_NUM_THREADS=2.")

    @pytest.mark.parametrize(
        ("variable", "threads", "cpus", "found"),
        [
            ("OMP_NUM_THREADS", 1, 16, True),
            ("MKL_NUM_THREADS", 7, 16, True),
            ("OMP_NUM_THREADS", 8, 16, False),
            (None, 1, 16, False),
            ("OMP_NUM_THREADS", 1, 4, False),  # how many cores these four threads are on is not known
        ],
    )
    def test_fewer_than_cores_are_found_where_a_variable_says_so(self, monkeypatch, variable, threads, cpus, found):
        if variable:
            monkeypatch.setenv(variable, str(threads))
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        monkeypatch.setattr(host, "affinity", lambda: frozenset(range(cpus)))
        wanted = [f"{variable}={threads}: torch uses {threads} of 8 processor cores. Unset it."]
        assert choices() == (wanted if found else [])
        assert distortions() == []  # the row holds how many threads there were


class TestMachine:
    @pytest.mark.parametrize(("plugged", "found"), [(False, True), (True, False), (None, False)])
    def test_on_battery_is_found(self, monkeypatch, plugged, found):
        monkeypatch.setattr(psutil, "sensors_battery", lambda: SimpleNamespace(power_plugged=plugged))
        assert ["runs on battery" in sentence for sentence in distortions()] == [True] * found

    @pytest.mark.parametrize("error", [FileNotFoundError, ValueError, AttributeError])
    def test_with_a_battery_that_cannot_be_read_is_as_without(self, monkeypatch, error):
        def fail() -> None:
            raise error

        monkeypatch.setattr(psutil, "sensors_battery", fail)
        assert distortions() == []

    @pytest.mark.parametrize(
        ("governor", "driver", "preference", "found"),
        [
            ("powersave", "acpi-cpufreq", None, "frequency governor is powersave"),
            ("powersave", "intel_pstate", "balance_performance", None),
            ("powersave", "amd-pstate-epp", "power", "told to save power"),
            ("performance", "acpi-cpufreq", None, None),
        ],
    )
    def test_that_saves_power_is_found(self, tmp_path, governor, driver, preference, found):
        settings = {
            "scaling_governor": governor,
            "scaling_driver": driver,
            "energy_performance_preference": preference,
        }
        for name, value in settings.items():
            if value:
                (tmp_path / name).write_text(f"{value}\n")
        assert [found in sentence for sentence in distortions()] == ([True] if found else [])

    def test_a_low_priority_is_found(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(os, "nice", lambda change: 10)
        assert only().startswith("this process has priority 10")


def test_every_variable_that_is_known_is_written_the_way_it_is_read():
    is_switch: dict[str, Callable[[str], bool]] = {name: rule for name, (rule, _) in environment._VARIABLES.items()}
    assert all(name == name.upper() and rule("1") and not rule("") for name, rule in is_switch.items())


def test_importing_it_imports_no_torch():
    code = "import sys, resbench.environment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
