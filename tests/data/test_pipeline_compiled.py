"""Batches made by compiled code: the same batches, and what happens where the compiler fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
import torch
from pipelines import BATCH, CROP_AND_FLIP, EVERYTHING, numbered, pipeline

from resbench.data.pipeline import Normalisation, Pipeline
from resbench.recipes import Augmentation

COMMON = Augmentation(crop_padding=2, horizontal_flip=True, cutout=3)
NORMALISATION = Normalisation((0.1, 0.2, 0.3), (0.2, 0.3, 0.4))
COMPILED_TOLERANCE = 1e-6
"""Of a normalised pixel, which is some 1 large: scale and shift may be one rounding or two."""


def make(*, compiled: bool) -> Pipeline:
    return pipeline(augmentation=COMMON, normalisation=NORMALISATION, compiled=compiled)


NEEDS_COMPILER = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler"
)


class TestFallback:
    ERROR = NotImplementedError("no lowering for this operator\nand a long explanation")

    def fail_with(self, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        def compile_nothing(function: Callable[..., None], **options: object) -> Callable[..., None]:
            def call(*arguments: torch.Tensor) -> None:
                function(*arguments)
                raise error

            return call

        monkeypatch.setattr(torch, "compile", compile_nothing)

    def test_makes_the_same_batches_and_says_why_once(self, monkeypatch):
        self.fail_with(self.ERROR, monkeypatch)
        eager, fallen = make(compiled=False), make(compiled=True)
        for subject in (eager, fallen, fallen):
            subject.warm_up()
        assert eager.fallback is None
        assert fallen.fallback == (
            "torch.compile failed on the input pipeline (NotImplementedError: no lowering for this operator), "
            "eager instead"
        )
        for (images, labels), (others, other_labels) in zip(eager.epoch(), fallen.epoch(), strict=True):
            assert torch.equal(images, others)
            assert torch.equal(labels, other_labels)

    def test_moves_no_generator(self, monkeypatch):
        self.fail_with(self.ERROR, monkeypatch)
        subject = make(compiled=True)
        before = subject.order.get_state(), subject.draws.get_state(), torch.get_rng_state()
        subject.warm_up()
        after = subject.order.get_state(), subject.draws.get_state(), torch.get_rng_state()
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))

    def test_there_may_be_no_compiler_at_all(self, monkeypatch):
        def refuse(function: Callable[..., None], **options: object) -> Callable[..., None]:
            raise RuntimeError("Dynamo is not supported on this Python")

        monkeypatch.setattr(torch, "compile", refuse)
        subject = make(compiled=True)
        subject.warm_up()
        assert subject.fallback is not None
        assert "Dynamo is not supported on this Python" in subject.fallback
        assert len(list(subject.epoch())) == subject.steps_per_epoch

    @pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
    def test_running_out_of_memory_is_not_taken_for_it(self, error, monkeypatch):
        self.fail_with(error, monkeypatch)
        subject = make(compiled=True)
        with pytest.raises(type(error)):
            subject.warm_up()
        assert subject.fallback is None

    def test_an_error_of_the_pipeline_itself_is_raised(self):
        subject = pipeline(train=numbered(), augmentation=CROP_AND_FLIP, input_size=(6, 10))
        subject._padded = subject._padded[:, :, :3]  # does not fit the images
        with pytest.raises(RuntimeError):
            subject.warm_up()
        assert subject.fallback is None


@pytest.mark.slow
@NEEDS_COMPILER
def test_compiled_batches_equal_eager_ones():
    eager, compiled = make(compiled=False), make(compiled=True)
    torch._dynamo.utils.counters.clear()
    compiled.warm_up()
    assert compiled.fallback is None
    slots = [compiled.new_batch() for _ in range(2)]
    for _ in range(2):
        for (images, labels), (others, other_labels) in zip(eager.epoch(), compiled.epoch(slots), strict=True):
            assert images.shape == (BATCH, 3, 6, 10)
            torch.testing.assert_close(others, images, atol=COMPILED_TOLERANCE, rtol=0)
            assert torch.equal(other_labels, labels)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1  # nothing is compiled after the warm-up


@pytest.mark.slow
@NEEDS_COMPILER
@pytest.mark.parametrize("channels", [3, 1])
def test_compiled_batches_of_every_augmentation_are_one_graph_and_equal_eager_ones(channels):
    # torchvision's functions and the imports of them stand inside of what is compiled.
    normalisation = Normalisation((0.4,) * channels, (0.2,) * channels)
    split = numbered(channels=channels)
    eager, compiled = (
        pipeline(train=split, augmentation=EVERYTHING, normalisation=normalisation, input_size=(24, 32), compiled=each)
        for each in (False, True)
    )
    torch._dynamo.utils.counters.clear()
    compiled.warm_up()
    assert compiled.fallback is None
    for (images, labels), (others, other_labels) in zip(eager.epoch(), compiled.epoch(), strict=True):
        differing = ((others - images).abs() > 1e-3).any(1).float().mean()
        assert float(differing) <= 0.005  # of two pixels that are as near, a rotation takes either
        assert torch.equal(other_labels, labels)
    assert not torch._dynamo.utils.counters["graph_break"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
