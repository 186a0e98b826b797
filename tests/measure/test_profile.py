from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_trials import registering
from torch import nn

from resbench import registry
from resbench.devices import CpuDevice, MemoryPeak
from resbench.measure import profile, telemetry
from resbench.measure.profile import Profile, Subject, measure_profile, profile_record, run_profile
from resbench.recipes import get_recipe
from resbench.registry import register_model
from resbench.schema import EngineSettings, ProfileRecord, columns
from resbench.training.engine import WARM_UP_STEPS, Engine

INPUT = (3, 8, 8)
ALWAYS_EMPTY_ON_CPU = {"peak_memory_reserved_mib"}
EMPTY_WHERE_EAGER = {"compile_mode"}


pytestmark = pytest.mark.usefixtures("brief_timing")


def subject(model: str = "cnn", *, batch_size: int = 4, **engine: Any) -> Subject:
    settings = EngineSettings("cpu", "fp32", **engine)
    return Subject(model, "source", INPUT, num_classes=5, batch_size=batch_size, engine=settings)


def measure(
    what: Subject,
    *,
    with_step: bool = True,
    on_phase: Callable[[str], None] = lambda phase: None,
    device: CpuDevice | None = None,
) -> tuple[Profile, Engine]:
    device = device or CpuDevice()
    return measure_profile(what, get_recipe("common"), device, with_step=with_step, on_phase=on_phase)


def row(what: Subject, **changes: Any) -> dict[str, Any]:
    return profile_record(what, *measure(what, **changes), device_name="a processor", trial_id="t").to_dict()


class TestSubject:
    def test_builds_what_it_says(self):
        model = subject().build()
        assert model(torch.zeros(2, *INPUT)).shape == (2, 5)

    def test_hands_weights_only_to_networks_that_take_them(self):
        subject("cnn").build("default")
        with pytest.raises(registry.InputError, match=r"no weights file 'nowhere\.pt'"):
            subject("resnet152_frozen").build("nowhere.pt")

    @pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
    def test_the_fixed_batch_is_the_same_always_and_as_the_pipeline_makes_them(self, memory_format):
        state = torch.get_rng_state()
        what = subject(memory_format=memory_format, batch_size=64)
        images, labels = what.fixed_batch(torch.device("cpu"))
        again, same_labels = what.fixed_batch(torch.device("cpu"))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(images, again)
        assert torch.equal(labels, same_labels)
        assert images.shape == (64, *INPUT)
        assert images.is_contiguous(memory_format=torch.channels_last)  # the engine puts it into its own format
        assert set(labels.tolist()) == set(range(5))

    @pytest.mark.parametrize("slots", [1, 2])
    def test_an_engine_for_it_has_slots_of_their_own(self, slots):
        what, device = subject(), CpuDevice()
        engine = what.engine_for(get_recipe("common"), device, slots=slots)
        assert engine.seam is device
        assert engine.settings is what.engine
        assert len({images.data_ptr() for images, _ in engine.slots}) == slots
        for images, labels in engine.slots:
            assert (images.shape, labels.shape) == ((4, *INPUT), (4,))


