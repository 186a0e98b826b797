from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from small_trials import Build, Known, Make, ScriptedDevice, of_kind, phases, planner, registering, run
from tiny_folder import CLASSES, TEST_IMAGES, make_tiny_folder
from torch import nn

from resbench import recorder, registry
from resbench.errors import InputError
from resbench.inputs import Inputs
from resbench.measure import latency, telemetry
from resbench.recipes import RECIPES
from resbench.registry import register_model
from resbench.schema import EngineSettings, EpochRecord, Hits, Trial, TrialRecord, columns
from resbench.training.ledger import PARTS

EMPTY_ON_CPU = {"peak_memory_reserved_mib", "mfu", "energy_j", "temperature_c", "power_w", "cuda", "cudnn", "driver"}
"""What a processor has no figure for."""
EMPTY_WITHOUT_A_CHECKOUT = {"git_sha", "git_dirty", "git_diff_hash"}
EMPTY_WHERE_ALL_IS_WELL = {"error", "exit_code", "signal"}
EMPTY_WHERE_IT_WAS_SHORT = {"other_load", "clock_mhz"}
"""What telemetry cannot tell of a training of milliseconds, or on a machine that does not say."""
EMPTY_WHERE_EAGER = {"compile_mode"}
EMPTY_FOR_RESBENCH_ITSELF = {"code", "node"}
"""What a network of a user's code, or a cluster, would fill."""

pytestmark = pytest.mark.usefixtures("brief_timing")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("data") / "shades")


@pytest.fixture
def make(folder: Path) -> Make:
    """Plans a trial of the tiny folder."""
    return planner(folder)


@pytest.fixture
def register() -> Iterator[Callable[[str, Build], None]]:
    """Registers networks for one test."""
    with registering() as add:
        yield add


class TestRecord:
    def test_of_a_trial_that_ended_well_is_complete(self, make):
        record, _ = run(make())
        assert (record.status, record.phase, record.error, record.notes) == ("ok", "done", None, [])
        empty = {name for name in columns(TrialRecord) if getattr(record, name) is None}
        assert (
            empty - EMPTY_WITHOUT_A_CHECKOUT - EMPTY_WHERE_IT_WAS_SHORT
            == EMPTY_ON_CPU | EMPTY_WHERE_ALL_IS_WELL | EMPTY_WHERE_EAGER | EMPTY_FOR_RESBENCH_ITSELF
        )
        assert record.concurrent_seeds == 1

    def test_says_which_trial_it_was(self, make):
        trial, inputs = make(seed=5)
        record, _ = run((trial, inputs))
        assert record.trial_id == trial.trial_id
        for name in ("model", "stem", "dataset", "dataset_fingerprint", "recipe", "budget", "seed", "batch_size"):
            assert getattr(record, name) == getattr(trial, name)
        assert record.source == registry.model_entry("cnn").source
        assert (record.input, record.precision, record.tf32) == ("3x8x8", "fp32", False)
        assert (record.compiled, record.cuda_graph, record.memory_format) == (False, False, "channels_last")
        assert record.cpu_threads == torch.get_num_threads()
        assert record.torch == torch.__version__

    def test_counts_what_was_trained_on(self, make):
        record, events = run(make(budget="2.5ep"))
        assert (record.steps, record.epochs, record.images_seen) == (10, 2.5, 80)
        assert record.train_flops_spent == 80 * record.train_flops_per_image
        assert (record.stopped_by, record.overshoot) == ("ep", 0)
        assert [epoch["steps"] for epoch in of_kind(events, "epoch")] == [4, 8, 10]

    def test_holds_the_last_epochs_result_and_the_best(self, make):
        record, events = run(make(budget="6ep"))
        epochs = of_kind(events, "epoch")
        assert len(epochs) == 6
        assert all(list(epoch) == columns(EpochRecord) for epoch in epochs)
        assert record.test_accuracy == epochs[-1]["test_accuracy"]
        assert record.test_loss == epochs[-1]["test_loss"]
        assert record.train_accuracy == epochs[-1]["train_accuracy"]
        assert record.best_test_accuracy == max(epoch["test_accuracy"] for epoch in epochs)
        assert record.best_test_accuracy >= record.test_accuracy
        assert record.test_accuracy * TEST_IMAGES == int(record.test_accuracy * TEST_IMAGES)

    def test_tells_the_last_epoch_from_the_best_where_they_differ(self, make, register):
        class Forgetting(nn.Module):
            """Tells bright from dark at its first evaluation and takes everything for bright at later ones."""

            def __init__(self) -> None:
                super().__init__()
                self.head = nn.Linear(3 * 8 * 8, len(CLASSES))
                self.judged = 0

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                if self.training or not is_training_data(images):
                    return self.head(images.flatten(1))
                self.judged += len(images)
                brightness = images.mean((1, 2, 3)) if self.judged <= TEST_IMAGES else torch.ones(len(images))
                return torch.stack([brightness, 1 - brightness], 1)  # the classes are bright and dark

        register("forgetting", Forgetting)
        record, _ = run(make(model="forgetting", recipe="d2l"))
        assert (record.best_test_accuracy, record.test_accuracy) == (1.0, 0.5)

    def test_parts_of_the_ledger_add_up_to_wall(self, make):
        record, events = run(make())
        parts = [getattr(record, f"{part}_s") for part in PARTS]
        assert all(seconds >= 0 for seconds in parts)
        assert record.other_s >= 0
        assert sum(parts) + record.other_s == pytest.approx(record.wall_s, rel=0.01)
        last = of_kind(events, "epoch")[-1]
        assert record.data_s + record.step_s == pytest.approx(last["train_clock_s"])
        assert record.train_images_per_second == pytest.approx(record.images_seen / last["train_clock_s"])
        assert (record.compile_s, record.checkpoint_s) == (0, 0)

    def test_phases_come_in_order_and_one_profile_is_emitted(self, make):
        _, events = run(make())
        assert phases(events) == ["data", "build", "profile", "build", "warm-up", *["train", "eval"] * 2]
        (profile,) = of_kind(events, "profile")
        assert profile["trial_id"] == make()[0].trial_id
        assert {kind for kind, _ in events} == {
            *("phase", "facts", "profile", "training", "epoch", "progress", "telemetry", "hits")
        }


