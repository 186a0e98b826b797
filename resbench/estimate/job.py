"""A few training steps of one network on random images, in a process of its own.

Everything is eager, also where the trial is going to be compiled or replayed from a graph: to compile takes longer than
an estimate is worth. And everything runs on one device: where several share the batches it takes its share of one, and
what exchanging gradients takes is not known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from statistics import median
from typing import Any

import torch

from resbench.data.datasets import Dataset, Split
from resbench.data.pipeline import Pipeline, normalisation_of
from resbench.devices import MIB, Device, is_out_of_memory, open_device
from resbench.errors import in_one_line
from resbench.estimate.measurement import HeadMeasurement, Measurement
from resbench.measure.flops import count_flops
from resbench.measure.memory import memory_level
from resbench.measure.profile import Subject
from resbench.measure.telemetry import SUSPECT, Telemetry
from resbench.precision import apply_precision
from resbench.ranks import Ranks, threads_of_each
from resbench.recipes import get_recipe
from resbench.registry import without_memory
from resbench.schema import Trial
from resbench.training.engine import Engine
from resbench.training.feature_cost import count_feature_cost
from resbench.training.features import HeadTraining, train_head_only

LEAST_CALLS, MOST_CALLS = 2, 10
"""Of everything that is timed, after a first one to warm up."""
ENOUGH_S = 0.5
"""No further call is made after this long, once there are ``LEAST_CALLS``."""
SLOW_S, TOO_SLOW_S = 2.0, 8.0
"""After a first call that takes longer there is only one more, or none: the first stands for the others then, and is a
little too long."""
FVCORE = 3.5
"""fvcore's count of a network takes about so many times as long as that of its forward and training FLOPs."""

Emit = Callable[[str, dict[str, Any]], None]


def measure_job(trial: Trial, stored: tuple[int, int, int], emit: Emit) -> None:
    """Measures a trial's network in this process and emits what that says.

    Args:
        trial: Of any seed and budget.
        stored: Channels, height, width of the dataset's images, which the pipeline may resize.
        emit: Told ``started``; then ``measurement`` with the fields of a
            :class:`~resbench.estimate.measurement.Measurement`, or ``out_of_memory``.
    """
    emit("started", {})
    try:
        emit("measurement", asdict(measure(trial, stored)))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        emit("out_of_memory", {"error": in_one_line(error)})


def measure(trial: Trial, stored: tuple[int, int, int]) -> Measurement:
    """Measures a trial's network; on a processor this process must have measured no other, for the sake of memory."""
    began = time.perf_counter()
    apply_precision(trial.engine.precision)
    device, recipe = open_device(trial.engine.device), get_recipe(trial.recipe)
    settings = replace(trial.engine, compile=False, cuda_graph=False)
    share = Ranks(size=trial.engine.devices).share(trial.batch_size)
    torch.set_num_threads(threads_of_each(trial.engine.devices))
    subject = Subject(trial.model, trial.stem, trial.input, trial.num_classes, share, settings)
    without_memory(subject.build)  # what its builder imports is no network's own memory
    level = memory_level(device)
    building = time.perf_counter()
    engine = subject.engine_for(recipe, device)
    device.synchronize()
    built = time.perf_counter()

    with Telemetry(device).window("estimate") as window:
        step_s, allocated_mib, reserved_mib = _train(engine, device)
        state_mib = _state_mib(engine)
        pipeline = _random_pipeline(replace(trial, batch_size=share), stored, device)
        images, _ = engine.slots[0]
        data_s = typical_s(lambda: next(pipeline.epoch(engine.slots)), device)
        engine.model.eval()
        with engine.constant_weights():
            eval_s = typical_s(lambda: _evaluate(engine, pipeline.evaluation(engine.slots)), device)
            single_s = typical_s(engine.inference(images[:1].clone(memory_format=torch.channels_last)), device)
    report = window.report()
    cached = settings.cache_features and settings.devices == 1
    head = train_head_only(engine, pipeline, recipe)[0] if cached else None
    counting = time.perf_counter()
    flops = count_flops(subject.build, trial.input, device=trial.engine.device).training
    count_s = (1 + FVCORE) * (time.perf_counter() - counting)
    return Measurement(
        setup_s=built - began,
        build_s=built - building,
        count_s=count_s,
        single_s=single_s,
        step_s=step_s,
        data_s=data_s,
        eval_s=eval_s,
        train_flops_per_image=flops,
        peak_mib=allocated_mib - level,
        taken_mib=allocated_mib - level if reserved_mib is None else reserved_mib,
        state_mib=_state_mib(head.engine) if head else state_mib,
        device_mib=device.memory_total_mib(),
        doubts=report.reasons if report.verdict == SUSPECT else [],
        head=_measure_head(head, trial.input, device) if head else None,
    )


