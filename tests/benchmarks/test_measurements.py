"""The benchmarks themselves at a size that takes no time: every row comes, and what it compares is what it says."""

from __future__ import annotations

import gc
import multiprocessing
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.harness import against, compile_cache, loader, modes, source_loop, startup, step, timm_step, workbench
from benchmarks.harness.catalogue import BENCHMARKS, measure
from benchmarks.harness.floor import limits
from benchmarks.harness.rows import Row, Setting
from resbench.data.datasets import Split
from resbench.measure.floor import Probe
from resbench.recipes import get_recipe
from resbench.training.engine import Engine

ROOT = Path(__file__).parents[2]
TINY = Setting("cpu", ("cnn",), "source", 4, "fp32", "noise", repeats=1, seconds=0.01)


@pytest.fixture(autouse=True)
def _few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbench, "IMAGES", 64)
    monkeypatch.setattr(loader, "SETTLE_S", 0.0)


def only(rows: list[Row]) -> Row:
    (row,) = rows
    assert row.low <= row.median <= row.high
    assert row.low > 0
    assert row.repeats == 1
    return row


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_harness_over_bare_step_and_over_the_floor(precision):
    setting = replace(TINY, precision=precision, repeats=2)
    bare, floor = step.step(setting, probe=Probe(32, 2**12, calls=1))
    assert (bare.benchmark, bare.subject) == (
        "harness / bare step",
        f"cnn, source stem, batch 4, {precision}, eager",
    )
    assert bare.target == ">= 0.98"
    assert (floor.benchmark, floor.subject, floor.target) == (
        "achieved / floor",
        f"cnn, source stem, batch 4, {precision}",
        "",
    )
    assert bare.repeats == floor.repeats == 2
    harness_rate = re.match(r"harness ([\d,.]+) images/s, bare", bare.detail)[1]
    rate, limit = re.match(r"([\d,.]+) of ([\d,.]+) images/s; floor from .* TFLOP/s and .* GB/s", floor.detail).groups()
    assert number(rate) == pytest.approx(number(harness_rate), rel=1e-3)
    assert floor.median == pytest.approx(number(rate) / number(limit), rel=0.01)


def number(text: str) -> float:
    return float(text.replace(",", ""))


def test_limits_of_the_device():
    matmul, copy = limits(TINY, probe=Probe(32, 2**12, calls=1))
    assert (matmul.benchmark, matmul.unit, matmul.repeats) == ("limit / matmul", "TFLOP/s", 1)
    assert (copy.benchmark, copy.unit, copy.repeats) == ("limit / copy", "GB/s", 1)
    assert matmul.subject.endswith(", fp32")
    assert matmul.median > 0
    assert copy.median > 0


def test_pipeline_over_dataloader():
    row = only(list(loader.pipeline(TINY)))
    assert row.benchmark == "pipeline / DataLoader"
    assert row.target == ">= 20"


def test_harness_over_source_loop(monkeypatch):
    monkeypatch.setattr(source_loop, "MODEL", "cnn")
    row = only(list(source_loop.source_loop(TINY)))
    assert row.subject.startswith("cnn, source stem, batch 4, fp32, eager / fp32, DataLoader of 4 workers")
    assert row.target == ">= 1.8"


@pytest.mark.slow
def test_harness_over_timm_step(monkeypatch):
    monkeypatch.setattr(timm_step, "MODEL", "timm:resnet18")
    monkeypatch.setattr(timm_step, "PROCESSES", 2)
    monkeypatch.setattr(timm_step, "in_fresh_process", lambda function, setting: function(setting))
    (row,) = timm_step.timm_step(replace(TINY, repeats=3))
    assert row.subject == "timm:resnet18, source stem, batch 4, fp32, eager; 2 processes"
    assert row.target == ">= 2"
    assert row.repeats == 4  # two pairs in each of two processes
    assert row.low > 0


@pytest.mark.slow
def test_this_code_against_another_checkout(monkeypatch):
    """Against itself: the rows' form, and that a checkout's process that fails is an error."""
    monkeypatch.setattr(against, "_commit", lambda checkout: "0123456")
    step_row, latency = against.against(ROOT, replace(TINY, repeats=1))
    assert step_row.benchmark == "step / step of 0123456"
    assert step_row.subject == "cnn, source stem, batch 4, fp32, eager"
    assert re.fullmatch(r"now [\d.,]+ images/s, 0123456 [\d.,]+ images/s", step_row.detail)
    assert latency.benchmark == "latency of 0123456 / latency"
    assert latency.subject == "cnn, source stem, one image, fp32, eager"
    now, then = (float(found) for found in re.findall(r"([\d.]+) ms", latency.detail))
    assert latency.median == pytest.approx(then / now, rel=0.02)
    with pytest.raises(subprocess.CalledProcessError):
        against.Contender(ROOT, replace(TINY, models=("none such",)))


