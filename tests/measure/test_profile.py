from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from resbench import registry
from resbench.devices import CpuDevice
from resbench.measure import profile
from resbench.measure.profile import Profile, Subject, measure_profile, profile_record, run_profile
from resbench.recipes import get_recipe
from resbench.registry import register_model
from resbench.schema import EngineSettings, ProfileRecord, columns

INPUT = (3, 8, 8)
ALWAYS_EMPTY_ON_CPU = {"peak_memory_reserved_mib"}


pytestmark = pytest.mark.usefixtures("small_heap", "brief_timing")


def subject(model: str = "cnn", *, batch_size: int = 4, **engine: Any) -> Subject:
    settings = EngineSettings("cpu", "fp32", **engine)
    return Subject(model, "source", INPUT, num_classes=5, batch_size=batch_size, engine=settings)


def measure(what: Subject, *, with_step: bool = True, on_phase: Callable[[str], None] = lambda phase: None) -> Profile:
    return measure_profile(what, get_recipe("common"), CpuDevice(), with_step=with_step, on_phase=on_phase)


def row(what: Subject, **changes: Any) -> dict[str, Any]:
    return profile_record(what, measure(what, **changes), device_name="a processor", trial_id="t").to_dict()


class TestSubject:
    def test_builds_what_it_says(self):
        model = subject().build()
        assert model(torch.zeros(2, *INPUT)).shape == (2, 5)

    def test_hands_weights_only_to_networks_that_take_them(self):
        subject("cnn").build("default")
        with pytest.raises(registry.InputError, match=r"no weights file 'nowhere\.pt'"):
            subject("resnet152_frozen").build("nowhere.pt")

    @pytest.mark.parametrize(
        ("memory_format", "layout"),
        [("channels_last", torch.channels_last), ("contiguous", torch.contiguous_format)],
    )
    def test_the_fixed_batch_is_the_same_always_and_draws_nothing(self, memory_format, layout):
        state = torch.get_rng_state()
        what = subject(memory_format=memory_format, batch_size=64)
        images, labels = what.fixed_batch(torch.device("cpu"))
        again, same_labels = what.fixed_batch(torch.device("cpu"))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(images, again)
        assert torch.equal(labels, same_labels)
        assert images.shape == (64, *INPUT)
        assert images.is_contiguous(memory_format=layout)
        assert set(labels.tolist()) == set(range(5))


class TestProfile:
    def test_fills_every_column_that_a_cpu_has(self):
        written = row(subject())
        assert list(written) == columns(ProfileRecord)
        assert {name for name, value in written.items() if value is None} == ALWAYS_EMPTY_ON_CPU

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
        measured = measure(what)
        written = profile_record(what, measured, device_name="a processor").to_dict()
        assert written["inference_images_per_second"] == pytest.approx(4000 / written["inference_ms_p50"])
        assert measured.latency.step is not None
        assert written["train_images_per_second"] == pytest.approx(4000 / measured.latency.step.ms())
        assert written["latency_ms_p50"] <= written["latency_ms_p90"]

    def test_without_steps_the_training_rate_is_empty(self):
        assert row(subject(), with_step=False)["train_images_per_second"] is None

    def test_says_its_phases(self):
        phases: list[str] = []
        measure(subject(), on_phase=phases.append)
        assert phases == ["build", "profile"]

    def test_run_profile_emits_the_phases_and_one_row(self):
        told: list[tuple[str, dict[str, Any]]] = []
        run_profile(subject(), lambda kind, data: told.append((kind, data)))
        assert [kind for kind, _ in told] == ["phase", "phase", "profile"]
        assert told[-1][1]["model"] == "cnn"
        assert told[-1][1]["device_name"] == CpuDevice().name


class TestCompiled:
    @pytest.fixture(autouse=True)
    def _registry(self) -> Iterator[None]:
        yield
        registry._ENTRIES.pop("counting", None)

    def test_a_network_that_does_not_compile_is_measured_eager(self, monkeypatch):
        def fail(images: torch.Tensor) -> torch.Tensor:
            raise NotImplementedError("no lowering")

        monkeypatch.setattr(torch, "compile", lambda model: fail)
        assert row(subject(compile=True))["compiled"] is False

    def test_compiling_is_over_before_memory_is_measured(self, monkeypatch):
        order: list[str] = []

        @register_model("counting", source="test")
        def counting(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
            """Counts."""
            return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64, num_classes))

        def compile_it(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
            def forward(images: torch.Tensor) -> torch.Tensor:
                order.append("compiled call")
                return model(images)

            return forward

        original = profile.measure_memory
        monkeypatch.setattr(torch, "compile", compile_it)
        monkeypatch.setattr(
            profile, "measure_memory", lambda *args, **more: (order.append("memory"), original(*args, **more))[1]
        )
        assert row(subject("counting", compile=True))["compiled"] is True
        assert order.index("memory") == 3  # two training steps and an evaluation came before


def test_a_network_that_cannot_train_on_one_image_is_profiled_without_its_training_figures() -> None:
    # Batch norm in training mode refuses one value a channel: one image whose last maps are 1x1.
    found = row(subject("d2l_resnet18", batch_size=1))
    training = {"forward_ms", "backward_ms", "train_images_per_second", "peak_memory_allocated_mib"}
    assert {column for column, value in found.items() if value is None} == training | ALWAYS_EMPTY_ON_CPU
    assert found["latency_ms_p50"] > 0
    assert found["train_flops_per_image"] > 2 * found["forward_flops"]


def test_a_network_without_batch_norm_trains_on_one_image() -> None:
    assert row(subject("cnn", batch_size=1))["train_images_per_second"] > 0