def typical_s(call: Callable[[], object], device: Device) -> float:
    """Returns the median seconds of a call that is made a few times, after a first one, unless that is slow."""
    return _again_s(call, device, first_s=_once_s(call, device))


def _once_s(call: Callable[[], object], device: Device) -> float:
    """Returns the seconds of one call, until the device is done with it."""
    device.synchronize()
    began = time.perf_counter()
    call()
    device.synchronize()
    return time.perf_counter() - began


def _again_s(call: Callable[[], object], device: Device, *, first_s: float) -> float:
    """Returns the median seconds of a few calls that are warm, as many as the first one leaves time for."""
    if first_s > TOO_SLOW_S:
        return first_s
    if first_s > SLOW_S:
        return min(first_s, _once_s(call, device))
    seconds: list[float] = []
    while len(seconds) < LEAST_CALLS or (len(seconds) < MOST_CALLS and sum(seconds) < ENOUGH_S):
        seconds.append(_once_s(call, device))
    return median(seconds)


def _train(engine: Engine, device: Device) -> tuple[float, float, float | None]:
    """Takes a few training steps on noise, at learning rate 0.

    Returns:
        Seconds of one, and the peaks in MiB, as :func:`~resbench.measure.memory.measure_memory` reads them: on CUDA
        without what the first step takes to find its kernels.
    """

    def step() -> None:
        engine.train_step(*engine.slots[0])

    engine.set_learning_rate(0.0)
    engine.train_mode()
    if device.queue_depth:
        step()
    device.start_memory_window()
    first_s = _once_s(step, device)
    step_s = _again_s(step, device, first_s=first_s)
    peak = device.memory_peak()
    # The optimizer's state appears at the end of the first step: only from the second on it is beside activations.
    later_mib = _optimizer_mib(engine) if first_s > TOO_SLOW_S and not device.queue_depth else 0.0
    return step_s, peak.allocated_mib + later_mib, peak.reserved_mib


def _evaluate(engine: Engine, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Passes evaluation batches through the network."""
    for images, labels in batches:
        engine.eval_step(images, labels)


def _random_pipeline(trial: Trial, stored: tuple[int, int, int], device: Device) -> Pipeline:
    """Returns the trial's pipeline on one batch of random images."""
    recipe, generator = get_recipe(trial.recipe), torch.Generator().manual_seed(0)
    channels, height, width = stored
    images = torch.randint(256, (trial.batch_size, height, width, channels), dtype=torch.uint8, generator=generator).to(
        device.torch_device
    )
    labels = torch.randint(trial.num_classes, (trial.batch_size,), generator=generator).to(device.torch_device)
    split = Split(images, labels)
    on_host = Split(images.cpu(), labels.cpu())
    noise = Dataset("noise", on_host, on_host, tuple(map(str, range(trial.num_classes))), "")
    return Pipeline(
        split,
        split,
        input_size=trial.input[1:],
        batch_size=trial.batch_size,
        augmentation=recipe.augmentation,
        normalisation=normalisation_of(noise, recipe.normalisation),
        seed=0,
    )


def _measure_head(head: HeadTraining, input_shape: tuple[int, int, int], device: Device) -> HeadMeasurement:
    """Times the parts of a training on cached features."""
    engine, pipeline = head.engine, head.pipeline
    images, _ = next(pipeline.images.evaluation())
    features_s = typical_s(lambda: pipeline.extract(images), device)
    batch = next(pipeline.epoch(engine.slots))  # makes the features of all images there are
    data_s = typical_s(lambda: next(pipeline.epoch(engine.slots)), device)
    engine.set_learning_rate(0.0)
    engine.train_mode()
    step_s = typical_s(lambda: engine.train_step(*batch), device)
    engine.model.eval()
    _evaluate(engine, pipeline.evaluation(engine.slots))
    eval_s = typical_s(lambda: _evaluate(engine, pipeline.evaluation(engine.slots)), device)
    cost = count_feature_cost(head.backbone, input_shape)
    return HeadMeasurement(features_s, data_s, step_s, eval_s, cost.features, cost.step)


def _optimizer_mib(engine: Engine) -> float:
    """Returns what the optimizer keeps."""
    kept = (value for of in engine.optimizer.state.values() for value in of.values() if torch.is_tensor(value))
    return sum(value.nbytes for value in kept) / MIB


def _state_mib(engine: Engine) -> float:
    """Returns what a checkpoint holds of an engine that has taken a step."""
    tensors = filter(torch.is_tensor, engine.model.state_dict().values())
    return sum(value.nbytes for value in tensors) / MIB + _optimizer_mib(engine)
