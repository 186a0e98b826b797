"""Nothing is read back from the device inside an epoch: neither a value nor a shape that depends on one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest
import torch
from small_loops import SETTINGS, make_loop, make_pipeline, network
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from resbench.data.pipeline import Batch, Pipeline
from resbench.devices import CpuDevice
from resbench.recipes import RECIPES
from resbench.training.engine import Engine
from resbench.training.loop import Progress


class NoFunctionReadsBack(TorchFunctionMode):
    """Refuses the methods by which Python gets a tensor's value or moves it to another device."""

    FORBIDDEN = frozenset(
        getattr(torch.Tensor, name)
        for name in (
            *("item", "tolist", "numpy", "cpu", "cuda", "to"),
            *("__bool__", "__float__", "__int__", "__index__", "__contains__", "__array__", "__repr__"),
        )
    )

    def __torch_function__(self, func, types, args=(), kwargs=None):
        to_a_dtype = func is torch.Tensor.to and not kwargs and isinstance(args[1], torch.dtype)
        if func in self.FORBIDDEN and not to_a_dtype:
            raise AssertionError(f"{func} reads a value back from the device")
        return func(*args, **(kwargs or {}))


class NoOperatorReadsBack(TorchDispatchMode):
    """Refuses the operators whose result or shape depends on values."""

    FORBIDDEN = frozenset(
        (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.equal.default,
            torch.ops.aten.masked_select.default,
            torch.ops.aten._unique2.default,
            torch.ops.aten.repeat_interleave.Tensor,
        )
    )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in self.FORBIDDEN:
            raise AssertionError(f"{func} waits for the device")
        if func is torch.ops.aten.index.Tensor and any(i is not None and i.dtype == torch.bool for i in args[1]):
            raise AssertionError("a boolean index waits for the device")
        return func(*args, **(kwargs or {}))


class GuardedPipeline(Pipeline):
    """Puts the guard up when an epoch's first batch is about to be made."""

    guard: ExitStack
    guarded_batches = 0

    def epoch(self, slots: Sequence[Batch] = (), *, first: int = 0) -> Iterator[Batch]:
        self.guard = ExitStack()
        self.guard.enter_context(NoFunctionReadsBack())
        self.guard.enter_context(NoOperatorReadsBack())
        return super().epoch(slots, first=first)

    def training_batch(self, index: torch.Tensor, draws: torch.Tensor, slot: Batch) -> Batch:
        self.guarded_batches += 1
        return super().training_batch(index, draws, slot)


class GuardedDevice(CpuDevice):
    """Takes the guard down where the loop waits for the device: after the epoch's last step."""

    def __init__(self, pipeline: GuardedPipeline) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.queue_depth = 2
        self.peeks = 0

    def synchronize(self) -> None:
        self.pipeline.guard.close()

    def peek(self, values: torch.Tensor) -> Callable[[], None]:
        self.peeks += 1
        return lambda: None  # on its way, as on a GPU


class TestNothingIsReadBackInsideAnEpoch:
    @pytest.mark.parametrize("name", RECIPES)
    @pytest.mark.parametrize(
        ("graph", "slots"), [(False, 0), (False, 1), (True, 2)], ids=["eager", "eager in a slot", "graph in two"]
    )
    def test_with_the_recipe(self, name, graph, slots):
        augmentation = dataclasses.replace(RECIPES[name].augmentation, cutout=3)
        if augmentation.crop_padding:
            augmentation = dataclasses.replace(augmentation, crop_padding=2)
        recipe = dataclasses.replace(RECIPES[name], augmentation=augmentation)
        pipeline = make_pipeline(recipe, kind=GuardedPipeline)
        settings = dataclasses.replace(SETTINGS, cuda_graph=graph)
        device = GuardedDevice(pipeline)
        engine = Engine(network(), recipe, settings, slots=[pipeline.new_batch() for _ in range(slots)], device=device)
        pipeline.warm_up()
        engine.warm_up(*next(pipeline.evaluation()))
        engine.capture()
        assert engine.cuda_graph == graph
        progress: list[Progress] = []
        loop = make_loop(
            "1.5ep", recipe=recipe, pipeline=pipeline, device=device, on_progress=progress.append,
            engine=engine,
        )  # fmt: skip
        try:
            loop.run()
        finally:
            pipeline.guard.close()
        assert pipeline.guarded_batches == 16  # the first was the warm-up's
        assert progress
        assert device.peeks

    @pytest.mark.parametrize(
        "reading",
        [
            lambda tensor: tensor.sum().item(),
            lambda tensor: float(tensor[0]),
            lambda tensor: int(tensor[0]),
            lambda tensor: bool(tensor[0]),
            lambda tensor: tensor.tolist(),
            lambda tensor: tensor.numpy(),
            lambda tensor: tensor.cpu(),
            lambda tensor: tensor.to("cpu"),
            lambda tensor: tensor.nonzero(),
            lambda tensor: tensor[tensor > 0],
            lambda tensor: torch.nn.functional.one_hot(tensor.long()),
            lambda tensor: torch.equal(tensor, tensor),
        ],
    )
    def test_or_the_guard_would_see_it(self, reading):
        with pytest.raises(AssertionError), NoFunctionReadsBack(), NoOperatorReadsBack():
            reading(torch.ones(3))
