"""How the harness compiles: where code is kept, for whom it serves, and what is never done in silence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from resbench.compiling import compile_function

CACHE = "TORCHINDUCTOR_CACHE_DIR"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What ``torch.compile`` was asked for; it compiles nothing."""
    calls: list[dict[str, Any]] = []

    def compile_nothing(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        calls.append(options)
        return function

    monkeypatch.setattr(torch, "compile", compile_nothing)
    return calls


def test_code_is_kept_in_the_cache_folder(asked, own_cache, monkeypatch):
    monkeypatch.delenv(CACHE)
    compile_function(abs)
    assert os.environ[CACHE] == str(own_cache / "compiled")


def test_that_torch_was_there_first_and_named_a_folder_of_its_own_changes_nothing(asked, own_cache, monkeypatch):
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    monkeypatch.delenv(CACHE)
    assert os.environ.get(CACHE) != cache_dir() == os.environ[CACHE]
    compile_function(abs)
    assert os.environ[CACHE] == str(own_cache / "compiled")


def test_code_is_kept_where_the_user_says(asked, monkeypatch):
    monkeypatch.setenv(CACHE, "elsewhere")
    compile_function(abs)
    assert os.environ[CACHE] == "elsewhere"


def test_the_mode_is_handed_on_and_shapes_are_never_dynamic(asked):
    compile_function(abs)
    compile_function(abs, mode="reduce-overhead")
    assert asked == [{"dynamic": False, "mode": "default"}, {"dynamic": False, "mode": "reduce-overhead"}]


class TestVersions:
    @pytest.fixture(autouse=True)
    def _no_code_is_generated(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Traces functions and checks when a version is used again, as always, but runs them as they are."""
        compile_it = torch.compile

        def trace(function: Callable[..., Any], *, dynamic: bool, mode: str) -> Callable[..., Any]:
            return compile_it(function, dynamic=dynamic, backend="eager")

        monkeypatch.setattr(torch, "compile", trace)
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        yield
        torch._dynamo.reset()

    @staticmethod
    def versions() -> int:
        return torch._dynamo.utils.counters["stats"]["unique_graphs"]

    def test_are_one_a_shape(self):
        double = compile_function(lambda tensor: tensor * 2)
        for size in (3, 4, 5, 4, 3):
            assert torch.equal(double(torch.ones(size)), torch.full((size,), 2.0))
        assert self.versions() == 3

    def test_beyond_the_limit_are_an_error_and_not_eager_in_silence(self):
        double = compile_function(lambda tensor: tensor * 2)
        with torch._dynamo.config.patch(recompile_limit=3):  # whatever a library has set it to
            for size in (1, 2, 3):
                double(torch.ones(size))
            with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
                double(torch.ones(4))


SCRIPT = """
import json, os, sys
import torch
import torch._inductor.compile_fx
from resbench.devices import open_device
from resbench.measure.profile import Subject
from resbench.recipes import get_recipe
from resbench.schema import EngineSettings

def train(seed):
    settings = EngineSettings("cpu", "fp32", compile=True)
    subject = Subject("cnn", "source", (3, 8, 8), 5, 8, settings, seed=seed)
    engine = subject.engine_for(get_recipe("common"), open_device("cpu"))
    engine.warm_up(*engine.slots[0])
    assert engine.compiled, engine.fallbacks
    counted = torch._dynamo.utils.counters["inductor"]
    weight = next(engine.model.parameters()).flatten()[0].item()
    print(json.dumps([counted["fxgraph_cache_miss"], counted["fxgraph_cache_hit"], weight]), flush=True)

for seed in map(int, sys.argv[1:]):  # each in a process of its own: a fork of one that has compiled nothing
    child = os.fork()
    if child == 0:
        train(seed)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, seed
"""


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
def test_another_seed_in_another_process_finds_the_code_of_the_same_network(tmp_path: Path, monkeypatch):
    monkeypatch.delenv(CACHE)
    monkeypatch.setenv("RESBENCH_CACHE", str(tmp_path))

    done = subprocess.run([sys.executable, "-c", SCRIPT, "0", "1"], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()[-2:]
    misses, hits, weight = json.loads(first)
    assert misses > 0
    assert hits == 0
    assert (tmp_path / "compiled").is_dir()
    again, found, other_weight = json.loads(second)
    assert (again, found) == (0, misses)
    assert other_weight != weight