def test_every_figure_of_a_training_that_is_known_beforehand(make, register, monkeypatch):
    device, report = ScriptedDevice.everywhere(monkeypatch), telemetry.Window.report
    told = {"clock_mhz_mean": 1.0, "temperature_c_max": 2.0, "power_w_mean": 3.0, "other_load": 4.0}
    monkeypatch.setattr(telemetry.Window, "report", lambda window: dataclasses.replace(report(window), **told))
    monkeypatch.setattr(recorder, "peak_flops", lambda name, precision: 1e6)
    register("known", lambda: Known(device))
    record, events = run(make(model="known", budget="2ep"))
    # Four steps an epoch: one of each length, whichever came first.
    learnt = {
        "train_accuracy": 1.0,
        "test_accuracy": 0.5,
        "test_loss": (math.log1p(math.exp(-1)) + math.log1p(math.exp(3))) / 2,  # without smoothing
    }
    flops = 2 * 2 * 192 * 2  # forward and the gradient of the weights; the images need none
    expected = learnt | {
        "best_test_accuracy": 0.5,
        "data_s": 8 * 0.25,
        "step_s": 2 * 16.0,
        "step_ms_p50": 2750,  # of 1.25, 1.25, 2.25, 2.25, 3.25, 3.25, 10.25, 10.25 s, whose mean is 4.25
        "step_ms_p90": 10250,
        "train_images_per_second": 64 / 34,
        "energy_j": 34.0 + 4 * 0.5,  # it is drawn while the network is tested, too
        "train_flops_spent": 64 * flops,
        "mfu": 64 * flops / 34 / 1e6,
        **dict(zip(("clock_mhz", "temperature_c", "power_w", "other_load"), told.values(), strict=True)),
    }
    assert {name: getattr(record, name) for name in expected} == pytest.approx(expected)
    of_epochs = learnt | {
        "train_loss": 0.95 * math.log1p(math.exp(-1)) + 0.05 * math.log1p(math.exp(1)),  # smoothed by 0.1
        "train_images_per_second": 32 / 17,
    }
    for number, epoch in enumerate(of_kind(events, "epoch"), start=1):
        so_far = {"train_clock_s": 17 * number, "images_seen": 32 * number, "train_flops_spent": 32 * flops * number}
        assert {name: epoch[name] for name in of_epochs | so_far} == pytest.approx(of_epochs | so_far)
    (hits,) = of_kind(events, "hits")
    assert Hits.from_dict(hits).unpack().tolist() == [True] * 8 + [False] * 8  # bright is the first class


