"""Networks that train in plain torch train here: through trials, ``profile`` and ``check`` as a user runs them."""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_trials import BATCH, Events, Make, of_kind, planner, run
from test_trial_trust import killed_after, learnt
from tiny_folder import make_tiny_folder
from torch import nn
from user_code import forgetting

from resbench import registry
from resbench.audit.run import audit_models
from resbench.audit.words import differing
from resbench.conduct import Attempt
from resbench.data.datasets import load_dataset
from resbench.data.pipeline import Pipeline, normalisation_of
from resbench.errors import InputError, ModelError
from resbench.host_state import generator_state, seed_generators
from resbench.measure.profile import Subject, run_profile
from resbench.planning.plan import plan_suite
from resbench.profiling import profile_models
from resbench.recipes import get_recipe
from resbench.registry import create_model
from resbench.schema import EngineSettings
from resbench.suite import make_suite

with forgetting():
    import unusual_networks

    ENTRIES = {name: registry._ENTRIES[name] for name in unusual_networks.NETWORKS}
NAMED = ["viewing", "auxiliary", "norm_of_one"]
TRAINED = ["left_out", "unfreezing", "remembering", "from_numpy", "lazy"]
EAGER = EngineSettings("cpu", "fp32")
CONTIGUOUS = EngineSettings("cpu", "fp32", memory_format="contiguous")
COMPILED = EngineSettings("cpu", "fp32", compile=True)
SEED = 3
SMALL = {"input_shape": "3x8x8", "num_classes": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("ordinary") / "tiny")


@pytest.fixture
def make(folder: Path) -> Make:
    return planner(folder)


@pytest.fixture(autouse=True)
def _registered(brief_timing: None) -> Iterator[None]:
    with forgetting():
        registry._ENTRIES.update(ENTRIES)
        yield


def line_of(network: type[nn.Module], text: str) -> str:
    """Where a network's code has a text, as messages write it."""
    lines, first = inspect.getsourcelines(network)
    return f"unusual_networks.py:{next(first + number for number, line in enumerate(lines) if text in line)}"


def figures(events: Events) -> list[tuple[float, float]]:
    return [(epoch["train_loss"], epoch["test_loss"]) for epoch in of_kind(events, "epoch")]


def plainly(name: str, folder: Path, epochs: int) -> list[tuple[float, float]]:
    """Losses of a loop over torch's own SGD, on the trial's batches."""
    recipe, dataset = get_recipe("common"), load_dataset(f"folder:{folder}")
    pipeline = Pipeline(
        dataset.train,
        dataset.test,
        input_size=(8, 8),
        batch_size=BATCH,
        augmentation=recipe.augmentation,
        normalisation=normalisation_of(dataset, recipe.normalisation),
        seed=SEED,
    )
    seed_generators(SEED)
    model = create_model(name, num_classes=2, input_size=(8, 8)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.0, momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=recipe.weight_decay
    )
    found, steps = [], 0
    for _ in range(epochs):
        model.train()
        sums = [0.0, 0.0]
        for images, labels in pipeline.epoch():
            spent = steps / (epochs * pipeline.steps_per_epoch)
            optimizer.param_groups[0]["lr"] = recipe.peak_learning_rate(BATCH) * recipe.schedule(spent)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels, label_smoothing=recipe.label_smoothing)
            loss.backward()
            optimizer.step()
            sums[0] += loss.item() * BATCH
            steps += 1
        model.eval()
        for images, labels in pipeline.evaluation():
            with torch.no_grad():
                sums[1] += F.cross_entropy(model(images), labels, reduction="sum").item()
        found.append((sums[0] / len(dataset.train), sums[1] / len(dataset.test)))
    return found


