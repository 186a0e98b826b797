from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_folder import make_tiny_folder

from resbench.data.datasets import DatasetUnavailableError, load_dataset
from resbench.errors import InputError
from resbench.measure.profile import Subject
from resbench.planning.arms import expand_models
from resbench.planning.plan import Plan, plan_suite
from resbench.planning.settings import resolve_engine
from resbench.registry import list_models
from resbench.schema import EngineSettings
from resbench.suite import EngineOptions, make_suite

MakePlan = Callable[..., Plan]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("plan") / "tiny")


@pytest.fixture
def plan(folder: Path) -> MakePlan:
    def make(**changes: Any) -> Plan:
        data = {"name": "test", "models": ["cnn"], "dataset": f"folder:{folder}", "budget": "2ep", "batch_size": 8}
        return plan_suite(make_suite(data, **{"device": "cpu", **changes}))

    return make


def test_the_grid_is_every_model_with_every_seed_in_an_order_that_rotates(plan: MakePlan) -> None:
    trials = plan(models=["cnn", "resnet34", "resnet50"], seeds=[7, 8, 9, 10]).trials
    assert [(trial.seed, trial.model) for trial in trials] == [
        *((7, "cnn"), (7, "resnet34"), (7, "resnet50")),
        *((8, "resnet34"), (8, "resnet50"), (8, "cnn")),
        *((9, "resnet50"), (9, "cnn"), (9, "resnet34")),
        *((10, "cnn"), (10, "resnet34"), (10, "resnet50")),
    ]
    assert len({trial.trial_id for trial in trials}) == 12


def test_a_trial_holds_what_the_dataset_and_the_suite_say(plan: MakePlan, folder: Path) -> None:
    (trial,) = plan(budget="2.0ep").trials
    assert (trial.dataset, trial.num_classes, trial.input, trial.batch_size) == ("tiny", 2, (3, 8, 8), 8)
    assert (trial.recipe, trial.budget, trial.stem, trial.seed, trial.weights) == (
        "common",
        "2ep",
        "source",
        0,
        "random",
    )
    assert trial.dataset_fingerprint == load_dataset(f"folder:{folder}").fingerprint


def test_recipe_and_budget_are_the_recipes_own_where_the_suite_is_silent(folder: Path) -> None:
    suite = make_suite({"name": "x", "models": ["cnn"], "dataset": "shapes10", "recipe": "se_resnet50"}, device="cpu")
    (trial,) = plan_suite(suite).trials
    assert (trial.batch_size, trial.budget) == (128, "12ep")


def test_trial_ids_do_not_depend_on_where_the_images_are(tmp_path: Path, plan: MakePlan, folder: Path) -> None:
    elsewhere = make_tiny_folder(tmp_path / "deep" / "down" / "tiny")
    here, there = plan(seeds=2), plan(seeds=2, dataset=f"folder:{elsewhere}")
    assert [trial.trial_id for trial in here.trials] == [trial.trial_id for trial in there.trials]
    assert str(tmp_path) not in str([trial.to_dict() for trial in there.trials])
    assert there.inputs.dataset == f"folder:{elsewhere}"


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": [1]},
        {"models": ["resnet34"]},
        {"stem": "cifar"},
        {"recipe": "d2l"},
        {"budget": "3ep"},
        {"batch_size": 16},
        {"input": "3x16x16"},
        {"precision": "bf16"},
        {"compile": "on"},
        {"compile": "max-autotune"},
        {"memory_format": "contiguous"},
        {"dataset": "shapes10"},
    ],
    ids=str,
)
def test_whatever_decides_a_result_changes_the_trial_id(plan: MakePlan, changes: dict[str, Any]) -> None:
    assert plan(**changes).trials[0].trial_id != plan().trials[0].trial_id


@pytest.mark.parametrize("changes", [{"name": "other"}, {"description": "other"}, {"budget": "2.00ep"}], ids=str)
def test_what_decides_no_result_leaves_the_trial_id(plan: MakePlan, changes: dict[str, Any]) -> None:
    assert plan(**changes).trials[0].trial_id == plan().trials[0].trial_id


def test_wildcards_name_every_match_once_in_natural_order() -> None:
    assert expand_models(["resnet1*", "cnn", "resnet152", "resnet[35]?"]) == [
        *("resnet152", "resnet152_frozen", "cnn", "resnet34", "resnet50")
    ]
    assert expand_models(["*"]) == list_models()


