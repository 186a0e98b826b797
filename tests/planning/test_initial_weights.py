"""What each arm starts from: named, checked, fetched or replaced while a suite is planned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_folder import make_tiny_folder

from resbench.errors import InputError
from resbench.models.parts import pretrained
from resbench.models.parts.pretrained import WeightsUnavailableError
from resbench.planning.plan import Plan, plan_suite
from resbench.registry import create_model
from resbench.suite import make_suite

MakePlan = Callable[..., Plan]
TRANSFER = [
    {"name": "frozen", "model": "resnet152_frozen"},
    {"name": "all of it", "model": "resnet152", "weights": "default"},
    {"name": "from scratch", "model": "resnet152", "weights": "random"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture
def plan(folder: Path) -> MakePlan:
    def make(**changes: Any) -> Plan:
        data = {"name": "test", "dataset": f"folder:{folder}", "budget": "2ep", "batch_size": 8}
        return plan_suite(make_suite(data, **{"device": "cpu", **changes}))

    return make


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine that has torchvision's weights; notes each time that they are asked for."""
    asked: list[str] = []
    monkeypatch.setattr(pretrained, "fetch_default", lambda on_message: asked.append("default"))
    return asked


@pytest.fixture
def without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(url: str) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(pretrained, "probe", refuse)


def weights_of(planned: Plan) -> dict[str, str]:
    return {name: trials[0].weights for name, trials in planned.arms.items()}


def test_weights_are_known_by_name_and_contents_and_only_where_a_model_takes_them(
    tmp_path: Path, plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "resbench.planning.initial_weights.create_model", lambda *name, **options: None
    )  # whatever is in it

    def identities(folder: str, contents: bytes) -> list[str]:
        path = tmp_path / folder / "best.pt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents)
        return [trial.weights for trial in plan(models=["resnet152", "cnn"], weights=str(path)).trials]

    first, cnn = identities("a", b"weights")
    assert first.startswith("best.pt:")
    assert cnn == "random"
    assert identities("b", b"weights") == [first, "random"]
    assert identities("c", b"other weights")[0] != first


@pytest.mark.usefixtures("fetched")
@pytest.mark.parametrize(
    ("given", "resnet152", "frozen"),
    [(None, "random", "default"), ("random", "random", "random"), ("default", "default", "default")],
)
def test_the_weights_of_a_network_are_its_own_default_unless_given(
    plan: MakePlan, given: str | None, resnet152: str, frozen: str
) -> None:
    trials = plan(models=["resnet152", "resnet152_frozen"], weights=given).trials
    assert [trial.weights for trial in trials] == [resnet152, frozen]


def test_default_weights_are_fetched_once_and_only_where_a_network_starts_from_them(
    plan: MakePlan, fetched: list[str]
) -> None:
    assert weights_of(plan(arms=TRANSFER)) == {"frozen": "default", "all of it": "default", "from scratch": "random"}
    assert fetched == ["default"]
    plan(models=["cnn", "resnet152"])
    assert fetched == ["default"]


@pytest.mark.usefixtures("without_network")
def test_default_weights_that_cannot_be_had_stop_a_suite_before_it_runs(plan: MakePlan) -> None:
    with pytest.raises(WeightsUnavailableError, match=r"could not be downloaded.*no route to host"):
        plan(models=["resnet152_frozen"])


@pytest.mark.usefixtures("without_network")
def test_random_weights_take_their_place_where_a_suite_says_so_and_it_is_told(plan: MakePlan) -> None:
    planned = plan(arms=TRANSFER, fallback_weights="random", seeds=2)
    assert weights_of(planned) == {"frozen": "random", "from scratch": "random"}
    assert len(planned.trials) == 4
    loud, left_out = planned.notices
    assert "'frozen', 'all of it' START FROM RANDOM WEIGHTS" in loud
    assert "says nothing about transfer" in loud
    assert "arm 'all of it' is left out" in left_out
    assert "the same as 'from scratch'" in left_out


def test_a_file_takes_the_place_of_default_weights_and_leaves_an_arm_that_wants_random_ones(
    tmp_path: Path, plan: MakePlan
) -> None:
    path = tmp_path / "mine.pt"
    with torch.device("meta"):
        state = create_model("resnet152").state_dict()
    # One number repeated: kilobytes in the place of 240 MB.
    zeros = {name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) for name, tensor in state.items()}
    torch.save({f"module.{name}": tensor for name, tensor in zeros.items()}, path)
    planned = plan(arms=TRANSFER, weights=str(path))
    weights = weights_of(planned)
    assert weights["frozen"] == weights["all of it"]
    assert weights["frozen"].startswith("mine.pt:")
    assert weights["from scratch"] == "random"
    assert planned.inputs.weights_of(weights["frozen"]) == str(path)
    assert planned.inputs.weights_of("random") == "random"
    for model, said in zip(("resnet152_frozen", "resnet152"), planned.notices, strict=True):
        assert said.startswith(f"{model}: every name in the weights file begins with 'module.'")


def test_a_file_of_another_network_is_refused_before_anything_runs(tmp_path: Path, plan: MakePlan) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"resnet152 \(\d+ differences\): bn1.weight is missing"):
        plan(arms=TRANSFER, weights=str(tmp_path / "other.pt"))


@pytest.mark.usefixtures("fetched")
def test_pretrained_weights_are_refused_with_a_stem_they_do_not_fit(plan: MakePlan) -> None:
    with pytest.raises(InputError, match=r"resnet152_frozen.*source stem only.*--weights random"):
        plan(models=["cnn", "resnet152_frozen"], stem="cifar")
    assert plan(models=["resnet152_frozen"], stem="cifar", weights="random").trials[0].weights == "random"