class TestTrials:
    @pytest.mark.parametrize("name", TRAINED)
    def test_train_as_plain_torch_does(self, make, folder, name):
        record, events = run(make(model=name, budget="3ep", seed=SEED))
        assert record.status == "ok", record.error
        np.testing.assert_allclose(figures(events), plainly(name, folder, 3), rtol=1e-5)
        again = run(make(model=name, budget="3ep", seed=SEED))[1]
        assert figures(again) == figures(events)  # to the bit, whatever the process drew meanwhile

    @pytest.mark.parametrize("name", ["left_out", "unfreezing", "from_numpy"])
    def test_go_on_from_a_checkpoint_with_the_same_bits(self, make, name, tmp_path):
        planned = make(model=name, budget="3ep")
        whole, events = run(planned)
        attempt = Attempt(checkpoint=tmp_path / "checkpoints" / "x.pt", checkpoint_every_s=0.0)
        killed_after(planned, attempt, 1)
        seed_generators(99)
        record, later = run(planned, attempt)
        assert record.resumed == 1, record.notes
        assert learnt(record.to_dict()) == learnt(whole.to_dict())
        assert figures(later) == figures(events)[1:]

    def test_state_that_no_file_of_plain_data_holds_is_trained_without_checkpoints(self, make, tmp_path, monkeypatch):
        monkeypatch.setattr(unusual_networks.Remembering, "get_extra_state", lambda network: {"object": object()})
        monkeypatch.setattr(unusual_networks.Remembering, "set_extra_state", lambda network, state: None)
        attempt = Attempt(checkpoint=tmp_path / "checkpoints" / "x.pt", checkpoint_every_s=0.0)
        record, _ = run(make(model="remembering"), attempt)
        assert record.status == "ok"
        assert any(note.startswith("no checkpoint can be written (UnpicklingError") for note in record.notes)
        assert not list((tmp_path / "checkpoints").iterdir())

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["lazy", "unfreezing"])
    def test_compiled_they_train_as_they_do_eagerly(self, make, name):
        torch._dynamo.reset()  # what is compiled for other networks in this process counts towards its limit
        record, events = run(make(model=name, budget="2ep", engine=COMPILED))
        assert record.status == "ok", record.error
        assert of_kind(events, "profile")[0]["compiled"] == (name == "lazy")
        assert any("each step would be compiled anew" in note for note in record.notes) == (name != "lazy")
        np.testing.assert_allclose(figures(events), figures(run(make(model=name, budget="2ep"))[1]), rtol=1e-4)

    def test_another_seed_is_another_result(self, make):
        first, second = (figures(run(make(model="from_numpy", seed=seed))[1]) for seed in (0, 1))
        assert first != second

    @pytest.mark.parametrize("name", ["lazy", "remembering"])
    def test_begin_from_given_weights(self, make, folder, name, tmp_path):
        seed_generators(5)
        state = create_model(name, num_classes=2, input_size=(8, 8)).state_dict()
        torch.save(state, tmp_path / "given.pt")
        suite = {
            "name": "given",
            "dataset": f"folder:{folder}",
            "models": [name],
            "budget": "1steps",
            "batch_size": BATCH,
            "weights": str(tmp_path / "given.pt"),
            "recipe": "common",
        }
        plan = plan_suite(make_suite(suite, device="cpu"))
        assert plan.trials[0].weights.startswith("given.pt:")
        built = Subject(name, "source", (3, 8, 8), 2, BATCH, EAGER).build(str(tmp_path / "given.pt"))
        assert differing(built.state_dict(), state) == []
        assert run((plan.trials[0], plan.inputs))[0].status == "ok"
        torch.save({**state, "head.weight": torch.zeros(3, 3)}, tmp_path / "given.pt")
        with pytest.raises(InputError, match=rf"model '{name}' .* cannot start from the weights .*given.pt"):
            plan_suite(make_suite(suite, device="cpu"))


class TestLazyLayers:
    def test_are_drawn_from_the_seed_and_leave_statistics_alone(self):
        def built(seed: int) -> nn.Module:
            seed_generators(seed)
            return create_model("lazy", num_classes=2, input_size=(8, 8))

        first, again, other = built(0), built(0), built(1)
        assert all(torch.equal(one, two) for one, two in zip(first.parameters(), again.parameters(), strict=True))
        assert not torch.equal(first.extra.weight, other.extra.weight)
        assert type(first.extra) is nn.Linear  # of training alone
        assert all(module.training for module in first.modules())
        assert torch.equal(first.body[1].running_mean, torch.zeros(8))
        assert first.body[1].num_batches_tracked == 0
        assert sum(parameter.numel() for parameter in first.parameters()) == 224 + 16 + 288 * 16 + 16 + 288 * 2 + 2

    def test_that_no_pass_reaches_are_named(self, monkeypatch):
        monkeypatch.setattr(
            unusual_networks.Lazy, "forward", lambda network, images: network.head(network.body(images))
        )
        said = (
            r"model 'lazy' \(unusual_networks.py:\d+\): no pass reaches the lazy layer extra, so its shape is unknown"
        )
        with pytest.raises(ModelError, match=said):
            create_model("lazy", num_classes=2, input_size=(8, 8))

    def test_other_networks_keep_their_modes(self):
        unusual_networks._register(
            "kept", lambda classes, channels: nn.Sequential(nn.BatchNorm2d(3).eval(), nn.Flatten())
        )
        assert not create_model("kept", num_classes=2)[0].training