@pytest.mark.parametrize(("name", "nearest"), [("resnt34", "resnet34"), ("ResNet34", "resnet34"), ("vgg*", "")])
def test_an_unknown_model_is_an_error_with_the_nearest_names(name: str, nearest: str) -> None:
    with pytest.raises(InputError, match=re.escape(repr(name))) as caught:
        expand_models([name])
    assert nearest in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": ["resnt34"]}, "unknown model 'resnt34'"),
        ({"stem": "cfar"}, "unknown stem 'cfar'"),
        ({"recipe": "comon"}, "unknown recipe 'comon'"),
        ({"budget": "0ep"}, "'0ep' is not more than zero"),
        ({"budget": "7img"}, "a step of 8 images takes 8img"),
        ({"input": "32"}, "cannot read the input '32'"),
        ({"input": "2x32x32"}, "has 2 channels.*Give 3x32x32"),
        ({"num_classes": 1}, r"num_classes is 1 and tiny has 2 classes"),
        ({"batch_size": 33}, r"larger than the training set of tiny \(32 images\)"),
        ({"dataset": "cifar11"}, "unknown dataset 'cifar11'"),
        ({"dataset": "folder:/nowhere/at/all"}, "/nowhere/at/all"),
        ({"precision": "fp12"}, "unknown precision 'fp12'"),
        ({"precision": "tf32"}, "tf32 is a CUDA mode"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"compile": "maybe"}, "unknown compile mode 'maybe'.*Accepted: auto, off, on, max-autotune, reduce-overhead"),
        ({"cuda_graph": "maybe"}, "unknown cuda_graph setting 'maybe'.*Accepted: auto, on, off"),
        ({"cuda_graph": "on"}, "cuda_graph is on and the device is cpu: only CUDA has graphs. Leave it at auto"),
        ({"memory_format": "nhwc"}, "unknown memory format 'nhwc'"),
        ({"weights": "/nowhere.pt", "models": ["resnet152"]}, "'/nowhere.pt' does not exist"),
        ({"weights": "/nowhere.pt"}, "none of cnn takes weights"),
    ],
)
def test_what_is_wrong_is_found_before_anything_runs(plan: MakePlan, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan(**changes)


def test_images_too_small_for_the_recipes_crop_are_refused(tmp_path: Path, plan: MakePlan) -> None:
    small = make_tiny_folder(tmp_path / "small", size=4)
    with pytest.raises(InputError, match="reflects 4 pixels and the images of small are only 4x4"):
        plan(dataset=f"folder:{small}")
    assert plan(dataset=f"folder:{small}", recipe="d2l").trials


def test_cuda_is_refused_where_torch_sees_none(plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="sees no CUDA device"):
        resolve_engine(EngineOptions(device="cuda"))
    with pytest.raises(InputError, match="sees no CUDA device"):
        resolve_engine(EngineOptions(device="cuda:1"))


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: True)


def test_auto_without_cuda_is_eager_in_what_the_processor_is_faster_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_engine(EngineOptions()) == EngineSettings("cpu", "fp32")
    monkeypatch.delenv("RESBENCH_PRECISION")
    assert resolve_engine(EngineOptions()) == EngineSettings("cpu", "auto")


def test_all_networks_of_a_suite_get_the_precision_that_they_are_faster_in_together(
    plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RESBENCH_PRECISION")
    asked: list[list[Subject]] = []

    def settle(engine: EngineSettings, subjects: list[Subject], on_message: object) -> EngineSettings:
        asked.append(subjects)
        return replace(engine, precision="bf16")

    monkeypatch.setattr("resbench.planning.plan.settle_precision", settle)
    trials = plan(models=["cnn", "d2l_resnet18"]).trials
    assert {trial.engine.precision for trial in trials} == {"bf16"}
    assert [[subject.model for subject in subjects] for subjects in asked] == [["cnn", "d2l_resnet18"]]
    assert {(subject.input, subject.num_classes, subject.batch_size) for subject in asked[0]} == {
        (trial.input, trial.num_classes, trial.batch_size) for trial in trials
    }


@pytest.mark.usefixtures("a_gpu")
def test_auto_with_cuda_is_bf16_compiled_and_recorded() -> None:
    fastest = EngineSettings("cuda", "bf16", compile=True, cuda_graph=True)
    assert resolve_engine(EngineOptions()) == fastest
    assert resolve_engine(EngineOptions(cuda_graph="on", compile="on")) == fastest
    assert resolve_engine(EngineOptions(compile="off")) == replace(fastest, compile=False)
    assert resolve_engine(EngineOptions(cuda_graph="off")) == replace(fastest, cuda_graph=False)


@pytest.mark.usefixtures("a_gpu")
@pytest.mark.parametrize(
    ("given", "compiled", "mode", "graph"),
    [
        ("off", False, "default", True),
        ("on", True, "default", True),
        ("max-autotune", True, "max-autotune-no-cudagraphs", True),
        ("reduce-overhead", True, "reduce-overhead", False),  # it records graphs of its own
    ],
)
def test_every_way_to_compile_has_its_mode_and_no_step_is_recorded_twice(
    given: str, compiled: bool, mode: str, graph: bool
) -> None:
    engine = resolve_engine(EngineOptions(compile=given))
    assert (engine.compile, engine.compile_mode, engine.cuda_graph) == (compiled, mode, graph)
    on_cpu = resolve_engine(EngineOptions(compile=given, device="cpu"))
    assert (on_cpu.compile, on_cpu.compile_mode, on_cpu.cuda_graph) == (compiled, mode, False)


@pytest.mark.usefixtures("a_gpu")
def test_a_graph_of_graphs_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"compile is reduce-overhead.*Give one of them"):
        resolve_engine(EngineOptions(cuda_graph="on", compile="reduce-overhead"))