class TestBudget:
    @pytest.mark.parametrize(
        ("budget", "steps", "unit", "overshoot"),
        [("3steps", 3, "steps", 0), ("20img", 3, "img", 4), ("0.3ep", 2, "ep", 0.2), ("1ep", 4, "ep", 0)],
    )
    def test_says_what_stopped_it_and_how_far_past(self, make, budget, steps, unit, overshoot):
        record, _ = run(make(budget=budget))
        assert record.status == "ok"
        assert (record.steps, record.stopped_by) == (steps, unit)
        assert record.overshoot == pytest.approx(overshoot)

    def test_of_flops_follows_the_networks_own_cost(self, make):
        step = run(make(budget="1steps"))[0].train_flops_spent
        record, _ = run(make(budget=f"{1.5 * step:.0f}flop"))
        assert (record.steps, record.stopped_by) == (2, "flop")
        assert record.overshoot == pytest.approx(0.5 * step)

    def test_of_seconds_is_spent_on_data_and_steps_alone(self, make):
        record, _ = run(make(budget="0.05s"))
        assert record.stopped_by == "s"
        assert record.overshoot == pytest.approx(record.data_s + record.step_s - 0.05)
        assert record.overshoot >= 0


class TestRepeatability:
    def figures(self, planned: tuple[Trial, Inputs]) -> list[list[float]]:
        names = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate")
        return [[epoch[name] for name in names] for epoch in of_kind(run(planned)[1], "epoch")]

    def test_one_seed_gives_the_same_result_to_the_bit_and_another_does_not(self, make):
        torch.manual_seed(1)
        first = self.figures(make(seed=3))
        torch.manual_seed(2)
        assert self.figures(make(seed=3)) == first
        assert self.figures(make(seed=4)) != first

    def test_every_network_of_a_seed_starts_from_the_seed_and_not_from_what_was_measured_before(
        self, make, monkeypatch
    ):
        first = self.figures(make(seed=3))
        monkeypatch.setattr(latency, "MAX_CALLS", 9)
        monkeypatch.setattr(latency, "MIN_CALLS", 9)
        assert self.figures(make(seed=3)) == first


def is_training_data(images: torch.Tensor) -> bool:
    """Whether these are a dataset's pixels in 0..1, not an instrument's noise, zeros or shapes without values."""
    return not images.is_meta and bool(images.min() >= 0) and bool(images.max() > 0)


class Failing(nn.Module):
    """A linear network that does something else on the images of a dataset that is not normalised."""

    def __init__(self, fail: Callable[[torch.Tensor], torch.Tensor], mode: str) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 8 * 8, len(CLASSES))
        self.fail, self.mode = fail, mode

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.head(images.flatten(1))
        if self.mode == "always" or (self.mode == ("train" if self.training else "eval") and is_training_data(images)):
            return self.fail(logits)
        return logits


def out_of_memory(logits: torch.Tensor) -> torch.Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of")


def out_of_main_memory(logits: torch.Tensor) -> torch.Tensor:
    return torch.empty(10**15, device="cpu")


def crash(logits: torch.Tensor) -> torch.Tensor:
    raise ValueError("the first line\nand a second one")


def not_a_number(logits: torch.Tensor) -> torch.Tensor:
    return logits * float("nan")