class TestRefusals:
    """What cannot be trained is named with file and line, before anything is measured."""

    def refused(self, make: Make, **changes: Any) -> str:
        record, events = run(make(**changes))
        assert (record.status, record.phase) == ("crashed", "build")
        assert of_kind(events, "profile") == []
        return record.error

    def test_view_in_channels_last(self, make):
        line = line_of(unusual_networks.Viewing, "x.view")
        error = self.refused(make, model="viewing")
        assert f"does not run in channels_last, at {line} (RuntimeError: view size is not compatible" in error
        assert "--memory-format contiguous" in error
        record, events = run(make(model="viewing", engine=CONTIGUOUS))
        assert record.status == "ok"
        assert of_kind(events, "profile")[0]["memory_format"] == "contiguous"

    @pytest.mark.parametrize("name", ["auxiliary", "rates"])
    def test_a_tuple_in_training(self, make, name):
        line = line_of(unusual_networks.NETWORKS[name], "def forward")
        assert f"gives tuple for two images in train mode ({line}), and logits (2, 2)" in self.refused(make, model=name)

    def test_batch_norm_on_one_image(self, make):
        line = line_of(unusual_networks.NormOfOne, "self.norm(x)")
        error = self.refused(make, model="norm_of_one", batch_size=1)
        assert f"does not train on one image at a time, at {line} (ValueError: Expected more than 1 value" in error
        assert run(make(model="norm_of_one", batch_size=2))[0].status == "ok"

    def test_a_part_of_one_image(self):
        parts = Subject("norm_of_one", "source", (3, 8, 8), 2, 3, EAGER, micro_batch_size=2)  # 2 and 1
        assert "one image at a time" in str(parts.untrainable(get_recipe("common")))


class TestProfile:
    @pytest.mark.parametrize("name", TRAINED)
    def test_measures_them_and_draws_the_same_each_time(self, name):
        rows = []
        for _ in range(2):
            told: Events = []

            def keep(kind: str, data: dict[str, Any], to: Events = told) -> None:
                to.append((kind, data))

            run_profile(Subject(name, "source", (3, 8, 8), 2, 4, EAGER), keep)
            rows += of_kind(told, "profile")
        assert rows[0]["train_images_per_second"] > 0
        assert rows[0]["train_flops_per_image"] == rows[1]["train_flops_per_image"] > 0

    @pytest.mark.usefixtures("warm_trials")
    def test_names_what_it_cannot_measure(self):
        told: list[str] = []
        on_cpu = {"device": "cpu"}
        frame = profile_models(NAMED, batch_sizes=[1], engine=on_cpu, on_message=told.append, **SMALL)
        assert [*frame["model"]] == ["norm_of_one"]
        assert frame.attrs["failed"] == 2
        assert frame["train_images_per_second"].isna().all()
        assert frame["latency_ms_p50"].gt(0).all()
        viewing, auxiliary, norm = (next(text for text in told if f"'{name}'" in text) for name in NAMED)
        assert line_of(unusual_networks.Viewing, "x.view") in viewing
        assert "--memory-format contiguous" in viewing
        assert line_of(unusual_networks.Auxiliary, "def forward") in auxiliary
        assert norm.startswith("training is not measured: ")
        assert line_of(unusual_networks.NormOfOne, "self.norm(x)") in norm


@pytest.mark.slow
@pytest.mark.usefixtures("warm_trials")
def test_check_runs_to_its_end_on_them():
    names = ["unfreezing", "remembering"]
    audits = audit_models(names, batch_size=4, engine={"device": "cpu"}, **SMALL)
    assert [audit.model for audit in audits] == names
    raised = [(audit.model, one) for audit in audits for one in audit.findings if re.search(r"\w+Error", one.detail)]
    assert raised == []


class TestGenerators:
    def test_a_builder_leaves_them_where_they_were(self):
        seed_generators(3)
        before = generator_state()
        Subject("from_numpy", "source", (3, 8, 8), 2, 4, EAGER).build()
        drawn = random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002
        seed_generators(3)
        assert drawn == (random.random(), np.random.rand(), torch.rand(1).item())  # noqa: NPY002
        assert before.keys() == {"torch", "host"}