def test_a_budget_of_flops_is_checked_for_every_model_and_what_it_names_is_accepted(plan: MakePlan) -> None:
    with pytest.raises(InputError, match="buys") as caught:
        plan(models=["cnn", "resnet34"], budget="1e9flop")
    needed = re.search(r"takes (\S+)\. Give", str(caught.value))
    assert needed is not None
    assert len(plan(models=["cnn", "resnet34"], budget=needed[1]).trials) == 2
    assert plan(models=["cnn"], budget="1e9flop").trials


@pytest.mark.usefixtures("no_cifar10")
def test_a_dataset_that_cannot_be_had_stops_a_suite_without_a_fallback(plan: MakePlan) -> None:
    with pytest.raises(DatasetUnavailableError, match="there is no cifar10 here"):
        plan(dataset="cifar10")


@pytest.mark.usefixtures("no_cifar10")
def test_a_fallback_takes_its_place_in_every_trial_and_is_told(plan: MakePlan) -> None:
    planned = plan(dataset="cifar10", fallback_dataset="shapes10", seeds=2)
    assert {trial.dataset for trial in planned.trials} == {"shapes10"}
    assert planned.inputs.dataset == "shapes10"
    (notice,) = planned.notices
    assert "cifar10" in notice
    assert "USES shapes10 INSTEAD" in notice


def test_a_fallback_is_not_used_where_the_dataset_is_there(plan: MakePlan) -> None:
    planned = plan(fallback_dataset="shapes10")
    assert planned.trials[0].dataset == "tiny"
    assert planned.notices == []


def test_a_mistake_in_a_dataset_is_an_error_even_with_a_fallback(plan: MakePlan) -> None:
    with pytest.raises(InputError, match="cifar11"):
        plan(dataset="cifar11", fallback_dataset="shapes10")


def test_a_channel_makes_colour_images_gray_and_another_dataset(plan: MakePlan) -> None:
    (colour,), (gray,) = plan().trials, plan(input="1x8x8").trials
    assert (gray.input, gray.dataset) == ((1, 8, 8), "tiny-gray")
    assert gray.dataset_fingerprint != colour.dataset_fingerprint


def test_a_part_of_the_images_is_another_dataset_of_the_same_classes(plan: MakePlan) -> None:
    planned = plan(train_images=16, test_images=4)
    (part,) = planned.trials
    assert (part.dataset, part.num_classes) == ("tiny-subset", 2)
    assert part.dataset_fingerprint != plan().trials[0].dataset_fingerprint
    data = planned.inputs.load()
    assert (len(data.train), len(data.test), data.fingerprint) == (16, 4, part.dataset_fingerprint)


def test_the_logits_may_be_wider_than_the_dataset_has_classes(plan: MakePlan) -> None:
    assert plan(num_classes=1000).trials[0].num_classes == 1000


def test_images_of_mixed_sizes_are_decoded_as_large_as_a_recipe_crops_from(plan: MakePlan) -> None:
    assert plan(input="3x256x256", recipe="resnet152_finetune").inputs.resize == (300, 300)
    assert plan(input="3x256x256").inputs.resize == (256, 256)
    assert plan().inputs.resize is None
