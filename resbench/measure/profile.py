"""All instruments on one network at one batch size: what it costs before any training."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from resbench.devices import Device, is_out_of_memory, open_device
from resbench.errors import ModelError, in_one_line
from resbench.host_state import forked_generators
from resbench.measure.flops import Complexity, measure_complexity
from resbench.measure.latency import Latency, measure_latency, one_image
from resbench.measure.memory import MemoryUse, measure_memory, memory_level
from resbench.measure.telemetry import SUSPECT, Telemetry
from resbench.plugins import place_in
from resbench.precision import apply_precision
from resbench.ranks import ALONE, Ranks
from resbench.recipes import Recipe, get_recipe
from resbench.registry import create_model, described, model_entry
from resbench.schema import EngineSettings, ProfileRecord, format_input
from resbench.training.engine import Engine
from resbench.training.forward import layout_of
from resbench.training.frozen import train_mode


@dataclass(frozen=True)
class Subject:
    """What is measured."""

    model: str
    stem: str
    input: tuple[int, int, int]
    """Channels, height, width."""
    num_classes: int
    batch_size: int
    engine: EngineSettings
    micro_batch_size: int | None = None
    """Images of one pass where the whole batch does not fit into memory."""
    seed: int = 0
    """What the network's weights are drawn from, and its structure if that is drawn."""

    @property
    def pass_size(self) -> int:
        """Images that go through the network at once."""
        return min(self.batch_size, self.micro_batch_size or self.batch_size)

    def build(self, weights: str | None = "random") -> nn.Module:
        """Builds the network from the seed, on torch's default device; generators are put back where they were.

        Args:
            weights: As for :meth:`create`.
        """
        with forked_generators(seed=self.seed):
            return self.create(weights)

    def create(self, weights: str | None) -> nn.Module:
        """Builds the network from generators as they are, on torch's default device.

        Args:
            weights: For a model that takes them; ``None`` is the model's own default.
        """
        channels, height, width = self.input
        return create_model(
            self.model,
            num_classes=self.num_classes,
            in_channels=channels,
            stem=self.stem,
            input_size=(height, width),
            weights=weights if model_entry(self.model).accepts_weights else None,
        )

    def check_logits(self, recipe: Recipe) -> None:
        """Checks what two images give in eval and in train mode, before anything is measured.

        Args:
            recipe: Decides the mode of frozen batch norm in training.

        Raises:
            ModelError: That is no tensor of floats (2, classes), or the network runs in contiguous memory format only
                and the subject's is another; the message names the code at fault.
            Exception: Whatever the network raises.
        """
        wanted = (2, self.num_classes)
        for training in (False, True):
            try:
                logits, forward = self._pass(recipe, 2, training=training)
            except Exception as error:
                self._check_memory_format(recipe, error, training=training)
                raise
            if isinstance(logits, torch.Tensor) and logits.is_floating_point() and logits.shape == wanted:
                continue
            is_tensor = isinstance(logits, torch.Tensor)
            mode = "train" if training else "eval"
            shown = f"{logits.dtype} {tuple(logits.shape)}" if is_tensor else type(logits).__name__
            raise ModelError(
                f"{described(model_entry(self.model))} gives {shown} for two images in {mode} mode{forward}, "
                f"and logits {wanted} are wanted: one float for each image and class."
            )

    def _check_memory_format(self, recipe: Recipe, error: Exception, *, training: bool) -> None:
        """Raises a `ModelError` if a pass that failed in channels_last succeeds in contiguous."""
        if self.engine.memory_format != "channels_last" or is_out_of_memory(error):
            return
        try:
            replace(self, engine=replace(self.engine, memory_format="contiguous"))._pass(recipe, 2, training=training)
        except Exception:
            return
        entry = model_entry(self.model)
        place = place_in(entry, error)
        raise ModelError(
            f"{described(entry)} does not run in channels_last{f', at {place}' if place else ''} "
            f"({in_one_line(error)}): give --memory-format contiguous, or use reshape in the place of view."
        ) from error

    def untrainable(self, recipe: Recipe) -> str | None:
        """Returns why no training step is possible, with file and line, or None if one is.

        Batch norm refuses a batch with one value a channel.

        Args:
            recipe: Decides whether frozen batch norm takes statistics of the batch at all.

        Raises:
            ModelError, Exception: As :meth:`check_logits`.
        """
        if self.batch_size // -(-self.batch_size // self.pass_size) > 1:
            return None
        self.check_logits(recipe)
        try:
            self._pass(recipe, 1, training=True)
        except ValueError as error:
            entry = model_entry(self.model)
            place = place_in(entry, error)
            return (
                f"{described(entry)} does not train on one image at a time{f', at {place}' if place else ''} "
                f"({in_one_line(error)}): give --batch-size 2 or more."
            )
        return None

    def can_train(self, recipe: Recipe) -> bool:
        """Returns whether a training step is possible, see :meth:`untrainable`."""
        return self.untrainable(recipe) is None

    def _pass(self, recipe: Recipe, count: int, *, training: bool) -> tuple[Any, str]:
        """Passes images through a new network: on the meta device, or on its own if real tensors are needed.

        Returns:
            What it gives, and where its code is.
        """
        with forked_generators(seed=self.seed):
            try:
                with _MergingViews() as views:
                    passed = self._pass_on(torch.device("meta"), recipe, count, training=training)
                if not (views.found and self.engine.memory_format == "channels_last"):
                    return passed
            except Exception:  # it fails on real images too, or is one that meta tensors defeat
                pass
            return self._pass_on(torch.device(self.engine.device), recipe, count, training=training)

    def _pass_on(self, device: torch.device, recipe: Recipe, count: int, *, training: bool) -> tuple[Any, str]:
        layout = layout_of(self.engine)
        with torch.device("meta") if device.type == "meta" else nullcontext():
            network = self.build().to(device, memory_format=layout)  # type: ignore[call-overload]
            train_mode(network, recipe.frozen_batch_norm) if training else network.eval()
            images = torch.zeros(count, *self.input, device=device).contiguous(memory_format=layout)
            with torch.set_grad_enabled(training):
                output = network(images)
        code = getattr(type(network).forward, "__code__", None)
        if code is None or Path(code.co_filename).is_relative_to(Path(torch.__file__).parent):
            return output, ""
        return output, f" ({Path(code.co_filename).name}:{code.co_firstlineno})"

    def fixed_batch(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns a batch of noise as the pipeline makes them: images [B, C, H, W] in channels_last, labels [B]."""
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(self.batch_size, *self.input, generator=generator)
        labels = torch.randint(self.num_classes, (self.batch_size,), generator=generator)
        return images.to(device, memory_format=torch.channels_last), labels.to(device)

    def engine_for(self, recipe: Recipe, device: Device, *, slots: int = 1, ranks: Ranks = ALONE) -> Engine:
        """Builds the network and an engine around it, whose slots hold a batch of noise each."""
        batches = [self.fixed_batch(device.torch_device) for _ in range(slots)]
        return Engine(
            self.build(),
            recipe,
            self.engine,
            slots=batches,
            micro_batch_size=self.micro_batch_size,
            device=device,
            ranks=ranks,
        )


class _MergingViews(TorchFunctionMode):
    """Notes whether `view` is called in a way that fails if the tensor is in channels_last.

    Convolutions on the meta device give contiguous tensors, whatever the layout of their images.
    """

    found = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.view and args[0].dim() == 4:
            try:
                func(args[0].contiguous(memory_format=torch.channels_last), *args[1:], **(kwargs or {}))
            except RuntimeError:
                self.found = True
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Profile:
    """What the instruments say."""

    complexity: Complexity
    latency: Latency
    memory: MemoryUse
    warm_up_s: float
    """Compiling, tuning and recording before the measurements."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the figures must know, and why one is missing."""


def measure_profile(
    subject: Subject,
    recipe: Recipe,
    device: Device,
    *,
    with_step: bool,
    on_phase: Callable[[str], None],
    ranks: Ranks = ALONE,
) -> tuple[Profile, Engine]:
    """Builds the network and measures it: memory first, while the process is clean, then time, then arithmetic.

    What cannot be measured of a network that can be trained is None, and noted. A network that cannot be trained, or
    not in this memory, raises its own error.

    Args:
        subject: What to measure.
        recipe: Its optimizer decides what training memory holds.
        device: The seam of the subject's device.
        with_step: Whether whole training steps are timed.
        on_phase: Told ``build``, ``warm-up`` and ``profile`` as they begin.
        ranks: Who trains the network together. Each measures its own share at the same time; memory is that of the one
            which takes most, gradients on their way to the others included.

    Returns:
        The figures, and the engine that they were taken from: warm, compiled and recorded. It has trained on noise
        and wants a :meth:`~resbench.training.engine.Engine.restart`.
    """
    on_phase("build")
    subject.check_logits(recipe)  # besides, what the builder imports is no network's own memory
    level = memory_level(device)
    engine = subject.engine_for(recipe, device, ranks=ranks)
    train = subject.can_train(recipe)
    # Compiling and cuDNN's search take memory of their own that must not enter the peaks. On the CPU the peak is
    # the process's, so where nothing is compiled nothing may run before it is measured.
    first = time.perf_counter()
    if subject.engine.compile or device.queue_depth:
        on_phase("warm-up")
        if train:
            engine.warm_up(*engine.slots[0])
        else:
            _pass_once(engine, engine.slots[0][0])
        device.synchronize()
    warm_up_s = time.perf_counter() - first
    on_phase("profile")
    notes: list[str] = []
    try:
        memory = measure_memory(engine, device, level_mib=level, train=train).largest(ranks)
    except Exception as error:
        if is_out_of_memory(error) or ranks.size > 1:  # ranks wait for each other: none goes on alone
            raise
        _step_once(engine, train=train)
        memory = MemoryUse(None, None, None)
        notes.append(f"memory could not be measured ({in_one_line(error)})")
    # A graph has memory of its own, the same once more; so steps are recorded after the peaks are read.
    second = time.perf_counter()
    if engine.compiled:
        try:
            _pass_once(engine, one_image(engine.slots[0][0]))  # a shape of its own to the compiler
        except Exception as error:
            if is_out_of_memory(error):
                raise  # anything else is said where the latency is measured
    if train:
        engine.capture()
    device.synchronize()
    warm_up_s += time.perf_counter() - second
    latency = measure_latency(engine, device, with_step=with_step, train=train)
    with forked_generators(seed=subject.seed):  # blocks that are left out at random are the same each time
        complexity = measure_complexity(subject.build, subject.input, device=subject.engine.device)
    return Profile(complexity, latency, memory, warm_up_s, [*notes, *latency.failures, *complexity.notes]), engine


def _step_once(engine: Engine, *, train: bool) -> None:
    """Trains and evaluates on one batch as a training does; raises what that raises."""
    batch = engine.slots[0]
    engine.optimizer.zero_grad(set_to_none=True)
    if train:
        engine.train_mode()
        engine.train_step(*batch)
    engine.model.eval()
    engine.eval_step(*batch)


def _pass_once(engine: Engine, images: torch.Tensor) -> None:
    """Passes images through the network in eval mode, as is going to be measured."""
    engine.model.eval()
    with torch.inference_mode():
        engine.forward(images)


def profile_record(
    subject: Subject, profile: Profile, engine: Engine, *, device_name: str, trial_id: str | None = None
) -> ProfileRecord:
    """Returns the row of ``profile.csv``; the engine says what ran."""
    complexity, latency, memory = profile.complexity, profile.latency, profile.memory
    return ProfileRecord(
        trial_id=trial_id,
        model=subject.model,
        source=model_entry(subject.model).source,
        stem=subject.stem,
        input=format_input(subject.input),
        num_classes=subject.num_classes,
        batch_size=subject.pass_size,
        device_name=device_name,
        precision=subject.engine.precision,
        memory_format=subject.engine.memory_format,
        compiled=engine.compiled,
        compile_mode=subject.engine.compile_mode if engine.compiled else None,
        cuda_graph=engine.cuda_graph,
        lowering=engine.lowering,
        params=complexity.params,
        trainable_params=complexity.trainable_params,
        macs=complexity.macs,
        macs_fvcore=complexity.macs_fvcore,
        forward_flops=complexity.forward_flops,
        train_flops_per_image=complexity.train_flops_per_image,
        activations=complexity.activations,
        latency_ms_p50=latency.single.ms() if latency.single else None,
        latency_ms_p90=latency.single.ms(0.9) if latency.single else None,
        inference_ms_p50=latency.inference.ms() if latency.inference else None,
        inference_ms_p90=latency.inference.ms(0.9) if latency.inference else None,
        inference_images_per_second=latency.inference.per_second(subject.pass_size) if latency.inference else None,
        forward_ms=latency.forward.ms() if latency.forward else None,
        backward_ms=latency.backward.ms() if latency.backward else None,
        train_images_per_second=latency.step.per_second(subject.batch_size) if latency.step else None,
        inference_memory_mib=memory.inference_mib,
        peak_memory_allocated_mib=memory.training_allocated_mib,
        peak_memory_reserved_mib=memory.training_reserved_mib,
    )


def run_profile(subject: Subject, emit: Callable[[str, dict[str, object]], None]) -> None:
    """Measures one subject in this process and emits its ``profile`` row, and why it is suspect where it is."""
    apply_precision(subject.engine.precision)
    device = open_device(subject.engine.device)
    recipe = get_recipe("common")
    if reason := subject.untrainable(recipe):
        emit("notice", {"text": f"training is not measured: {reason}"})
    with Telemetry(device).window("profile") as window:
        profile, engine = measure_profile(
            subject,
            recipe,
            device,
            with_step=True,
            on_phase=lambda phase: emit("phase", {"phase": phase}),
        )
    seen = window.report()
    doubts = seen.reasons if seen.verdict == SUSPECT else ()
    notes = (f"{subject.model}: {note}" for note in profile.notes)
    suspect = (f"{subject.model} at this batch is suspect: {doubt}" for doubt in doubts)
    for reason in (*engine.fallbacks, *notes, *suspect):
        emit("notice", {"text": reason})
    emit("profile", profile_record(subject, profile, engine, device_name=device.name).to_dict())