class ScriptedDevice(CpuDevice):
    """A device whose clock the network moves, and whose memory peaks are 110 MiB of inference and 150 of training."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.peaks = [MemoryPeak(110.0, 300.0), MemoryPeak(150.0, 400.0)]

    def mark(self) -> float:
        return self.now

    def start_memory_window(self) -> None:
        pass

    def memory_peak(self) -> MemoryPeak:
        return self.peaks.pop(0)


class Timed(nn.Module):
    """Takes 1 ms for an image and 10 for a batch in eval mode, 100 in train mode and 1 s backward; then 2 and 6 times
    as long, and again from the beginning."""

    def __init__(self, device: ScriptedDevice) -> None:
        super().__init__()
        self.device, self.calls = device, {"one": 0, "batch": 0, "forward": 0, "backward": 0}
        self.frozen = nn.Parameter(torch.ones(7), requires_grad=False)
        self.head = nn.Linear(3 * 64, 5)
        self.head.weight.register_hook(lambda gradient: self.take("backward", 1.0))

    def take(self, kind: str, seconds: float) -> None:
        self.device.now += seconds * (1, 2, 6)[self.calls[kind] % 3]
        self.calls[kind] += 1

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not images.is_meta:  # where FLOPs are counted
            self.take(*(("forward", 0.1) if self.training else ("one", 0.001) if len(images) == 1 else ("batch", 0.01)))
        return self.head(images.flatten(1))


OF_ANY_BATCH = {
    "params": 3 * 64 * 5 + 5 + 7,
    "trainable_params": 3 * 64 * 5 + 5,
    "latency_ms_p50": 2,
    "latency_ms_p90": 5.2,
    "forward_ms": 200,
    "backward_ms": 2000,
    "inference_memory_mib": 110,
    "peak_memory_allocated_mib": 150,
    "peak_memory_reserved_mib": 400,
}


class TestProfile:
    def test_fills_every_column_that_a_cpu_has(self):
        written = row(subject())
        assert list(written) == columns(ProfileRecord)
        assert {name for name, value in written.items() if value is None} == ALWAYS_EMPTY_ON_CPU | EMPTY_WHERE_EAGER

    def test_counts_equal_the_closed_form(self):
        written = row(subject())
        params = 75 * 16 + 16 + 400 * 32 + 32 + 800 * 32 + 32 + 800 * 64 + 64 + 256 * 5 + 5
        macs = 64 * 75 * 16 + 16 * 400 * 32 + 16 * 800 * 32 + 4 * 800 * 64 + 256 * 5
        assert (written["params"], written["trainable_params"]) == (params, params)
        assert (written["macs"], written["macs_fvcore"], written["forward_flops"]) == (macs, macs, 2 * macs)
        assert written["train_flops_per_image"] == 2 * (3 * macs - 64 * 75 * 16)
        assert written["activations"] == 64 * 16 + 16 * 32 + 16 * 32 + 4 * 64 + 5

    def test_rates_are_the_batch_over_the_median(self):
        what = subject()
        measured, engine = measure(what)
        written = profile_record(what, measured, engine, device_name="a processor").to_dict()
        assert written["inference_images_per_second"] == pytest.approx(4000 / written["inference_ms_p50"])
        assert measured.latency.step is not None
        assert written["train_images_per_second"] == pytest.approx(4000 / measured.latency.step.ms())
        assert written["latency_ms_p50"] <= written["latency_ms_p90"]

    @pytest.mark.parametrize(
        ("part", "figures"),
        [
            (
                None,
                {
                    "batch_size": 4,
                    "inference_ms_p50": 20,
                    "inference_ms_p90": 52,
                    "inference_images_per_second": 4 / 0.020,
                    "train_images_per_second": 4 / 2.2,
                },
            ),
            # A pass is of two images then, and a step of two passes: 3, 7 and 8 times 1.1 s.
            (
                2,
                {
                    "batch_size": 2,
                    "inference_ms_p50": 20,
                    "inference_ms_p90": 52,
                    "inference_images_per_second": 2 / 0.020,
                    "train_images_per_second": 4 / 7.7,
                },
            ),
        ],
        ids=["whole batches", "in parts"],
    )
    def test_every_figure_is_that_of_its_instrument(self, part, figures):
        device = ScriptedDevice()
        with registering() as add:
            add("timed", lambda: Timed(device))
            what = dataclasses.replace(subject("timed"), micro_batch_size=part)
            written = row(what, device=device)
        # Any three calls in turn take 1, 2 and 6 times as long: 2 is the median, 3 the mean, 5.2 the nine tenths.
        assert {name: written[name] for name in [*figures, *OF_ANY_BATCH]} == pytest.approx(figures | OF_ANY_BATCH)

    def test_without_steps_the_training_rate_is_empty(self):
        assert row(subject(), with_step=False)["train_images_per_second"] is None

    def test_says_its_phases(self):
        phases: list[str] = []
        measure(subject(), on_phase=phases.append)
        assert phases == ["build", "profile"]

    def test_run_profile_emits_the_phases_and_one_row(self):
        told: list[tuple[str, dict[str, Any]]] = []
        run_profile(subject(), lambda kind, data: told.append((kind, data)))
        told = [(kind, data) for kind, data in told if "suspect" not in str(data)]  # other tests run beside it
        assert [kind for kind, _ in told] == ["phase", "phase", "profile"]
        assert told[-1][1]["model"] == "cnn"
        assert told[-1][1]["device_name"] == CpuDevice().name


@pytest.fixture
def counting() -> Iterator[None]:
    """Registers a network of one layer."""

    @register_model("counting", source="test")
    def build(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
        """Counts."""
        return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64, num_classes))

    yield
    registry._ENTRIES.pop("counting", None)


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In which order compiled code is called, memory and time are measured and steps are recorded."""
    order: list[str] = []

    def noted(name: str) -> None:
        original = getattr(profile, name)
        monkeypatch.setattr(profile, name, lambda *args, **more: (order.append(name), original(*args, **more))[1])

    def compile_nothing(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def call(*arguments: torch.Tensor) -> Any:
            order.append("compiled call")
            return function(*arguments)

        return call

    noted("measure_memory")
    noted("measure_latency")
    monkeypatch.setattr(torch, "compile", compile_nothing)
    return order


class NotingDevice(CpuDevice):
    """Notes when it records."""

    def __init__(self, order: list[str]) -> None:
        super().__init__()
        self.order = order

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        self.order.append("capture")
        return work


class TestEngineThatIsMeasured:
    def test_falls_back_to_eager_where_it_does_not_compile(self, monkeypatch):
        def fail(*arguments: torch.Tensor) -> torch.Tensor:
            raise NotImplementedError("no lowering")

        monkeypatch.setattr(torch, "compile", lambda function, **options: fail)
        what = subject(compile=True, compile_mode="reduce-overhead")
        measured, engine = measure(what)
        written = profile_record(what, measured, engine, device_name="a processor").to_dict()
        assert (written["compiled"], written["compile_mode"]) == (False, None)
        assert engine.fallbacks == ["torch.compile failed (NotImplementedError: no lowering), eager instead"]
        told: list[tuple[str, dict[str, Any]]] = []
        run_profile(what, lambda kind, data: told.append((kind, data)))
        told = [(kind, data) for kind, data in told if "suspect" not in str(data)]  # other tests run beside it
        assert [kind for kind, _ in told] == ["phase", "phase", "phase", "notice", "profile"]
        assert told[3][1] == {"text": engine.fallbacks[0]}

    def test_of_a_busy_machine_is_told_of(self, monkeypatch):
        busy = SimpleNamespace(verdict="suspect", reasons=["other processes kept 1.5 of 2 threads busy"])
        monkeypatch.setattr(telemetry.Window, "report", lambda window: busy)
        told: list[tuple[str, dict[str, Any]]] = []
        run_profile(subject(), lambda kind, data: told.append((kind, data)))
        words = "at this batch is suspect: other processes kept 1.5 of 2 threads busy"
        assert [data["text"] for kind, data in told if kind == "notice" and words in data["text"]] != []

    @pytest.mark.usefixtures("counting")
    def test_has_compiled_before_memory_is_measured(self, order):
        phases: list[str] = []
        written = row(subject("counting", compile=True), on_phase=phases.append)
        assert (written["compiled"], written["compile_mode"]) == (True, "default")
        assert phases == ["build", "warm-up", "profile"]
        assert order.index("measure_memory") == WARM_UP_STEPS + 1  # training steps, and an evaluation

    @pytest.mark.usefixtures("counting")
    @pytest.mark.parametrize("compiled", [False, True])
    def test_is_recorded_after_memory_and_before_time_is_measured(self, order, compiled):
        what = subject("counting", compile=compiled, cuda_graph=True)
        written = row(what, device=NotingDevice(order))
        assert written["cuda_graph"] is True
        wanted = [name for name in order if name != "compiled call"]
        assert wanted == ["measure_memory", "capture", "capture", "measure_latency", "capture", "capture"]

    def test_is_not_recorded_unless_that_is_asked_for(self, order):
        written = row(subject("cnn"), device=NotingDevice(order))
        assert written["cuda_graph"] is False
        assert order == ["measure_memory", "measure_latency"]

    def test_is_the_one_that_is_returned(self, order):
        what = subject(compile=True, cuda_graph=True)
        measured, engine = measure(what)
        assert measured.warm_up_s > 0
        assert engine.settings is what.engine
        assert (engine.compiled, engine.cuda_graph, engine.fallbacks) == (True, True, [])
        before = len(order)
        engine.train_step(*engine.slots[0])
        assert order[before:] == ["compiled call"]


def test_a_network_that_cannot_train_on_one_image_is_profiled_without_its_training_figures() -> None:
    # Batch norm in training mode refuses one value a channel: one image whose last maps are 1x1.
    found = row(subject("d2l_resnet18", batch_size=1))
    training = {"forward_ms", "backward_ms", "train_images_per_second", "peak_memory_allocated_mib"}
    empty = {column for column, value in found.items() if value is None}
    assert empty == training | ALWAYS_EMPTY_ON_CPU | EMPTY_WHERE_EAGER
    assert found["latency_ms_p50"] > 0
    assert found["train_flops_per_image"] > 2 * found["forward_flops"]


def test_a_network_without_batch_norm_trains_on_one_image() -> None:
    assert row(subject("cnn", batch_size=1))["train_images_per_second"] > 0


def test_a_frozen_batch_norm_refuses_one_image_only_where_it_takes_statistics_of_it() -> None:
    def build() -> nn.Module:
        return nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3).requires_grad_(False), nn.Flatten(), nn.Linear(3, 5)
        )

    with registering() as add:
        add("frozen norm", build)
        what = subject("frozen norm", batch_size=1)
        assert what.can_train(get_recipe("resnet152_features"))
        assert not what.can_train(get_recipe("common"))