class TestOutcome:
    @pytest.mark.parametrize(("mode", "phase"), [("always", "build"), ("train", "train"), ("eval", "eval")])
    @pytest.mark.parametrize(
        ("fail", "status", "error"),
        [
            (out_of_memory, "oom", "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
            (out_of_main_memory, "oom", "RuntimeError: "),
            (crash, "crashed", "ValueError: the first line"),
        ],
    )
    def test_of_a_network_that_fails(self, make, register, capsys, fail, status, error, mode, phase):
        register("failing", lambda: Failing(fail, mode))
        record, events = run(make(model="failing", recipe="d2l"))
        assert (record.status, record.phase) == (status, phase)
        place = f"test_trial.py:{fail.__code__.co_firstlineno + 1}: "
        assert record.error.startswith(place + error)
        assert "\n" not in record.error
        assert phases(events)[-1] == phase
        assert record.test_accuracy is None
        assert record.wall_s > 0
        assert "Traceback" in capsys.readouterr().err  # the log says where

    @pytest.mark.parametrize(("mode", "phase"), [("train", "train"), ("eval", "eval")])
    def test_of_a_loss_that_is_no_number(self, make, register, mode, phase):
        register("failing", lambda: Failing(not_a_number, mode))
        record, events = run(make(model="failing", recipe="d2l"))
        assert (record.status, record.phase) == ("diverged", phase)
        kind = {"train": "training", "eval": "test"}[mode]
        how = {"train": "not finite at step 1", "eval": "nan after step 4"}[mode]
        assert record.error == f"DivergedError: the {kind} loss was {how}"
        assert record.steps == {"train": 1, "eval": 4}[mode]
        assert of_kind(events, "epoch") == []
        assert record.test_accuracy is None

    def test_of_a_builder_that_fails(self, make, register, capsys):
        def build() -> nn.Module:
            raise TypeError("cannot be built")

        register("failing", build)
        record, _ = run(make(model="failing"))
        assert (record.status, record.phase, record.error) == (
            "crashed",
            "build",
            f"test_trial.py:{build.__code__.co_firstlineno + 1}: TypeError: cannot be built",
        )
        assert "Traceback" in capsys.readouterr().err

    def test_an_error_without_words_is_named(self, make, register, capsys):
        def build() -> nn.Module:
            raise AssertionError

        register("failing", build)
        assert run(make(model="failing"))[0].error == (
            f"test_trial.py:{build.__code__.co_firstlineno + 1}: AssertionError"
        )

    def test_of_images_that_have_changed_since_they_were_planned(self, make):
        record, _ = run(make(dataset_fingerprint="0" * 64))
        assert (record.status, record.phase) == ("not_run", "data")
        assert record.error == "InputError: the dataset shades has changed since this trial was planned: plan it again."
        assert record.params is None

    def test_of_images_that_are_gone(self, make, tmp_path):
        trial, inputs = make()
        record, _ = run((trial, dataclasses.replace(inputs, dataset=f"folder:{tmp_path / 'nowhere'}")))
        assert (record.status, record.phase) == ("not_run", "data")
        assert "nowhere" in record.error

    def test_of_a_budget_that_buys_no_step(self, make):
        record, _ = run(make(budget="3flop"))
        assert record.status == "not_run"
        assert "buys" in record.error
        assert record.steps is None

    def test_of_weights_that_are_not_there(self, make, register):
        @register_model("pretrained", source="test")
        def pretrained(
            *, num_classes: int = 10, in_channels: int = 3, stem: str = "source", weights: str | None = None
        ) -> nn.Module:
            """Stands for a network that reads a file."""
            if weights != "random":
                raise InputError(f"there is no weights file {weights!r}.")
            return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, num_classes))

        record, _ = run(make(model="pretrained", weights="nowhere.pt:0", weights_given="nowhere.pt"))
        assert (record.status, record.phase) == ("not_run", "build")
        assert record.error == "InputError: there is no weights file 'nowhere.pt'."

    def test_keeps_what_was_measured_before_it_failed(self, make, register):
        register("failing", lambda: Failing(not_a_number, "train"))
        record, events = run(make(model="failing", recipe="d2l"))
        assert record.params == 192 * 2 + 2
        assert record.macs == 384
        assert record.forward_ms > 0
        assert record.step_ms_p50 is None
        assert len(of_kind(events, "profile")) == 1


class TestSettings:
    @pytest.mark.parametrize("recipe", RECIPES)
    def test_every_recipe_runs(self, make, recipe):
        record, _ = run(make(recipe=recipe, budget="1ep"))
        assert record.status == "ok"

    def test_a_larger_input_is_what_the_network_sees(self, make):
        record, _ = run(make(input=(3, 16, 16), budget="1ep"))
        assert (record.status, record.input) == ("ok", "3x16x16")
        assert record.macs == 4 * run(make(budget="1ep"))[0].macs

    @pytest.mark.parametrize(("weights", "kept"), [("random", False), ("default", True)])
    def test_an_initialisation_leaves_pretrained_weights_alone(self, make, register, weights, kept):
        built: list[nn.Sequential] = []

        @register_model("pretrained", source="test")
        def pretrained(
            *, num_classes: int = 10, in_channels: int = 3, stem: str = "source", weights: str | None = None
        ) -> nn.Module:
            """Stands for a network with a frozen body."""
            model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 6, num_classes))
            model[0].requires_grad_(False).weight.fill_(0.25)
            built.append(model)
            return model

        record, _ = run(make(model="pretrained", recipe="d2l", weights=weights, weights_given=weights))
        assert record.status == "ok"
        assert bool((built[-1][0].weight == 0.25).all()) == kept

    def test_bf16_runs_on_the_processor(self, make):
        record, _ = run(make(engine=EngineSettings("cpu", "bf16"), budget="1ep"))
        assert (record.status, record.precision, record.tf32) == ("ok", "bf16", False)