def test_modes_of_a_processor_are_named_for_what_they_compare():
    rows = list(modes.modes(TINY))
    assert [row.benchmark for row in rows] == [
        "bf16 / fp32", "channels_last / contiguous", "lowered / convolutions"
    ]  # fmt: skip
    of = "cnn, source stem, batch 4"
    assert [row.subject for row in rows] == [of, f"{of}, fp32", f"{of}, fp32"]
    assert not any(row.target for row in rows)


def test_startup_runs_the_commands_and_has_their_limits():
    rows = list(startup.startup(TINY))
    assert [(row.subject, row.unit, row.target) for row in rows] == [
        ("resbench --help", "s", "< 0.4"),
        ("resbench list", "s", "< 0.6"),
    ]
    assert all(row.median > 0 for row in rows)


def test_a_second_compilation_is_measured_with_the_cache_of_the_first(monkeypatch):
    calls = []

    def fake(function, setting, folder, seed):
        calls.append((function, folder, seed))
        return compile_cache.WarmUp(40.0 - 30.0 * seed, compiled=3 - 3 * seed, found=3 * seed)

    monkeypatch.setattr(compile_cache, "in_fresh_process", fake)
    row = only(list(compile_cache.compile_cache(TINY)))
    assert row.median == 0.25
    assert row.detail == "last pair: first 40.0 s (3 graphs compiled), again 10.0 s (0 compiled, 3 found)"
    (first, folder, _), (again, folder_again, _) = calls
    assert first is again is compile_cache.warm_up_s
    assert folder == folder_again
    assert [seed for _, _, seed in calls] == [0, 1]


def test_every_benchmark_has_a_name_and_yields_rows(monkeypatch):
    assert list(BENCHMARKS) == [
        "step", "source", "pipeline", "timm", "limits", "startup", "growth", "modes", "compile", "overhead", "workers",
        "cluster",
    ]  # fmt: skip
    assert measure("modes", TINY)[0].benchmark == "bf16 / fp32"


class TestWorkbench:
    def bench(self) -> workbench.Workbench:
        return workbench.workbench(TINY, "cnn", workbench.training_images(TINY))

    def test_the_loop_takes_the_steps_that_it_is_asked_for(self, monkeypatch):
        taken = []
        original = Engine.train_step
        monkeypatch.setattr(Engine, "train_step", lambda self, *batch: (taken.append(batch), original(self, *batch)))
        assert self.bench().loop_steps(7) > 0
        assert len(taken) == 7

    def test_the_bare_step_trains_on_one_batch_and_counts_nothing(self):
        bench = self.bench()
        weight = next(bench.engine.model.parameters())
        before, totals = weight.detach().clone(), bench.engine.read_totals()
        assert bench.bare_steps(3) > 0
        assert not torch.equal(weight, before)
        assert bench.engine.read_totals() == totals

    def test_the_time_is_that_of_the_steps(self):
        bench = self.bench()
        calls = []
        bench.bare_steps(5, lambda: calls.append(1))
        assert len(calls) == 5


class TestBaseline:
    def test_batches_are_augmented_normalised_images_of_the_split(self):
        recipe = get_recipe("resnet50_adam")  # neither crop nor flip
        grey = torch.arange(8, dtype=torch.uint8)[:, None, None, None].expand(-1, 32, 32, 3).contiguous()
        images, labels = next(loader.Batches(Split(grey, torch.arange(8)), recipe, 4))
        assert images.shape == (4, 3, 32, 32)
        norm = workbench.NORMALISATION
        for image, label in zip(images, labels, strict=True):
            expected = [(int(label) / 255 - mean) / std for mean, std in zip(norm.mean, norm.std, strict=True)]
            assert image.mean((1, 2)).tolist() == pytest.approx(expected, rel=1e-4)

    def test_its_workers_end_with_the_last_reference_and_not_when_garbage_is_collected(self):
        images = Split(torch.zeros((16, 32, 32, 3), dtype=torch.uint8), torch.zeros(16, dtype=torch.int64))
        before = {*multiprocessing.active_children()}
        batches = loader.Batches(images, get_recipe("common"), 4)
        workers = {*multiprocessing.active_children()} - before
        assert len(workers) == loader.WORKERS
        gc.disable()
        try:
            del batches
            assert not any(worker.is_alive() for worker in workers)
            assert {worker.exitcode for worker in workers} == {0}  # told to, and not ended for being deaf
        finally:
            gc.enable()

    def test_a_source_step_updates_the_weights_and_reads_its_loss(self):
        recipe = get_recipe("common")
        split = Split(torch.randint(256, (16, 32, 32, 3), dtype=torch.uint8), torch.randint(10, (16,)))
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10))
        loop = source_loop.SourceLoop(network, loader.Batches(split, recipe, 4), torch.device("cpu"), recipe)
        before = network[1].weight.detach().clone()
        assert loop.step() == 4
        assert not torch.equal(network[1].weight, before)
        assert isinstance(loop.loss_sum, float)
        assert loop.loss_sum > 0
